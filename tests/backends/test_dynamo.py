"""``torch.compile(model, backend="mojoaccel")``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import Tensor, nn

from mojoaccel.backends import dynamo
from mojoaccel.backends.captured import View, effects_of, overlap
from mojoaccel.backends.dynamo import mojoaccel_backend
from mojoaccel.errors import MojoaccelError

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
INTERPRETED = {"target": "reference"}
"""For tests of what is compiled when: PyTorch runs the traced graphs, nothing is built."""


@pytest.fixture(autouse=True)
def fresh() -> None:
    torch._dynamo.reset()
    dynamo._warned.clear()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[dynamo.Part]:
    """The parts that were compiled."""
    parts: list[dynamo.Part] = []
    compile_part = dynamo.compile_part

    def counted(part: dynamo.Part, *rest: Any) -> Any:
        parts.append(part)
        return compile_part(part, *rest)

    monkeypatch.setattr(dynamo, "compile_part", counted)
    return parts


def graph_of(function: Callable[..., Any]) -> torch.fx.GraphModule:
    return torch.fx.symbolic_trace(function)


def test_entry_point_names_the_backend() -> None:
    _, _, table = PROJECT.read_text().partition("[project.entry-points.torch_dynamo_backends]\n")
    point = f'mojoaccel = "{dynamo.__name__}:{mojoaccel_backend.__name__}"'
    assert table.splitlines()[0] == point


def test_effects_tell_writes_views_and_constants() -> None:
    def function(x: Tensor, y: Tensor) -> Any:
        x.add_(y)
        z = x * 2
        return x, x[1:], z, z.view(-1), None

    x, y = torch.randn(3, 4), torch.randn(4)
    found = effects_of(graph_of(function), (x, y))
    assert found.written == (0,) and found.computed == [2]
    assert [type(o) for o in found.outputs] == [View, View, str, View, type(None)]
    assert found.outputs[0].of(x) is x
    torch.testing.assert_close(found.outputs[1].of(x), x[1:])
    assert found.outputs[3].index == 2 and not found.outputs[3].of_input
    assert x._version == 0  # only fakes were written


def test_effects_of_pieces_that_do_not_overlap_are_tensors_of_their_own() -> None:
    x = torch.randn(4, 3)
    found = effects_of(graph_of(halves), (x,))
    assert found.outputs == ("new", "new") and found.same_for_all_shapes
    assert overlap(x[:3], x[2:]) and not overlap(x[:, :1], x[:, 1:])
    with pytest.raises(MojoaccelError, match="overlap"):
        effects_of(graph_of(overlapping), (x,))


def halves(x: Tensor) -> Any:
    y = (x * 2).chunk(2)
    return y[0], y[1]


def overlapping(x: Tensor) -> Any:
    y = x * 2
    return y[:3], y[2:]


def test_memory_of_two_inputs_is_not_written() -> None:
    def function(x: Tensor, y: Tensor) -> Any:
        x.add_(1)
        return y * 2

    x = torch.randn(6)
    with pytest.raises(MojoaccelError, match="share"):
        effects_of(graph_of(function), (x[:4], x[2:]))
    with pytest.raises(MojoaccelError, match="another type"):
        effects_of(graph_of(lambda x: x.view(torch.int32)), (x,))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.out = nn.Linear(5, 8), nn.Linear(8, 4)
        self.norm = nn.BatchNorm1d(8)
        self.calls: Tensor
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls.add_(1)
        return self.out(self.norm(self.first(x)).relu()) + self.calls


@pytest.mark.mojo
def test_weights_that_change_are_followed_and_buffers_written(made: list[Any]) -> None:
    torch.manual_seed(0)
    model, twin = Net().eval(), Net().eval()
    twin.load_state_dict(model.state_dict())
    compiled = torch.compile(model, backend=mojoaccel_backend, fullgraph=True)
    x = torch.randn(3, 5)
    with torch.no_grad():
        for step in range(6):
            torch.testing.assert_close(compiled(x), twin(x), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(compiled(x), twin(x), rtol=1e-4, atol=1e-5)
            for net in (model, twin):
                net.out.weight.mul_(1.5)
                if step == 1:  # another tensor in its place
                    net.first.bias = nn.Parameter(torch.arange(8.0))
    assert int(model.calls) == 12
    # Changed for the third time, out.weight became an input: no more compiling.
    assert len(made) == 4
    assert len(made[-1].places) == len(made[0].places) + 1


@pytest.mark.mojo
def test_sizes_that_change_become_dims(made: list[Any]) -> None:
    def scaled(x: Tensor) -> Any:
        y = (x * x.shape[0]).cumsum(0) / x.shape[1]
        return y, y.shape[0], x[1:], x.add_(1)

    compiled = torch.compile(scaled, backend=mojoaccel_backend)
    with torch.no_grad():
        for rows, columns in ((3, 4), (5, 4), (7, 4), (9, 4)):
            x = torch.randn(rows, columns)
            same = x.clone()
            found, expected = compiled(x), scaled(same)
            torch.testing.assert_close(found, expected)
            torch.testing.assert_close(x, same)
            assert found[3] is x
            found[2].zero_()
            assert not x[1:].any()
    assert len(made) == 2  # as it was first, then with rows as a dim
    assert not dynamo._warned


def test_sizes_that_cannot_be_dims_are_compiled_one_by_one(made: list[Any]) -> None:
    def pairs(x: Tensor) -> Tensor:
        return x.view(-1, 2).sum(1)  # even sizes only, which no plain dim says

    compiled = torch.compile(pairs, backend=mojoaccel_backend, options=INTERPRETED)
    with torch.no_grad():
        for count in (6, 10, 6):
            x = torch.randn(count)
            torch._dynamo.mark_dynamic(x, 0)
            torch.testing.assert_close(compiled(x), pairs(x))
    assert [any(p.axes) for p in made] == [True, False, False]
    assert not dynamo._warned


def test_what_is_unsupported_runs_eager_with_one_warning() -> None:
    def noisy(x: Tensor) -> Tensor:
        return torch.linalg.eigvals(x).real.sort().values

    compiled = torch.compile(noisy, backend=mojoaccel_backend)
    x = torch.randn(4, 4)
    with torch.no_grad(), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(2):
            torch.testing.assert_close(compiled(x), noisy(x))
    mine = [str(w.message) for w in told if "mojoaccel leaves" in str(w.message)]
    assert len(mine) == 1 and "MA203" in mine[0] and "linalg_eig" in mine[0]
    torch._dynamo.reset()
    strict = torch.compile(noisy, backend=mojoaccel_backend, fullgraph=True)
    with torch.no_grad(), pytest.raises(MojoaccelError, match="MA203"):
        strict(x)


def test_graphs_that_need_gradients_are_left_to_pytorch() -> None:
    model = nn.Linear(4, 2)
    compiled = torch.compile(model, backend=mojoaccel_backend)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        compiled(torch.randn(3, 4)).sum().backward()
    assert model.weight.grad is not None
    assert any("only inference is compiled" in str(w.message) for w in told)
    torch._dynamo.reset()
    strict = torch.compile(model, backend=mojoaccel_backend, fullgraph=True)
    with pytest.raises(MojoaccelError, match="no_grad"):
        strict(torch.randn(3, 4))


def test_graph_breaks_inference_mode_and_numbers(made: list[Any]) -> None:
    def broken(x: Tensor, n: int) -> Tensor:
        y = x.sin() + n
        torch._dynamo.graph_break()
        return y * 2

    compiled = torch.compile(broken, backend=mojoaccel_backend, options=INTERPRETED)
    x = torch.ones(5)
    with torch.inference_mode():
        for n in (1, 2, 3):
            torch.testing.assert_close(compiled(x, n), broken(x, n))
    assert len(made) == 4  # n is first a constant, then a number whose every value is compiled


def test_unknown_mode_is_refused() -> None:
    compiled = torch.compile(nn.Identity(), backend=mojoaccel_backend, mode=None)
    assert compiled is not None
    with pytest.raises(MojoaccelError, match="MA903"):
        mojoaccel_backend(graph_of(lambda x: x), [torch.ones(1)], mode="fastest")
