"""`mojoaccel compile` as people run it: stages, cache, interruption, several at once."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MODEL = """
import torch
from torch import nn
from mojoaccel import Example

def factory():
    torch.manual_seed({seed})
    module = nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 3))
    return Example(module, (torch.randn(2, 12),), dynamic={{"input": {{0: "batch"}}}})
"""
STAGES = ["detect", "trace", "optimize", "emit", "build", "package"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.py"
    path.write_text(MODEL.format(seed=0))
    return path


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "mojoaccel", "compile", *(str(a) for a in args)]


def environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "MOJOACCEL_CACHE_DIR": str(cache), "PYTHONPATH": ":".join(sys.path)}


def compiled(cache: Path, *args: object) -> dict[str, Any]:
    """Run a compile and return its JSON document."""
    done = subprocess.run(
        command(*args, "--json"),
        env=environment(cache),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture
def compiled_here(command_line: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """`compiled`, without a new process for each."""

    def call(cache: Path, *args: object) -> dict[str, Any]:
        done = command_line("compile", *args, "--json", env={"MOJOACCEL_CACHE_DIR": str(cache)})
        assert done.returncode == 0, done.stdout + done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    return call


def ran(document: dict[str, Any]) -> list[str]:
    """Return the stages that were not served from the cache."""
    return [s["name"] for s in document["stages"] if s["status"] == "run"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ([], []),
        (["-O1"], ["optimize", "emit"]),
        (["--dtype", "bf16"], ["trace", "optimize", "emit"]),
        (["--dynamic", "input:0=rows:1..9"], ["trace", "optimize", "emit"]),
        (["--target", "reference"], ["detect"]),
        (["--threads", "2"], []),
        (["--fp-mode", "off"], []),
        (["--no-verify"], []),
    ],
    ids=lambda value: " ".join(value) or "nothing",
)
def test_an_option_invalidates_the_stages_that_depend_on_it(
    model: Path,
    tmp_path: Path,
    compiled_here: Callable[..., dict[str, Any]],
    change: list[str],
    expected: list[str],
) -> None:
    cache = tmp_path / "cache"
    base = [model, "--stop-after", "emit", "--target", "null"]
    assert ran(compiled_here(cache, *base)) == STAGES[:4]
    again = [*base, *change]
    if "--target" in change:
        again = [model, "--stop-after", "trace", *change]
    assert ran(compiled_here(cache, *again)) == expected


def test_a_changed_weight_invalidates_what_follows(
    model: Path, tmp_path: Path, compiled_here: Callable[..., dict[str, Any]]
) -> None:
    cache = tmp_path / "cache"
    base = [model, "--stop-after", "emit", "--target", "null"]
    compiled_here(cache, *base)
    model.write_text(MODEL.format(seed=1))
    # The emitted source does not hold the weights, but the plan names their content.
    assert ran(compiled_here(cache, *base))[:2] == ["trace", "optimize"]


@pytest.mark.mojo
def test_a_compile_is_verified_and_the_second_hits_everywhere(
    model: Path, tmp_path: Path, compiled_here: Callable[..., dict[str, Any]]
) -> None:
    cache, output = tmp_path / "cache", tmp_path / "model.maccel"
    first = compiled(cache, model, "-o", output)
    assert ran(first) == STAGES
    assert first["verification"]["status"] == "passed"
    assert ran(compiled(cache, model, "-o", output)) == []
    # The tests' own modules are sources of what is traced here, and of nothing behind it.
    assert ran(compiled_here(cache, model, "-o", output)) == ["trace"]
    for change, expected in (
        (["--threads", "2"], ["package"]),
        (["--fp-mode", "off"], ["build", "package"]),
        (["--no-verify"], ["package"]),
        (["--archive"], []),
    ):
        assert (
            ran(compiled_here(cache, model, "-o", tmp_path / "other.maccel", *change)) == expected
        )


@pytest.mark.mojo
def test_two_compiles_at_once_both_succeed(model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    runs = [
        subprocess.Popen(
            command(model, "-o", tmp_path / f"{i}.maccel"),
            env=environment(cache),
            stderr=subprocess.DEVNULL,
        )
        for i in range(2)
    ]
    assert [run.wait(timeout=300) for run in runs] == [0, 0]
    assert all((tmp_path / f"{i}.maccel" / "manifest.json").exists() for i in range(2))


@pytest.mark.mojo
@pytest.mark.slow
def test_a_killed_compile_leaves_nothing_broken(model: Path, tmp_path: Path) -> None:
    cache, output = tmp_path / "cache", tmp_path / "model.maccel"
    chance = random.Random(0)
    for _ in range(3):
        run = subprocess.Popen(
            command(model, "-o", output), env=environment(cache), stderr=subprocess.DEVNULL
        )
        time.sleep(chance.uniform(1.0, 7.0))
        run.kill()
        run.wait()
        assert not output.exists() or (output / "manifest.json").exists()
        shutil.rmtree(output, ignore_errors=True)
    done = compiled(cache, model, "-o", output)
    assert done["verification"]["status"] == "passed"
    assert not done["warnings"]


@pytest.mark.mojo
def test_ctrl_c_cleans_up(model: Path, tmp_path: Path) -> None:
    cache, temporary = tmp_path / "cache", tmp_path / "tmp"
    temporary.mkdir()
    run = subprocess.Popen(
        command(model, "-o", tmp_path / "model.maccel"),
        env={**environment(cache), "TMPDIR": str(temporary)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stderr is not None
    for line in run.stderr:  # interrupt the compiler itself
        if line.startswith("emit"):
            time.sleep(0.5)
            run.send_signal(signal.SIGINT)
            break
    assert run.wait(timeout=60) == 130
    assert list(temporary.glob("mojoaccel-*")) == []
    assert not (tmp_path / "model.maccel").exists()
