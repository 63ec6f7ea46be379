"""The MAX engine: one model compiled and run by it, and everything it refuses."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import mojoaccel
from mojoaccel.artifact.parameters import write_parameters
from mojoaccel.config import TraceOptions
from mojoaccel.engines.max.lowering import find_unknown
from mojoaccel.engines.max.prepare import prepare
from mojoaccel.engines.max.table import TABLE
from mojoaccel.errors import MojoaccelError
from mojoaccel.ops.registry import load_registry
from mojoaccel.trace.export import trace
from mojoaccel.trace.loader import LoadedModel

INSTALLED = importlib.util.find_spec("max") is not None
needs_max = pytest.mark.skipif(not INSTALLED, reason="the max package is not installed")
without_max = pytest.mark.skipif(INSTALLED, reason="the max package is installed")


class Sight(nn.Module):
    """Convolutions, a pool, norms, attention with a mask, and a table, at odd sizes."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.deep = nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False)
        self.normal = nn.BatchNorm2d(6)
        self.words = nn.Embedding(11, 6)
        self.norm = nn.LayerNorm(6)
        self.query = nn.Linear(6, 6)
        self.last = nn.Linear(6, 5)

    def forward(self, image, ids):
        x = F.relu(self.normal(self.deep(self.first(image))))
        x = F.max_pool2d(x, 2).flatten(2).transpose(1, 2)
        x = self.norm(torch.cat([x, self.words(ids)], 1))
        heads = self.query(x).view(x.shape[0], -1, 2, 3).transpose(1, 2)
        mask = (torch.arange(heads.shape[2]) != 2)[None]
        x = F.scaled_dot_product_attention(heads, heads, heads, attn_mask=mask)
        x = F.gelu(x.transpose(1, 2).flatten(2))
        return self.last(x.mean(1)), x[:, -1].argmax(-1)


def sight():
    torch.manual_seed(0)
    inputs = (torch.randn(2, 3, 13, 17), torch.randint(0, 11, (2, 4)))
    return mojoaccel.Example(Sight().eval(), inputs)


def run(*args, **variables):
    line = [sys.executable, "-m", "mojoaccel", *(str(a) for a in args)]
    environment = {**os.environ, **variables}
    return subprocess.run(line, capture_output=True, text=True, env=environment, timeout=1200)


def traced(module, *inputs):
    loaded = LoadedModel("net", mojoaccel.Example(module.eval(), inputs))
    return trace(loaded, TraceOptions())[0]


def test_table_names_operators():
    assert set(TABLE) <= set(load_registry())


def test_unknown_operators_are_named_at_their_line():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(4, 4)

        def forward(self, x):
            y = torch.erfinv(self.lstm(x)[0])
            return torch.erfinv(y)

    found = find_unknown(prepare(traced(Net(), torch.zeros(3, 2, 4))).traced.graph, TABLE)
    assert [d.code for d in found] == ["MA203", "MA203"]
    assert "erfinv is not supported by the MAX engine (2 calls)" in found[0].message
    assert "torch.erfinv(self.lstm(x)[0])" in found[0].loc.text
    assert all("--engine mojo" in d.hint for d in found)


def test_models_with_state_are_refused():
    class Count(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("n", torch.zeros(1))

        def forward(self, x):
            self.n.add_(1)
            return x + self.n

    with pytest.raises(MojoaccelError, match="MA302") as e:
        prepare(traced(Count(), torch.zeros(2)))
    assert "changes n" in str(e.value)


def test_parameters_lie_aligned_and_turned(tmp_path):
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float32(7).reshape(())}
    given = [("a.10", "a", "float32", (1, 0)), ("b", "b", "float32", None)]
    spec, places = write_parameters(tmp_path, given, arrays)
    assert places == {"a.10": [0, "float32", [3, 2]], "b": [64, "float32", []]}
    stored = np.fromfile(tmp_path / spec.file, np.float32)
    assert stored[:6].reshape(3, 2).tolist() == arrays["a"].T.tolist()
    assert stored[16] == 7


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (("--plan",), "--plan does not go with --engine max"),
        (("--emit", "mojo"), "--emit mojo does not go with --engine max"),
        (("--stop-after", "emit"), "has no emit stage"),
        (("--target", "reference"), "not for reference"),
    ],
)
def test_what_only_our_engine_has_is_refused(option, says):
    done = run("compile", "nothing.py", "--engine", "max", *option)
    assert done.returncode == 2
    assert says in done.stderr


@without_max
def test_says_that_max_is_missing(command_line, tmp_path):
    model = tmp_path / "net.py"
    model.write_text(
        "import torch\n\ndef model():\n    return torch.nn.Linear(3, 2), (torch.zeros(1, 3),)\n"
    )
    done = command_line(
        *("compile", model, "--engine", "max", "-o", tmp_path / "net.maccel", "--json")
    )
    assert done.returncode == 3
    found = json.loads(done.stdout)["diagnostics"][0]
    assert (found["code"], found["hint"]) == ("MA106", "pip install 'mojoaccel[max]'")
    assert not (tmp_path / "net.maccel").exists()


@pytest.fixture(scope="module")
def artifact(shared_cache, tmp_path_factory):
    place = tmp_path_factory.mktemp("max") / "sight.maccel"
    mojoaccel.compile(sight(), engine="max", output=place).close()
    return place


@needs_max
def test_answers_are_pytorchs(artifact):
    manifest = json.loads((artifact / "manifest.json").read_text())
    assert manifest["engine"] == "max"
    assert manifest["verification"]["status"] == "passed"
    assert {p.name for p in artifact.iterdir()} == {
        *("manifest.json", "model.mef", "weights.bin", "check", "LICENSES")
    }
    example = sight()
    with mojoaccel.load(artifact) as session, torch.no_grad():
        found = session(*example.args)
        wanted = example.module(*example.args)
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-4, atol=1e-5)
    assert torch.equal(found[1], wanted[1])


@needs_max
def test_sessions_have_threads_of_their_own(artifact):
    with mojoaccel.load(artifact, 1) as one, mojoaccel.load(artifact) as all_of_them:
        assert one.threads == 1
        assert all_of_them.threads == len(os.sched_getaffinity(0))


@needs_max
def test_run_repeats_the_check_with_nothing_on_stdout_but_its_own(artifact):
    done = run("run", artifact, "--verify", "--json", "--engine", "max")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"]
    refused = run("run", artifact, "--random", "--engine", "mojo")
    assert refused.returncode == 2
    assert "compiled by the max engine" in refused.stderr


@needs_max
def test_damage_is_noticed(artifact, tmp_path):
    import shutil

    copy = Path(shutil.copytree(artifact, tmp_path / "copy"))
    with (copy / "model.mef").open("r+b") as file:
        file.seek(1000)
        file.write(b"damage")
    with pytest.raises(MojoaccelError, match="MA601"):
        mojoaccel.load(copy)


@needs_max
def test_another_release_is_refused(artifact, tmp_path):
    import shutil

    copy = Path(shutil.copytree(artifact, tmp_path / "copy"))
    text = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(text.replace('"MAX ', '"MAX 0'))
    with pytest.raises(MojoaccelError, match="MA106"):
        mojoaccel.load(copy)


def test_groups_of_another_engine_are_not_profiled():
    done = run("bench", "nothing.py", "--engine", "max", "--profile")
    assert done.returncode == 2
    assert "--profile does not go with --engine max" in done.stderr


@needs_max
def test_a_server_answers_by_max(artifact):
    import asyncio

    from mojoaccel.backends.deployment import MaxBackend

    example = sight()
    image, ids = (a.numpy() for a in example.args)

    async def deploy():
        backend = MaxBackend()
        try:
            made = await backend.deploy_model(artifact, "sight", threads=1)
            return made, await backend.infer("sight", {"image": image, "ids": ids})
        finally:
            await backend.close()

    made, answer = asyncio.run(deploy())
    assert made.success, made.error_message
    assert made.allocated_resources["engine"] == "max"
    with torch.no_grad():
        wanted = example.module(*example.args)
    np.testing.assert_allclose(answer["output_0"], wanted[0].numpy(), rtol=1e-4, atol=1e-5)
    assert answer["output_1"].tolist() == wanted[1].tolist()


@needs_max
def test_an_axis_of_a_multiple_takes_every_such_length(tmp_path):
    class Fours(nn.Module):
        def forward(self, x):
            return F.gelu(x.reshape(x.shape[0] // 4, 4, 3)).sum(1)

    lengths = {"x": {0: 4 * torch.export.Dim("n", max=64)}}
    example = (torch.randn(12, 3),)
    place = tmp_path / "fours.maccel"
    with mojoaccel.compile(
        Fours().eval(), example, dynamic_shapes=lengths, engine="max", output=place
    ) as session:
        for length in (4, 28):
            x = torch.randn(length, 3)
            torch.testing.assert_close(session(x), Fours()(x), rtol=1e-4, atol=1e-5)
        with pytest.raises(MojoaccelError, match=r"expected 4\*n"):
            session(torch.randn(6, 3))
