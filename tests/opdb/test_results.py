"""How runs over the operator database are shared out and put together."""

from __future__ import annotations

from typing import Any

import torch

from tests.opdb.__main__ import join, report, share_out
from tests.opdb.samples import families, read_database, read_samples


def row(total: int, taken: list[int], **more: Any) -> dict[str, Any]:
    return {
        **{"all": total, "taken": taken, "pass": len(taken)},
        **{"wrong": [], "refused": {}, "left_out": {}},
        **more,
    }


def test_a_larger_run_takes_what_is_missing() -> None:
    results = {"add:bool": row(30, [0, 15]), "sub:bool": row(2, [0, 1])}
    chunks = list(share_out(["add:bool", "sub:bool", "mul:bool", "div:bool"], results, 3, 4))
    assert chunks == [{"add:bool": [0, 15], "mul:bool": []}, {"div:bool": []}]


def test_rows_of_two_runs_are_joined() -> None:
    first = row(9, [0, 4], wrong=[[4, "off"]], refused={"MA302": 1}, **{"pass": 0})
    joined = join(first, row(9, [2, 7], refused={"MA302": 1}, left_out={"none": 1}, **{"pass": 0}))
    assert joined["taken"] == [0, 2, 4, 7] and joined["wrong"] == [[4, "off"]]
    assert joined["refused"] == {"MA302": 2} and joined["left_out"] == {"none": 1}
    assert join(None, first) is first


def test_samples_of_operators_without_support_do_not_count() -> None:
    rows = {
        "add:bool": row(4, [0, 1]),
        "add:int64": row(4, [0, 1], refused={"MA302": 1}, **{"pass": 1}),
        "unique:bool": row(4, [0], refused={"MA203": 1}, **{"pass": 0}),
    }
    text, share = report(rows)
    assert share == 0.75
    assert "not supported: unique" in text and "5 of the 12 samples" in text


def test_samples_that_differ_in_values_alone_share_what_is_compiled() -> None:
    samples, _ = read_samples(read_database()["clamp"], "float32", 10_000)
    found = families(samples)
    assert sum(map(len, found)) == len(samples)
    for first, *others in found:
        for other in others:
            pairs = zip(first.leaves, other.leaves, strict=True)
            assert all(
                a.shape == b.shape if isinstance(a, torch.Tensor) else a == b for a, b in pairs
            )
