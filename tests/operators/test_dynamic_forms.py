"""Indexing, ordering and reductions with a dynamic batch, wrong indices, and refused forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

import mojoaccel
from mojoaccel.errors import MojoaccelError
from tests.operator_cases import rand
from tests.test_operators import judge, widen


class Forms(nn.Module):
    """Every family on a batch of unknown size."""

    def forward(self, x: Tensor, k: Tensor) -> list[Any]:
        n, length = x.shape[0], x.shape[1]
        written = x.clone()
        written[:, k[0] % length] = 0.5
        positions = torch.arange(n)
        return [
            torch.arange(64.0)[-n:] * x[:, 0],
            torch.arange(128.0)[n - 100 :] * 2,
            torch.arange(128.0)[n - 100 : n + 64],
            torch.arange(64.0)[n - 65] * x,
            x.repeat(3, 1)[1 - 2 * n : 3 * n - 1],
            x.repeat(2, 1).slice_scatter(x, 0, -n),
            x.select_scatter(x[0], 0, 1 - n),
            x.sort(1),
            x.argsort(dim=0, stable=True),
            x.topk(3, 1),
            x.median(1),
            x.kthvalue(2, 1),
            x.cumsum(0),
            x.cumsum(1),
            x.logcumsumexp(1),
            x.cummax(0),
            x.var(1),
            x.var(0, correction=0),
            torch.std_mean(x, (0, 1)),
            x.logsumexp(0),
            x.max(0),
            x.argmax(),
            torch.linalg.vector_norm(x, 3, dim=0),
            torch.cdist(x, x[:1], compute_mode="donot_use_mm_for_euclid_dist"),
            x.scatter(1, k % length, 2.0),
            x.scatter_add(1, k % length, k.to(x)),
            x.scatter_reduce(1, k % length, k.to(x), "mean"),
            x.index_add(0, positions, x),
            x.index_put((positions, k[:, 0] % length), x.new_ones(())),
            x.masked_fill(x > 0, -1.0),
            x.masked_scatter(x > 0, x.flip(0)),
            x[positions, k[:, 1] % length],
            x.gather(1, k % length),
            x.take(k),
            torch.bucketize(x, x.new_tensor([-0.5, 0.0, 0.5])),
            torch.searchsorted(x.sort(1)[0], x[:, :2].contiguous()),
            torch.isin(k, torch.tensor([1, 3])),
            nn.functional.one_hot(k, 9),
            written,
            x.roll(1, 0),
            x.flip(0),
            x.repeat(2, 1),
            x.repeat_interleave(2, 0),
            x.diagonal_scatter(x.diagonal() * 2),
            x.unfold(1, 3, 2),
            torch.stack([x, x * 2], 1),
            torch.eye(n),
            x.tril(),
            x.count_nonzero(0),
            F.interpolate(x.view(1, -1, 1, 7), scale_factor=2.0, mode="bilinear"),
            F.max_pool1d(x[None], 2),
        ]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> mojoaccel.Session:
    batch = torch.export.Dim("batch", min=2, max=64)
    shapes = {"x": {0: batch}, "k": {0: batch}}
    place = tmp_path_factory.mktemp("forms") / "forms.maccel"
    x, k = inputs(3)
    return mojoaccel.compile(
        Forms().eval(), (x, k), dynamic_shapes=shapes, verify=False, output=place
    )


def inputs(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    return rand(n, 7, seed=n), torch.randint(0, 9, (n, 4), generator=generator)


@pytest.mark.mojo
@pytest.mark.parametrize("n", [2, 3, 5, 8, 33])
def test_one_artifact_serves_every_batch(session: mojoaccel.Session, n: int) -> None:
    x, k = inputs(n)
    got = pytree.tree_leaves(session(x, k))
    own = pytree.tree_leaves(Forms()(x, k))
    exact = pytree.tree_leaves(Forms()(widen(x), k))
    wrong = {i: judge(g, o, e) for i, (g, o, e) in enumerate(zip(got, own, exact, strict=True))}
    assert not {i: w for i, w in wrong.items() if w}


WRONG: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "index": lambda x, i: x[i],
    "gather": lambda x, i: x.gather(0, i[:, None]),
    "index_select": lambda x, i: x.index_select(0, i),
    "embedding": lambda x, i: nn.functional.embedding(i, x),
    "take": lambda x, i: x.take(i * 8),
    "scatter": lambda x, i: x.scatter(0, i[:, None], 1.0),
    "scatter_add": lambda x, i: x.scatter_add(0, i[:, None], x[:2, :1]),
    "index_add": lambda x, i: x.index_add(0, i, x[:2]),
    "index_copy": lambda x, i: x.index_copy(0, i, x[:2]),
    "index_fill": lambda x, i: x.index_fill(0, i, 1.0),
    "index_put": lambda x, i: x.index_put((i,), torch.tensor(1.0)),
    "put": lambda x, i: x.put(i * 8, x[0, :2]),
    "embedding_bag": lambda x, i: nn.functional.embedding_bag(i, x, torch.tensor([0, 1])),
}
"""Rows of an 8 x 8 tensor."""


class Every(nn.Module):
    """Every way to use an index, each with an index of its own, in one artifact."""

    def forward(self, x: Tensor, *indices: Tensor) -> list[Tensor]:
        return [function(x, i) for function, i in zip(WRONG.values(), indices, strict=True)]


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mojoaccel.Session]:
    example = (rand(8, 8), *(torch.tensor([7, 0]) for _ in WRONG))
    place = tmp_path_factory.mktemp("indexed") / "every.maccel"
    with mojoaccel.compile(Every(), example, verify=False, output=place) as session:
        yield session


@pytest.mark.mojo
@pytest.mark.parametrize("name", WRONG)
def test_an_index_outside_its_tensor_is_an_error(indexed: mojoaccel.Session, name: str) -> None:
    x, at = rand(8, 8), list(WRONG).index(name)

    def call(given: list[int]) -> Tensor:
        indices = [torch.tensor([7, 0]) for _ in WRONG]
        indices[at] = torch.tensor(given)
        got: Tensor = indexed(x, *indices)[at]
        return got

    def own(given: list[int]) -> Tensor:
        return WRONG[name](x, torch.tensor(given))

    assert torch.equal(call([7, 0]), own([7, 0]))
    for bad in ([8, 0], [0, 2**40], [-9, 1]):
        with pytest.raises(MojoaccelError, match="index"):
            call(bad)
    assert torch.equal(call([7, 0]), own([7, 0]))
    if name in ("index", "index_fill", "index_put", "take", "put"):
        assert torch.equal(call([-1, -8]), own([-1, -8]))
    elif name != "embedding_bag":  # whose padding index may be -1
        with pytest.raises(MojoaccelError, match="index"):
            call([-1, 0])


class One(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor, i: Tensor) -> Any:
        return self.function(x, i)


REFUSED: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "mask": lambda x, i: x[x > 0],
    "nonzero": lambda x, i: x.nonzero(),
    "unique": lambda x, i: i.unique(),
    "masked_select": lambda x, i: x.masked_select(x > 0),
    "bincount": lambda x, i: i.bincount(),
    "mask_and_place": lambda x, i: x.index_put((x[:, 0] > 0, i[0]), x[0]),
    "cumsum_bool": lambda x, i: (x > 0).cumsum(0, dtype=torch.bool),
}


@pytest.mark.parametrize("name", REFUSED)
def test_forms_without_an_answer_are_refused(name: str) -> None:
    with pytest.raises(MojoaccelError) as caught:
        mojoaccel.compile(One(REFUSED[name]), (rand(8, 8), torch.tensor([1, 2])), verify=False)
    found = caught.value.diagnostics
    codes = {d.code for d in found}
    assert codes <= {"MA203", "MA204", "MA302"}, codes
    assert all(d.loc is not None and "test_dynamic_forms" in d.loc.file for d in found)
    assert all(d.hint for d in found), found
