"""Builds and runs the kernels' own tests, written in Mojo beside naive loops."""

import subprocess
import sys
from pathlib import Path

import pytest

from mojoaccel.paths import kernel_library
from mojoaccel.targets.probe import detect
from mojoaccel.toolchain.mojo import find_compiler

HERE = Path(__file__).parent / "kernels"


@pytest.mark.mojo
@pytest.mark.parametrize("path", sorted(HERE.glob("test_*.mojo")), ids=lambda p: p.stem)
def test_kernels_in_mojo(path: Path, tmp_path: Path) -> None:
    compiler = find_compiler()
    target = detect()
    program = tmp_path / path.stem
    command = [str(compiler.path), "build", "-O2", "--target-cpu", target.cpu]
    command += ["--target-features", ",".join(target.features)]
    command += ["-I", str(kernel_library()), "-I", str(HERE), "-o", str(program), str(path)]
    env = compiler.environment()
    built = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([program], env=env, capture_output=True, text=True, timeout=300)
    sys.stdout.write(ran.stdout)
    assert ran.returncode == 0, ran.stdout + ran.stderr
