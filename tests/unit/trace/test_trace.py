"""Tracing: names, structures, dynamic dims, states, and every way it can fail."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mojoaccel.api import read_dynamic_shapes
from mojoaccel.cache import Cache
from mojoaccel.config import TraceOptions
from mojoaccel.driver import Compiler
from mojoaccel.errors import MojoaccelError
from mojoaccel.example import Example
from mojoaccel.ir.text import parse_traced, print_traced
from mojoaccel.job import Request
from mojoaccel.products import TracedModel
from mojoaccel.settings import Settings, compile_options
from mojoaccel.trace.export import trace
from mojoaccel.trace.loader import LoadedModel, load_model
from tests.models.small import examples


def traced(module: nn.Module, *args: object, **dynamic: dict[int, str]) -> TracedModel:
    example = Example(module.eval(), args, dynamic=dynamic)
    return trace(LoadedModel(type(module).__name__, example), TraceOptions())[0]


def failure(module: nn.Module, *args: object, **dynamic: dict[int, str]) -> MojoaccelError:
    with pytest.raises(MojoaccelError) as caught:
        traced(module, *args, **dynamic)
    return caught.value


class Nested(nn.Module):
    def forward(self, x: Tensor, pair: tuple[Tensor, Tensor], more: dict[str, Tensor]) -> dict:
        return {"sum": x + pair[0], "rest": (pair[1] * more["y"], [x])}


def test_nested_arguments_and_results_keep_their_structure() -> None:
    t = torch.ones(2)
    found = traced(Nested(), t, (t, t), {"y": t})
    assert [v.name for v in found.signature.inputs] == ["x", "pair_0", "pair_1", "more_y"]
    assert json.loads(found.signature.out_tree) == {
        "dict": {
            "sum": {"tensor": 0},
            "rest": {"tuple": [{"tensor": 1}, {"list": [{"tensor": 2}]}]},
        }
    }


class Variadic(nn.Module):
    def forward(self, *parts: Tensor) -> Tensor:
        return torch.cat(parts)


def test_variadic_arguments_are_numbered() -> None:
    found = traced(Variadic(), torch.ones(2), torch.ones(3))
    assert [v.name for v in found.signature.inputs] == ["parts_0", "parts_1"]


def test_a_dynamic_dim_of_size_1_is_traced_as_dynamic() -> None:
    found = traced(nn.Linear(4, 3), torch.ones(1, 4), input={0: "batch:1..9"})
    assert str(found.graph.inputs[0]) == "input: f32[batch, 4]"
    assert [(d.name, d.min, d.max) for d in found.graph.dims] == [("batch", 1, 9)]
    assert found.example == (("batch", 1),)


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 4)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.table(ids))


def test_tied_weights_share_a_digest() -> None:
    found = traced(Shared(), torch.tensor([1, 2]))
    assert len({w.digest for w in found.weights}) == 1


def test_mutated_buffers_are_states() -> None:
    found = traced(examples()["counter"].module, torch.ones(3, 4))
    assert [s.weight for s in found.states] == ["seen"]


class Writes(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x.mul_(2) + y


def test_inputs_that_the_module_writes_are_said(tmp_path: Path) -> None:
    found = traced(Writes(), torch.ones(2), torch.ones(2))
    assert found.written == ("x",)
    assert parse_traced(print_traced(found)) == found
    cache = Cache(tmp_path, 1 << 30, lambda found: None)
    example = Example(Writes(), (torch.ones(2), torch.ones(2)))
    options = compile_options({**Settings().values("compile", {}), "target": "reference"})
    for _ in range(2):  # a cached trace says it again
        report = Compiler(cache).compile(Request(example, options), lambda job, report: None)
        assert [w.code for w in report.warnings] == ["MA211"]
        assert "its input x;" in report.warnings[0].message


@pytest.mark.parametrize("name", sorted(examples()))
def test_traced_models_read_back(name: str) -> None:
    example = examples()[name]
    found, _ = trace(LoadedModel(name, example), TraceOptions())
    assert parse_traced(print_traced(found)) == found


class Unsupported(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = torch.linalg.eigvals(x).real
        return y + torch.rand_like(y) + torch.rand_like(y)


def test_all_unsupported_operators_are_reported_at_once() -> None:
    found = failure(Unsupported(), torch.eye(3))
    assert {d.code for d in found.diagnostics} == {"MA203"}
    text = str(found)
    assert "eig" in text
    assert "rand_like.default is not supported (2 calls): it draws random numbers" in text
    assert any("draw the numbers outside the model" in d.hint for d in found.diagnostics)
    assert all(d.loc is not None and d.loc.file == "test_trace.py" for d in found.diagnostics)


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        print("the user's own words", file=sys.stderr)
        if x.sum() > 0:
            return x
        return -x


def test_data_dependent_control_flow_names_the_line(capfd: pytest.CaptureFixture[str]) -> None:
    found = failure(Branching(), torch.ones(3))
    said = capfd.readouterr()
    assert (said.out, set(said.err.splitlines())) == ("", {"the user's own words"})
    assert found.code == "MA204"
    loc = found.diagnostics[0].loc
    assert loc is not None
    assert loc.text == "if x.sum() > 0:"


class Fixed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.ones(4, 3)


def test_a_dynamic_dim_that_the_code_fixes_is_refused() -> None:
    assert failure(Fixed(), torch.ones(4, 3), x={0: "batch"}).code == "MA205"


class Raising(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("out of cheese")


def test_errors_of_the_model_itself_name_its_line() -> None:
    found = failure(Raising(), torch.ones(3))
    assert found.code == "MA207"
    assert "out of cheese" in str(found)


class Many(nn.Module):
    def forward(self, *x: Tensor) -> Tensor:
        return x[0] + x[1]


def test_dynamic_shapes_follow_the_structure_of_the_inputs() -> None:
    args = (torch.ones(2, 3), torch.ones(2, 3))
    example = Example(Many(), args)
    batch = torch.export.Dim("batch")
    found = read_dynamic_shapes(example, (({0: batch}, {0: batch}),))
    assert sorted(found) == ["x_0", "x_1"]
    with pytest.raises(MojoaccelError, match="structure of x"):
        read_dynamic_shapes(example, ({0: batch},))


class Written(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x.add_(1) * y


def test_inputs_that_are_one_tensor_in_the_example_stay_two() -> None:
    x = torch.ones(3)
    for given in ((x, x), (x, x.view(3))):
        add, multiply = traced(Written(), *given).graph.nodes
        assert add.inputs == ("x", None)
        assert multiply.inputs == (add.output.name, "y")
        (add,) = traced(Many(), *given).graph.nodes
        assert add.inputs == ("x_0", "x_1")


def test_a_declared_input_must_exist() -> None:
    found = failure(nn.Linear(4, 3), torch.ones(1, 4), x={0: "batch"})
    assert found.code == "MA903"
    assert found.diagnostics[0].notes == ("inputs: input",)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("import no_such_package_here\n", "MA209"),
        ("raise RuntimeError('broken')\n", "MA207"),
        ("x = 1\n", "MA206"),
        ("def a(): return 1\ndef b(): return 2\n", "MA206"),
        ("def factory(): return 7\n", "MA206"),
        ("def factory(): return 1 / 0\n", "MA207"),
    ],
)
def test_model_files_that_cannot_be_used(tmp_path: Path, text: str, code: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(MojoaccelError) as caught:
        load_model(str(path))
    assert caught.value.code == code


def test_a_missing_file_and_an_unknown_factory(tmp_path: Path) -> None:
    with pytest.raises(MojoaccelError, match="MA201"):
        load_model(str(tmp_path / "nothing.py"))
    path = tmp_path / "model.py"
    path.write_text("def factory(): pass\n")
    with pytest.raises(MojoaccelError, match="has no function other"):
        load_model(f"{path}:other")


def test_an_exported_program_is_taken(tmp_path: Path) -> None:
    batch = torch.export.Dim("batch", max=8)
    x = torch.ones(2, 4)
    program = torch.export.export(nn.Linear(4, 3), (x,), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "model.pt2")
    found, _ = trace(load_model(str(tmp_path / "model.pt2")), TraceOptions())
    assert [v.type.rank for v in found.graph.inputs] == [2]
    assert len(found.graph.dims) == 1
    assert found.graph.dims[0].max == 8


def test_a_hugging_face_folder_is_taken(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        vocab_size=50, max_position_embeddings=32,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(tmp_path)
    found, _ = trace(load_model(str(tmp_path)), TraceOptions())
    assert [v.name for v in found.graph.inputs] == ["input_ids", "attention_mask"]
    assert [d.name for d in found.graph.dims] == ["batch", "sequence"]
    assert "last_hidden_state" in [v.name for v in found.signature.outputs]


def test_an_edit_in_the_same_second_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "edited.py"
    for size in (2, 3):
        file.write_text(
            f"import torch\n\ndef f():\n    return torch.nn.ReLU(), torch.ones({size})\n"
        )
        os.utime(file, (1e9, 1e9))
        assert load_model(f"{file}:f").example.args[0].shape == (size,)
