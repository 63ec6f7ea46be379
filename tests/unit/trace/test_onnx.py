"""ONNX files as models: what is kept of them, what is refused, and what computes their sizes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import mojoaccel
from mojoaccel.config import TraceOptions
from mojoaccel.errors import MojoaccelError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnx.reference")
pytest.importorskip("onnx2fx")
helper = onnx.helper


class Text(nn.Module):
    """Embeds, attends over both dynamic axes, and scores."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.norm = nn.Embedding(50, 16), nn.LayerNorm(16)
        self.heads, self.out = nn.Linear(16, 48), nn.Linear(16, 3)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        batch, length = ids.shape
        x = self.norm(self.table(ids))
        parts = self.heads(x).view(batch, length, 3, 4, 4).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(*parts).transpose(1, 2).reshape(batch, length, 16)
        return self.out(y.mean(1)), y


@pytest.fixture(scope="module")
def text() -> Text:
    torch.manual_seed(0)
    return Text().eval()


# The exporter takes seconds, and the artifact's test needs it anyway.
@pytest.fixture(scope="module", params=[pytest.param("export", marks=pytest.mark.mojo), "script"])
def exported(request: pytest.FixtureRequest, text: Text, tmp_path_factory: Any) -> Path:
    """The model's file, by PyTorch's new exporter and by its old one."""
    path = tmp_path_factory.mktemp("onnx") / f"{request.param}.onnx"
    ids = torch.randint(0, 50, (2, 9))
    names: dict[str, Any] = {"input_names": ["ids"], "output_names": ["scores", "states"]}
    if request.param == "export":
        pytest.importorskip("onnxscript")
        dims = {"ids": {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}}
        names |= {"dynamic_shapes": dims, "external_data": False, "verbose": False}
    else:
        names |= {"dynamic_axes": {"ids": {0: "batch", 1: "length"}}}
    torch.onnx.export(text, (ids,), path, dynamo=request.param == "export", **names)
    return path


def traced(path: Path) -> Any:
    from mojoaccel.trace.export import trace
    from mojoaccel.trace.loader import load_model

    return trace(load_model(path), TraceOptions())


def test_names_and_dims_are_kept(exported: Path) -> None:
    graph, _ = traced(exported)
    assert [(v.name, str(v.type)) for v in graph.signature.inputs] == [
        ("ids", "i64[batch, length]")
    ]
    assert [(v.name, str(v.type)) for v in graph.signature.outputs] == [
        ("scores", "f32[batch, 3]"),
        ("states", "f32[batch, length, 16]"),
    ]
    assert dict(graph.random_ranges)["ids"][1] > 1  # ids below the table's length, not 0 and 1


@pytest.mark.mojo
def test_artifact_computes_what_the_file_says(text: Text, exported: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    with mojoaccel.compile(exported, output=tmp_path / "text.maccel") as session:
        for shape in ((1, 1), (3, 17)):
            ids = rng.integers(0, 50, shape)
            found = session(ids)
            with torch.no_grad():
                scores, states = text(torch.from_numpy(ids))
            np.testing.assert_allclose(found["scores"], scores.numpy(), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(found["states"], states.numpy(), rtol=1e-4, atol=1e-5)
            if importlib.util.find_spec("onnxruntime"):
                import onnxruntime

                theirs = onnxruntime.InferenceSession(exported).run(None, {"ids": ids})
                for mine, reference in zip(found.values(), theirs, strict=True):
                    np.testing.assert_allclose(mine, reference, rtol=1e-4, atol=1e-5)


def model_of(nodes: list[Any], outputs: dict[str, Any], tmp_path: Path, **constants: Any) -> Path:
    """Save a graph over ``x``, f32[n, 4], and integer constants."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in outputs.items()],
        [onnx.numpy_helper.from_array(np.array(v), k) for k, v in constants.items()],
    )
    versions = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=versions), path)
    return path


def test_sizes_are_computed_with_numbers(tmp_path: Path) -> None:
    node = helper.make_node
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "first"], ["rows"]),
        node("Unsqueeze", ["rows", "zero"], ["rows1"]),
        node("Mul", ["rows1", "two"], ["twice"]),
        node("Div", ["four", "two"], ["half"]),
        node("Concat", ["twice", "half"], ["folded"], axis=0),
        node("Reshape", ["x", "folded"], ["a"]),  # [2n, 2]
        node("Reshape", ["x", "keep"], ["flat"]),  # [n, 4, 1]
        node("ConstantOfShape", ["three"], ["ones"], value=helper.make_tensor("v", 7, [1], [1])),
        node("Equal", ["keep", "minus"], ["asked"]),
        node("Where", ["asked", "ones", "wide"], ["target"]),  # [1, 1, 5]
        node("Expand", ["flat", "target"], ["b"]),  # [n, 4, 5]
        node("Sub", ["rows1", "one"], ["last"]),
        node("Slice", ["x", "last", "far", "zero"], ["c"]),  # [1, 4]
        node("Squeeze", ["rows1", "zero"], ["scalar"]),
        node("Range", ["nought", "scalar", "step"], ["count"]),
        node("Cast", ["count"], ["floats"], to=1),
        node("Unsqueeze", ["floats", "one"], ["column"]),
        node("Add", ["x", "column"], ["d"]),
        node("ReduceSum", ["x", "one"], ["e"], keepdims=0),
    ]
    constants = {
        **{"first": 0, "nought": 0, "step": 1, "zero": [0], "one": [1], "two": [2], "four": [4]},
        **{"three": [3], "keep": [0, -1, 1], "minus": [-1, -1, -1], "wide": [1, 1, 5]},
        "far": [2**63 - 1],
    }
    sizes = [(None, None), ("n", 4, 5), (1, 4), ("n", 4), ("n",)]
    path = model_of(nodes, dict(zip("abcde", sizes, strict=True)), tmp_path, **constants)
    graph, _ = traced(path)
    shapes = [str(v.type) for v in graph.signature.outputs]
    assert shapes == ["f32[2*n, 2]", "f32[n, 4, 5]", "f32[1, 4]", "f32[n, 4]", "f32[n]"]
    from mojoaccel.trace.loader import load_model
    from mojoaccel.trace.replay import module_runner

    run = module_runner(load_model(path).example)
    reference = onnx.reference.ReferenceEvaluator(str(path))
    for rows in (1, 3):
        x = np.random.default_rng(0).standard_normal((rows, 4)).astype(np.float32)
        for mine, theirs in zip(run([x]), reference.run(None, {"x": x}), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-6)


def refused(path: Path) -> MojoaccelError:
    from mojoaccel.trace.onnx_model import load_onnx

    with pytest.raises(MojoaccelError) as caught:
        load_onnx(path)
    return caught.value


def test_unsupported_operators_are_listed_at_once(tmp_path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("Bar", ["x"], ["inner"], domain="own")],
        "body",
        [],
        [helper.make_tensor_value_info("inner", onnx.TensorProto.FLOAT, ["n", 4])],
    )
    nodes = [
        helper.make_node("Foo", ["x"], ["a"], name="one", domain="own"),
        helper.make_node("Foo", ["a"], ["b"], name="other", domain="own"),
        helper.make_node("If", ["yes"], ["c"], name="branch", then_branch=body, else_branch=body),
    ]
    found = refused(model_of(nodes, {"b": ["n", 4], "c": ["n", 4]}, tmp_path, yes=True)).diagnostics
    assert {d.code for d in found} == {"MA203"} and all(d.hint for d in found)
    foo, branch, bar = (d.message for d in found)
    assert "own.Foo" in foo and foo.endswith("one, other")
    assert "operator If (opset 18)" in branch and "own.Bar" in bar


def test_broken_files_and_imports_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x08\x07 no model")
    assert refused(broken).code == "MA202"
    broken.write_bytes(b"")
    assert refused(broken).code == "MA202"
    # The importer pads the last axes, whichever are asked for.
    pad = helper.make_node("Pad", ["x", "pads", "", "axes"], ["y"])
    path = model_of([pad], {"y": [None, 4]}, tmp_path, pads=[1, 1], axes=[0])
    problem = refused(path)
    assert problem.code in ("MA202", "MA207") and "model.onnx" in problem.diagnostics[0].message
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    problem = refused(path)
    assert problem.code == "MA209" and "mojoaccel[onnx]" in problem.diagnostics[0].hint
