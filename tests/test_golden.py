"""The emitted Mojo of small modules, line by line; `pytest --update-golden` writes it anew."""

from pathlib import Path

import pytest

from mojoaccel.config import OptimizeOptions, TraceOptions
from mojoaccel.emit.module import emit
from mojoaccel.passes.pipeline import optimize
from mojoaccel.targets.base import read_target
from mojoaccel.trace.export import trace
from mojoaccel.trace.loader import LoadedModel
from tests.models.small import examples

GOLDEN = Path(__file__).parent / "golden"
TARGET = "cpu:x86_64-linux-gnu+sapphirerapids-amx-tile-amx-bf16-amx-int8"


def emitted(name: str) -> str:
    example = examples()[name]
    traced, _ = trace(LoadedModel(type(example.module).__name__, example), TraceOptions())
    target = read_target(TARGET)
    return emit(optimize(traced, target, OptimizeOptions()), target).main


@pytest.mark.parametrize("name", sorted(examples()))
def test_emitted_mojo_is_as_reviewed(name: str, request: pytest.FixtureRequest) -> None:
    path = GOLDEN / f"{name}.mojo"
    text = emitted(name)
    if request.config.getoption("--update-golden"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
