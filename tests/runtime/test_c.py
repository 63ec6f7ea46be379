"""Compiled artifacts in C programs: moved away from the build, and on another processor family."""

import ctypes
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mojoaccel.runtime.session import load
from mojoaccel.runtime.tensors import DTYPE_CODES

pytestmark = pytest.mark.mojo
ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "examples" / "c" / "run_model.c"
ARM_ROOT = Path("/usr/aarch64-linux-gnu")


def build(compiler, artifact, program, *flags):
    """Build the example against an artifact, as the comment at its top says."""
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", *flags]
    places = ["-I", str(artifact / "include"), str(artifact / "lib" / "model.so")]
    command = [compiler, *flags, str(SOURCE), *places, "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


def expected(artifact):
    with load(artifact) as session:
        return session(np.zeros((1, 784), np.float32))[0]


def numbers(text):
    return np.array([float(line) for line in text.splitlines()], np.float32)


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)")
def test_a_moved_artifact_runs_with_libc_alone(mlp, tmp_path):
    moved = Path(shutil.copytree(mlp, tmp_path / "elsewhere" / "mlp.maccel"))
    program = build("cc", moved, tmp_path / "run", f"-Wl,-rpath,{moved / 'lib'}")
    env = {"LD_DEBUG": "files", "LD_DEBUG_OUTPUT": str(tmp_path / "loaded")}
    done = subprocess.run([program, moved], cwd="/", env=env, capture_output=True, text=True)
    assert done.returncode == 0
    np.testing.assert_array_equal(numbers(done.stdout), expected(mlp))
    log = "".join(p.read_text() for p in tmp_path.glob("loaded.*"))
    loaded = {
        Path(name).name for name in re.findall(r"file=(\S+) \[0\];  generating link map", log)
    }
    assert "model.so" in loaded
    assert all(re.match(r"(model|libc|libm|libpthread|ld-linux.*)\.so", n) for n in loaded), loaded


def test_codes_in_the_header_are_those_of_the_runtime():
    text = (ROOT / "mojoaccel" / "artifact" / "include" / "maccel.h").read_text()
    kinds = {"F": "float", "BF": "bfloat", "I": "int", "U": "uint"}
    found = {
        kinds[k] + n: int(c) for k, n, c in re.findall(r"MACCEL_(F|BF|I|U)(\d+) = (\d+)", text)
    }
    found["bool"] = int(re.search(r"MACCEL_BOOL = (\d+)", text)[1])
    assert found == DTYPE_CODES


def test_the_library_tells_the_signature_of_the_manifest(small):
    dll = ctypes.CDLL(str(small / "lib" / "model.so"))
    dll.maccel_signature.restype = ctypes.c_char_p
    manifest = json.loads((small / "manifest.json").read_text())
    expected = {key: manifest[key] for key in ("inputs", "outputs", "dims")}
    assert json.loads(dll.maccel_signature()) == expected


def test_the_library_needs_no_other_and_no_folder(mlp):
    if shutil.which("readelf") is None:
        pytest.skip("there is no readelf")
    command = ["readelf", "-dW", str(mlp / "lib" / "model.so")]
    done = subprocess.run(command, capture_output=True, text=True)
    names = re.findall(r"\((NEEDED|RUNPATH|RPATH)\).*\[(.*)\]", done.stdout)
    assert [n for n in names if not re.match(r"lib(c|m)\.so", n[1])] == []
    assert str(Path.home()) not in done.stdout


@pytest.fixture(scope="module")
def arm(tmp_path_factory, compile_to):
    """The multilayer perceptron, compiled for a 64-bit Arm server."""
    place = tmp_path_factory.mktemp("arm") / "mlp.maccel"
    target = "cpu:aarch64-linux-gnu+neoverse-v1"
    return compile_to(place, ROOT / "examples" / "mlp.py", "--target", target)


def test_the_arm_library_is_for_arm(arm):
    from mojoaccel.toolchain.elf import read_elf

    info = read_elf(arm / "lib" / "model.so")
    assert info.machine == "aarch64"
    assert (info.needed, info.runpath) == ((), ())


def test_the_arm_library_runs_under_emulation(arm, mlp, tmp_path):
    emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    compiler = shutil.which("aarch64-linux-gnu-gcc")
    if not (emulator and compiler and ARM_ROOT.exists()):
        pytest.skip("needs qemu-user, gcc-aarch64-linux-gnu and libc6-arm64-cross")
    program = build(compiler, arm, tmp_path / "run", f"-Wl,-rpath,{arm / 'lib'}")
    command = [emulator, "-L", str(ARM_ROOT), str(program), str(arm)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ})
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(numbers(done.stdout), expected(mlp), rtol=1e-5, atol=1e-6)
