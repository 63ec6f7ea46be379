"""Builds and runs the kernels' own tests, written in Mojo beside naive loops."""

import subprocess
import sys
from pathlib import Path

import pytest

from mojoaccel.paths import kernel_library
from mojoaccel.targets.probe import detect
from mojoaccel.toolchain.mojo import find_compiler

HERE = Path(__file__).parent / "kernels"


def build(path: Path, product: Path, *options: str) -> dict[str, str]:
    """Compile a Mojo file for this machine; return the environment that its programs need."""
    compiler = find_compiler()
    target = detect()
    command = [str(compiler.path), "build", *options, "--target-cpu", target.cpu]
    command += ["--target-features", ",".join(target.features)]
    command += ["-I", str(kernel_library()), "-I", str(HERE), "-o", str(product), str(path)]
    env = dict(compiler.environment())
    built = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stderr
    return env


@pytest.mark.mojo
@pytest.mark.parametrize("path", sorted(HERE.glob("test_*.mojo")), ids=lambda p: p.stem)
def test_kernels_in_mojo(path: Path, tmp_path: Path) -> None:
    program = tmp_path / path.stem
    env = build(path, program, "-O2")
    ran = subprocess.run([program], env=env, capture_output=True, text=True, timeout=300)
    sys.stdout.write(ran.stdout)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.mojo
@pytest.mark.parametrize("path", sorted(HERE.glob("bench_*.mojo")), ids=lambda p: p.stem)
def test_kernel_benchmarks_compile(path: Path, tmp_path: Path) -> None:
    build(path, tmp_path / "bench.o", "-O1", "--emit", "object")
