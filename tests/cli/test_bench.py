"""``mojoaccel bench`` from the command line."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def run(place):
    """Run ``mojoaccel`` in one folder with one cache; return (code, stdout, stderr)."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith("MOJOACCEL_")}
    env = {**keep, "XDG_CONFIG_HOME": str(place / "none")}
    env["MOJOACCEL_CACHE_DIR"] = str(place / "cache")

    def call(*args):
        command = [sys.executable, "-m", "mojoaccel", *map(str, args)]
        done = subprocess.run(
            command, cwd=place, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        return done.returncode, done.stdout, done.stderr

    return call


@pytest.fixture
def run_here(command_line, place):
    """`run`, without a new process for each."""
    return lambda *args: command_line(
        *args, env={"MOJOACCEL_CACHE_DIR": str(place / "cache")}, folder=place
    )


@pytest.fixture(scope="module")
def artifact(run, place):
    code, _, err = run("compile", EXAMPLES / "mlp.py", "-o", "mlp.maccel")
    assert code == 0, err
    return place / "mlp.maccel"


USAGE = {
    ("--vs", "eagr"): """\
error[MA903] usage: no rival is called eagr
  hint: did you mean 'eager'?
""",
    ("--at", "batch"): """\
error[MA903] usage: 'batch' is not of the form dim=size
""",
    ("--compare", "never"): """\
error[MA903] usage: no benchmark is stored as CACHE/benchmarks/never.json
  hint: store one with --save NAME
""",
    ("--seconds", "-1"): """\
error[MA903] usage: --seconds -1.0 is not a number of at least 0
""",
    ("--threads", "99999999"): """\
error[MA903] usage: --threads 99999999 is not a number of threads up to 1024
""",
}


@pytest.mark.parametrize("args", USAGE, ids=" ".join)
def test_usage_errors_come_before_the_compile(run_here, place, args):
    code, out, err = run_here("bench", EXAMPLES / "mlp.py", *args)
    assert (code, out) == (2, "")
    assert err.replace(str(place / "cache"), "CACHE").startswith(USAGE[args])


@pytest.mark.parametrize("args", [("--html",), ("--csv",), ("--profile", "--trace")], ids=" ".join)
def test_a_report_that_cannot_be_written_is_said_before_the_compile(run_here, place, args):
    (place / "folder").mkdir(exist_ok=True)
    code, out, err = run_here("bench", EXAMPLES / "mlp.py", *args, "folder")
    assert (code, out) == (3, "")
    assert err.startswith("error[MA603] write-failed: folder cannot be written: Is a directory\n")


def test_reference_models_are_never_measured(run_here):
    code, out, err = run_here("bench", EXAMPLES / "mlp.py", "--target", "reference")
    assert (code, out) == (2, "")
    assert "error[MA903] usage: this is a reference model: PyTorch interprets it" in err


@pytest.mark.mojo
def test_an_artifact_alone_needs_no_torch(run, artifact):
    code, out, err = run("bench", artifact, "--seconds", "0.2")
    assert code == 0, err
    assert re.fullmatch(
        r"runner +median +p95 +spread  vs eager  max error  peak memory\n"
        r"mojoaccel +[\d.]+ (us|ms) +[\d.]+ (us|ms) +[\d.]+ % +- +\S+ +\d+ MB\n",
        out,
    ), out
    assert "errors against the float64 answers that the artifact carries" in err
    assert "compiled in" not in err


@pytest.mark.mojo
def test_an_artifact_has_no_model_for_rivals(run, artifact):
    code, _, err = run("bench", artifact, "--vs", "eager")
    assert code == 2
    assert "eager needs the PyTorch model, which an artifact does not hold" in err
    assert "hint: bench the model itself, or add --model FILE.py" in err


@pytest.mark.mojo
@pytest.mark.slow
def test_a_model_against_eager_saved_compared_and_judged(run, artifact, place):
    model = ("--model", EXAMPLES / "mlp.py", "--at", "batch=3")
    short = ("--seconds", "0.2", "--rounds", "3", "--threads", "1")
    code, out, err = run(
        *("bench", artifact, *model, *short, "--json", "--save", "one"),
        *("--csv", "b.csv", "--markdown", "b.md", "--html", "b.html"),
    )
    assert code == 0, err
    found = json.loads(out)
    assert (found["schema_version"], found["command"], found["ok"]) == (1, "bench", True)
    assert (found["items"], found["threads"], found["sizes"]) == (3, 1, {"batch": 3})
    ours, eager = found["runners"]
    assert (ours["name"], eager["name"]) == ("mojoaccel", "eager")
    for row in (ours, eager):
        assert row["status"] == "ok", row
        assert len(row["rounds"]) == 3
        assert row["accuracy"]["error"] < 1e-5
        assert row["cold_start"]["total"] > row["cold_start"]["import"] > 0
    assert ours["peak_memory"] < eager["peak_memory"]
    rows = list(csv.DictReader((place / "b.csv").open()))
    assert [r["runner"] for r in rows] == ["mojoaccel", "eager"]
    assert "| mojoaccel |" in (place / "b.md").read_text()
    assert (place / "b.html").read_text().startswith("<!doctype html>")

    compared = ("--at", "batch=5", "--compare", "one", "--fail-under", "1000")
    code, out, err = run("bench", artifact, *short, *compared)
    assert code == 5
    assert re.search(r"error\[MA801\] too-slow: mojoaccel is [\d.]+x as fast as the stored", err)
    assert "other inputs: input: f32[3, 784] then, input: f32[5, 784] now" in err
    assert re.search(r"^mojoaccel .* (same|faster|slower)$", out, re.MULTILINE)

    code, out, _ = run("bench", artifact, *short, *compared, "--json")
    document = json.loads(out)
    assert (code, document["ok"]) == (5, False)
    assert document["diagnostics"][0]["code"] == "MA801"
    assert document["comparison"]["runners"][0]["runner"] == "mojoaccel"


@pytest.mark.mojo
@pytest.mark.slow
def test_rivals_built_elsewhere_answer_rightly(run, artifact):
    for package in ("onnxruntime", "openvino", "onnx", "onnxscript"):
        pytest.importorskip(package)
    code, out, err = run(
        *("bench", artifact, "--model", EXAMPLES / "mlp.py", "--vs", "onnxruntime,openvino"),
        *("--seconds", "0.3", "--rounds", "3", "--threads", "1", "--json"),
    )
    assert code == 0, err
    rows = json.loads(out)["runners"]
    assert [(r["name"], r["status"]) for r in rows] == [
        ("mojoaccel", "ok"),
        ("onnxruntime", "ok"),
        ("openvino", "ok"),
    ], rows
    for row in rows[1:]:
        assert row["version"][0].isdigit()
        assert row["compile_seconds"] > 0
        assert row["speedup"] is None  # eager was not asked for


@pytest.mark.mojo
@pytest.mark.slow
def test_a_wrong_answer_does_not_count_and_fails(run, artifact, place):
    """The model of another seed: the artifact's answers are wrong for it."""
    text = (EXAMPLES / "mlp.py").read_text()
    (place / "other.py").write_text(text.replace("manual_seed(0)", "manual_seed(1)"))
    code, out, err = run(
        *("bench", artifact, "--model", "other.py"),
        *("--seconds", "0.2", "--rounds", "3", "--threads", "1"),
    )
    assert code == 4
    assert re.search(r"^mojoaccel +wrong output +- ", out, re.MULTILINE)
    assert "error[MA602] accuracy: mojoaccel: output 0: off by" in err
