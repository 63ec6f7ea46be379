"""Checks that really build: a two-line kernel is compiled, linked, loaded and called."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from mojoaccel.artifact.host import usable_flags
from mojoaccel.config import BuildOptions
from mojoaccel.doctor.check import Check, Facts, Outcome, failed, passed, said
from mojoaccel.products import MojoSource, digest_bytes
from mojoaccel.toolchain.build import build
from mojoaccel.toolchain.mojo import run

KERNEL = """@export
def doctor_add(x: Int) abi("C") -> Int:
    return x + 1
"""
CALL = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).doctor_add(41))"
BUILD_SECONDS = 15.0
CALL_SECONDS = 5.0


def end_to_end(facts: Facts) -> Outcome:
    """Compile, link, load and call; the call is in a process of its own, for it may crash."""
    source = MojoSource((("model.mojo", KERNEL),), (), ("doctor_add",), digest_bytes(KERNEL))
    options = BuildOptions(timeout=min(BUILD_SECONDS, max(1.0, facts.seconds_left() - 1.5)))
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
    how = "did not end" if done.returncode is None else f"exit status {done.returncode}"
    illegal = done.returncode == -signal.SIGILL
    return failed(
        "a kernel was built, but calling it failed" + (": illegal instruction" if illegal else ""),
        how,
        said(done),
        expected="42",
        hint="the processor lacks what it was compiled for" if illegal else "",
        fix="mojoaccel compile --target cpu:x86_64-linux-gnu+x86-64-v3 MODEL",
        reference="modular/modular#6823" if illegal else "",
    )


def processor(facts: Facts) -> Outcome:
    """Compare this machine with what artifacts compiled here will ask for."""
    target = facts.target
    missing = [f for f in target.required_features if f not in usable_flags()]
    if missing:
        return failed(
            f"artifacts compiled here would not load here: {', '.join(missing)} missing",
            expected="every feature of the target",
            fix="mojoaccel compile --target cpu:x86_64-linux-gnu+x86-64-v3 MODEL",
            reference="MA701",
        )
    return passed(f"artifacts for {target.cpu} load here")


CHECKS = (
    Check("runtime.processor", "artifacts' processor", processor, ("system.processor",)),
    Check(
        *("runtime.end-to-end", "building and running", end_to_end),
        needs=("mojo.found", "system.processor", "cache.temporary"),
        seconds=BUILD_SECONDS + CALL_SECONDS,
    ),
)
