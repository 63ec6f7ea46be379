"""The command line without a compile: exact text, exit codes, what it loads."""

import json
import os
import subprocess
import sys

import pytest

# `--help` is to answer within 0.3 s; 165 modules take 0.12 s, and tests do not time.
HELP_MODULES = 220


@pytest.fixture
def run(command_line, tmp_path):
    """Run ``mojoaccel`` in an empty folder with an empty home; return (code, stdout, stderr)."""
    place = tmp_path / "work"
    place.mkdir()

    def call(*args, files=None, **variables):
        for name, content in (files or {}).items():
            (place / name).write_text(content)
        keep = {k: v for k, v in os.environ.items() if not k.startswith("MOJOACCEL_")}
        env = {**keep, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "none")}
        env |= {"MOJOACCEL_CACHE_DIR": str(tmp_path / "cache"), "COLUMNS": "100", **variables}
        return command_line(*args, only=env, folder=place)

    return call


@pytest.fixture
def run_here(tmp_path, command_line, monkeypatch):
    """`run`, without a new process for each."""
    monkeypatch.chdir(tmp_path)

    def call(*args, text):
        (tmp_path / "m.py").write_text(text)
        return command_line(*args, env={"MOJOACCEL_CACHE_DIR": str(tmp_path / "cache")})

    return call


def test_help_loads_nothing_heavy(run):
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    for command in ("compile", "run", "detect", "cache"):
        assert f"  {command}" in out
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mojoaccel", "--help"],
        capture_output=True,
        text=True,
    ).stderr
    modules = {line.rsplit("|", 1)[-1].strip() for line in loaded.splitlines()}
    assert "typer" in modules
    assert not modules & {"torch", "numpy", "rich", "transformers"}
    assert len(modules) < HELP_MODULES


def test_version(run):
    import mojoaccel

    assert run("--version") == (0, f"mojoaccel {mojoaccel.__version__}\n", "")


def test_no_arguments_show_the_help(run):
    code, out, err = run()
    assert code == 2
    assert "Usage: mojoaccel" in out + err


USAGE = {
    ("compile",): """\
error[MA903] usage: missing argument 'MODEL'.
  hint: mojoaccel compile --help
""",
    ("compile", "m.py", "--dtyp", "f32"): """\
error[MA903] usage: no such option: --dtyp
  hint: did you mean --dtype?
""",
    ("compile", "m.py", "-O7"): """\
error[MA903] usage: -O '7' is not 0, 1, 2 or 3
""",
    ("compile", "m.py", "--stop-after", "link"): """\
error[MA903] usage: --stop-after 'link' is not one of detect, trace, optimize, emit, build, package
""",
    ("cache", "prune", "--size", "huge"): """\
error[MA903] usage: --size 'huge' is not a size such as 500MB or 10GB
""",
}


@pytest.mark.parametrize("args", USAGE, ids=" ".join)
def test_usage_errors(run, args):
    assert run(*args) == (2, "", USAGE[args])


def test_unknown_key_shows_file_line_and_nearest_name(run):
    files = {"mojoaccel.toml": "threads = 2\noptimisation = 3\n"}
    assert run("compile", "m.py", files=files) == (
        2,
        "",
        """\
error[MA901] bad-config: unknown key 'optimisation'
  --> mojoaccel.toml:2
   |  optimisation = 3
  hint: did you mean 'optimization'?
""",
    )


def test_unknown_variable(run):
    assert run("compile", "m.py", MOJOACCEL_TREADS="2") == (
        2,
        "",
        "error[MA901] bad-config: unknown environment variable MOJOACCEL_TREADS\n"
        "  hint: did you mean 'MOJOACCEL_THREADS'?\n",
    )


def test_errors_as_json_are_one_document_on_stdout(run):
    code, out, err = run("compile", "m.py", "--json", "-O7")
    assert (code, err) == (2, "")
    document = json.loads(out)
    assert document["schema_version"] == 1
    assert document["command"] == "compile"
    assert document["ok"] is False
    assert document["diagnostics"][0]["code"] == "MA903"


def test_cache_commands(run):
    code, out, err = run("cache", "size")
    assert (code, out) == (0, "stage  entries  size\ntotal        0   0 B\n")
    assert err.endswith("/cache (limit 10.0 GB)\n")
    assert run("cache", "clear") == (0, "", "freed 0 B\n")
    assert run("cache", "prune", "--size", "2GB") == (0, "", "freed 0 B\n")
    code, out, _ = run("cache", "size", "--json", MOJOACCEL_CACHE_SIZE="3GB")
    assert json.loads(out)["limit"] == 3 * 10**9


def test_completion_script_is_offered(run):
    code, out, _ = run(_MOJOACCEL_COMPLETE="source_bash")
    assert code == 0
    assert "_mojoaccel_completion" in out


UNSUPPORTED = """
import torch
from torch import nn
from torch.nn import functional as F

class M(nn.Module):
    def forward(self, x):
        noise = torch.rand_like(x)
        lost = x[x > 0]
        pairs = torch.view_as_complex(x)
        return F.dropout(x, 0.5, True), lost.std() + noise, pairs.softmax(0), pairs.exp().softmax(0)

def factory():
    return M(), (torch.randn(4, 2),)
"""


def test_check_lists_everything_unsupported_at_once(run_here):
    code, out, err = run_here("compile", "m.py", "--check", text=UNSUPPORTED)
    assert (code, out) == (1, "")
    found = [line for line in err.splitlines() if line.startswith("error")]
    assert found == [
        "error[MA203] operator-not-supported: aten.rand_like.default is not supported (1 call): it "
        "draws random numbers",
        "error[MA203] operator-not-supported: aten.native_dropout.default is not supported (1 "
        "call): dropout is on: it draws random numbers",
        "error[MA204] data-dependent-control-flow: index: the size of its result depends on the "
        "data (u0)",
        "error[MA302] form-not-supported: softmax of complex numbers (2 calls)",
    ]
    for line in (8, 9, 11):
        assert f"--> m.py:{line} in forward" in err
    assert "hint: use torch.where, or multiply by the mask" in err


def test_check_counts_the_operators_of_a_model_that_compiles(run_here):
    text = UNSUPPORTED.replace("torch.rand_like(x)", "1").replace("x[x > 0]", "x.relu()")
    text = text.replace("F.dropout(x, 0.5, True)", "x").replace(".softmax(0)", "")
    code, out, err = run_here("compile", "m.py", "--check", text=text)
    assert (code, out) == (0, "")
    assert "calls of" in err and "operators compile" in err
    code, out, _ = run_here("compile", "m.py", "--check", "--json", text=text)
    assert code == 0
    assert json.loads(out)["operators"]["relu"] == 1


def test_verbose_shows_detection_and_commands_on_stderr(run):
    code, out, err = run("detect", "--verbose", "--json", "--mojo", "no/mojo")
    assert code == 0 and json.loads(out)["command"] == "detect"
    shown = [line for line in err.splitlines() if line.startswith("mojoaccel: ")]
    assert any(line.startswith("mojoaccel: target cpu:") for line in shown), err
    assert run("detect", "--json", "--mojo", "no/mojo")[2] == ""
