"""What fuses, what is free, and what the levels do."""

import pytest

from mojoaccel.config import OptimizeOptions, TraceOptions
from mojoaccel.emit.module import emit
from mojoaccel.ir.plan import Plan
from mojoaccel.ir.serialize import parse_plan, plan_to_text
from mojoaccel.passes.pipeline import optimize
from mojoaccel.targets.base import read_target
from mojoaccel.trace.export import trace
from mojoaccel.trace.loader import LoadedModel
from tests.models.small import examples

TARGET = read_target("null")


def plan_of(name: str, level: int = 2) -> Plan:
    example = examples()[name]
    traced, _ = trace(LoadedModel(name, example), TraceOptions())
    return optimize(traced, TARGET, OptimizeOptions(level))


def ops(plan: Plan) -> list[tuple[str, ...]]:
    return [g.ops for g in plan.groups]


def test_bias_and_activation_are_the_epilogue_of_the_product() -> None:
    assert ops(plan_of("linear")) == [("linear", "gelu"), ("linear",)]


def test_a_pointwise_chain_is_one_group() -> None:
    assert len(plan_of("pointwise").groups) == 1


def test_batch_norm_and_relu_are_the_epilogue_of_the_convolution() -> None:
    plan = plan_of("convolved")
    assert [g.ops[0] for g in plan.groups] == ["copy", "conv2d", "max_pool2d"]
    assert any("relu" in g.ops and "conv2d" in g.ops for g in plan.groups)


def test_views_cost_nothing() -> None:
    assert len(plan_of("transposed").groups) == 1


def test_concatenation_is_computed_in_place() -> None:
    plan = plan_of("concatenated")
    assert [g.ops for g in plan.groups] == [("relu", "cat"), ("exp", "cat")]
    assert {w for g in plan.groups for w in g.writes} == {"cat"}


def test_attention_hands_over_what_the_reshape_wants() -> None:
    plan = plan_of("attended")
    assert [c.function for g in plan.groups for c in g.calls].count("attention") == 1
    assert len(plan.groups) <= 2


def test_level_0_fuses_nothing() -> None:
    assert len(plan_of("pointwise", 0).groups) > len(plan_of("pointwise", 2).groups)


def test_level_0_folds_nothing() -> None:
    names = dict(plan_of("convolved", 0).passes)
    assert names["fold_constants"] == 0


@pytest.mark.parametrize("name", sorted(examples()))
def test_plans_read_back(name: str) -> None:
    plan = plan_of(name)
    assert parse_plan(plan_to_text(plan)) == plan


def test_equal_groups_are_emitted_once() -> None:
    from torch import nn

    from mojoaccel.example import Example

    module = nn.Sequential(*(m for _ in range(6) for m in (nn.Linear(8, 8), nn.ReLU())))
    import torch

    example = Example(module, (torch.ones(2, 8),))
    traced, _ = trace(LoadedModel("stack", example), TraceOptions())
    plan = optimize(traced, TARGET, OptimizeOptions())
    assert len(plan.groups) == 6
    assert len(emit(plan, TARGET).kernels) == 1
