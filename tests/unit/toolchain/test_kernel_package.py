"""The kernel library compiles as a whole: also what no model of the tests happens to use."""

import pytest

from mojoaccel.paths import kernel_library
from mojoaccel.toolchain.mojo import find_compiler, run


@pytest.mark.mojo
def test_kernel_library_compiles(tmp_path):
    compiler = find_compiler()
    command = [str(compiler.path), "precompile", "maccel", "-o", str(tmp_path / "maccel.mojoc")]
    done = run(command, compiler.environment(), timeout=120, cwd=kernel_library())
    assert done.returncode == 0, done.stderr
