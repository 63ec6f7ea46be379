"""`mojoaccel detect` and `mojoaccel doctor` as people and scripts run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import mojoaccel

SCHEMAS = Path(mojoaccel.__file__).parent / "schemas"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(command_line: Callable[..., Any], tmp_path: Path) -> Run:
    """Run ``mojoaccel`` with an empty home and a PATH of its own; (code, stdout, stderr)."""
    (tmp_path / "bin").mkdir()

    def call(*args: str, **variables: str) -> tuple[int, str, str]:
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("MOJOACCEL_", "MODULAR_"))}
        env = {**keep, "HOME": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
        env |= {"PYTHONPATH": ":".join(p for p in sys.path if p), "XDG_CACHE_HOME": ""}
        env |= {"XDG_CONFIG_HOME": "", **variables}
        done: tuple[int, str, str] = command_line(*args, only=env, folder=tmp_path)
        return done

    return call


def document(text: str, schema: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    jsonschema.validate(found, json.loads((SCHEMAS / f"{schema}.json").read_text()))
    return found


def test_detect_follows_its_schema(run: Run) -> None:
    code, out, err = run("detect", "--json")
    assert (code, err) == (0, "")
    found = document(out, "detect")
    assert found["string"].startswith("cpu:")
    assert found["cpu"]["usable_cores"] >= 1
    assert found["cpu"]["simd"]["register_bits"] == 8 * found["target"]["simd_bytes"]
    assert found["toolchain"]["python"]["packages"]["torch"].startswith("2.13")


def test_detect_for_people(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bin" / "mojo").write_text("#!/usr/bin/perl\n")
    code, out, _ = run("detect")
    assert code == 0
    titles = [line for line in out.splitlines() if not line.startswith((" ", "warning"))]
    assert titles == ["target", "processor", "memory", "GPUs", "toolchain"]
    assert f"mojolicious: {tmp_path / 'bin' / 'mojo'}" in " ".join(out.split())
    for line in out.splitlines():  # only a path is ever wider
        assert len(line) <= 80 or " " not in line.strip().partition(": ")[2], line


def test_detect_describes_another_target(run: Run) -> None:
    code, out, _ = run("detect", "--target", "cpu:aarch64-linux-gnu", "--json")
    assert code == 0
    assert document(out, "detect")["target"]["triple"] == "aarch64-unknown-linux-gnu"
    assert run("detect", "--target", "cpu:nonsense")[0] != 0


def test_doctor_in_a_broken_environment(run: Run, tmp_path: Path) -> None:
    snap = tmp_path / "snap" / "bin" / "mojo"
    snap.parent.mkdir(parents=True)
    snap.write_text("#!/bin/sh\nsleep 60\n")
    snap.chmod(0o755)
    began = time.monotonic()
    code, out, _ = run(
        *("doctor", "--check", "mojo.lookalikes", "--check", "mojo.variables"),
        PATH=f"{snap.parent}:/usr/bin:/bin",
        MODULAR_HOME=str(snap / "below"),
    )
    assert time.monotonic() - began < 20
    assert code == 3
    assert out == "\n".join(
        [
            "warn  mojo.lookalikes      another program called mojo is on PATH; mojoaccel",
            "                           does not use it",
            *_found(f"{snap} is the Ubuntu snap `mojo` (Juju delivery), not Modular's"),
            "      expected: only Modular's compiler is called mojo",
            "      hint:     put this environment's bin folder first on PATH, or remove the",
            "                other program",
            "      fix:      sudo snap remove mojo",
            "      see:      modular/modular#666, #513; snapcraft.io/mojo",
            "FAIL  mojo.variables       MODULAR_HOME: no such folder can be made there",
            *_found(f"MODULAR_HOME={snap}/below"),
            "      expected: writable folders, or unset",
            "      hint:     the compiler then says that a folder could not be created",
            "      fix:      unset MODULAR_HOME",
            "      see:      docs.modular.com/max/environment-variables",
            "0 ok, 1 warning, 1 failure, 0 skipped",
            "",
        ]
    )


def _found(text: str) -> list[str]:
    from mojoaccel.doctor.report import wrap

    return wrap(text, "      found:    ", " " * 16)


def test_warnings_count_only_if_strict(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".bashrc").write_text("alias mojo=other\n")
    check = ("doctor", "--check", "mojo.alias", "--json")
    code, out, _ = run(*check)
    assert (code, document(out, "doctor")["counts"]["warn"]) == (0, 1)
    code, out, _ = run(*check, "--strict")
    assert (code, document(out, "doctor")["ok"]) == (1, False)


def test_every_quick_check_follows_the_schema(run: Run) -> None:
    groups = [f"--check={g}" for g in ("system", "python", "mojo", "max", "gpu", "cache")]
    code, out, err = run("doctor", *groups, "--json")
    assert code in (0, 3), err
    for row in document(out, "doctor")["checks"]:
        assert "the check itself failed" not in row["summary"], row
        if row["status"] == "fail":
            assert row["fix"], row


def test_markdown_names_nobody(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".bashrc").write_text("alias mojo=other\n")
    code, out, _ = run("doctor", "--markdown", "--check", "mojo.alias")
    assert code == 0
    assert out.startswith("### mojoaccel ")
    assert str(tmp_path) not in out
    assert "`~/.bashrc:1: alias mojo=other`" in out


def test_fix_says_what_it_does(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".cache").write_text("in the way")
    code, _, err = run("doctor", "--check", "cache.own", "--fix", TMPDIR=str(tmp_path))
    assert code == 0
    place = tmp_path / f"mojoaccel-{os.getuid()}"
    named = tmp_path / ".config" / "mojoaccel-cache-dir"
    assert err.splitlines() == [
        f"cache.own: write cache folder {place} into {named}",
        "  done; run mojoaccel doctor again",
    ]
    assert named.read_text() == f"{place}\n"
    assert "ok    cache.own" in run("doctor", "--check", "cache.own", TMPDIR=str(tmp_path))[1]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_fix_asks_before_it_moves_what_is_not_ours(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / ".modular"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    _, out, err = run("doctor", "--check", "mojo.home", "--fix")
    assert "owner uid 12345" in out
    assert err.splitlines()[-1] == "  left alone"
    assert folder.is_dir()
    _, _, err = run("doctor", "--check", "mojo.home", "--fix", "--yes")
    assert err.splitlines()[-1] == "  done; run mojoaccel doctor again"
    assert (tmp_path / ".modular.old").is_dir()


def test_fix_asks_before_it_leaves_the_home(
    run: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("outside") / "gone"
    code, _, err = run("doctor", "--check", "cache.temporary", "--fix", TMPDIR=str(place))
    assert err.splitlines() == [f"cache.temporary: make the folder {place}", "  left alone"]
    assert (code, place.exists()) == (0, False)
    _, _, err = run("doctor", "--check", "cache.temporary", "--fix", "--yes", TMPDIR=str(place))
    assert err.splitlines()[-1] == "  done; run mojoaccel doctor again"
    assert place.is_dir()


def test_unknown_check_and_code(run: Run) -> None:
    assert run("doctor", "--check", "nothing")[0] == 2
    assert run("doctor", "--explain", "MA000")[0] == 2
    code, out, _ = run("doctor", "--explain", "MA303")
    assert (code, out.split(" (")[0]) == (0, "MA303 tiles-not-measured")


def test_explaining_a_message_of_modulars_tools(run: Run) -> None:
    code, out, _ = run("doctor", "--explain", "version 1.0.0+601")
    assert (code, out.splitlines()) == (
        0,
        [
            "cause: this is the Ubuntu snap `mojo`, which delivers Juju charms",
            "fix:   sudo snap remove mojo",
            "see:   modular/modular#666, #513",
        ],
    )
    code, out, _ = run("doctor", "--json", "--explain", "magic: command not found")
    assert json.loads(out)["reference"] == "modular/modular#4990, #4662"
    assert run("doctor", "--explain", "all is well")[0] == 2


def test_operator_table(run: Run) -> None:
    code, out, _ = run("doctor", "--ops", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)["operators"]}
    assert "aten.linear.default" in rows["linear"]["aten"]
    lines = run("doctor", "--ops")[1].splitlines()
    assert lines[0].split() == ["operator", "lowering", "ATen", "overloads"]
    assert max(len(line) for line in lines) <= 80
    assert any(
        line.split() == ["linear", rows["linear"]["lowering"], "linear.default"] for line in lines
    )


@pytest.mark.parametrize("command", [["detect"], ["doctor", "--check", "python"]])
def test_torch_is_never_imported(command: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mojoaccel", *command],
        capture_output=True,
        text=True,
        timeout=60,
    )
    modules = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "typer" in modules
    assert "torch" not in modules


@pytest.mark.mojo
def test_doctor_ends_in_time_and_builds(run: Run) -> None:
    compiled = Path.home() / ".cache" / "modular"  # the compiler's own; it takes long without
    began = time.monotonic()
    code, out, _ = run("doctor", "--json", MODULAR_CACHE_DIR=str(compiled))
    assert time.monotonic() - began < 20
    rows = {row["id"]: row for row in document(out, "doctor")["checks"]}
    assert rows["runtime.end-to-end"]["status"] == "pass", rows["runtime.end-to-end"]
    assert code == 0, [r for r in rows.values() if r["status"] == "fail"]
