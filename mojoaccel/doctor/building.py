"""Checks that really build: a two-line kernel is compiled, linked, loaded and called."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from mojoaccel.config import BuildOptions
from mojoaccel.doctor.check import Check, Facts, Outcome, failed, passed, skipped
from mojoaccel.products import MojoSource, digest_bytes
from mojoaccel.toolchain.build import build
from mojoaccel.toolchain.format import find_formatter
from mojoaccel.toolchain.mojo import run

KERNEL = """@export
def doctor_add(x: Int) abi("C") -> Int:
    return x + 1
"""
CALL = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).doctor_add(41))"
BUILD_SECONDS = 120.0
CALL_SECONDS = 30.0


def end_to_end(facts: Facts) -> Outcome:
    """Compile, link, load and call; the call is in a process of its own, for it may crash."""
    source = MojoSource((("model.mojo", KERNEL),), (), ("doctor_add",), digest_bytes(KERNEL))
    options = BuildOptions(timeout=BUILD_SECONDS)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mojoaccel-doctor-") as folder:
        library = build(
            source, facts.target, options, compiler=facts.compiler, out=Path(folder) / "out"
        )
        built = time.perf_counter() - began
        command = [sys.executable, "-c", CALL, str(library.path)]
        done = run(command, dict(os.environ), timeout=CALL_SECONDS)
    if done.returncode == 0 and done.stdout.strip() == "42":
        return passed(f"a kernel was built in {built:.1f} s and gave the right answer")
    said = (done.stderr or done.stdout).strip().splitlines()[-1:]
    how = "did not end" if done.returncode is None else f"exit status {done.returncode}"
    hint = "compile with --target cpu:<triple>+x86-64-v3 if it was an illegal instruction"
    return failed("a kernel was built, but calling it failed", how, *said, hint=hint)


def formatter(facts: Facts) -> Outcome:
    """Look for the formatter that development uses."""
    found = find_formatter()
    if found is None:
        return skipped("mojo format is not installed; only work on mojoaccel itself needs it")
    return passed("mojo format is installed", str(found))


CHECKS = (
    Check(
        *("build.end-to-end", "building and running", end_to_end),
        needs=("compiler.found", "machine.processor", "folders.temporary"),
    ),
    Check("build.formatter", "formatter", formatter),
)
