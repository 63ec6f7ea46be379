"""The compiler's own account of a target."""

import subprocess

import pytest

from mojoaccel.toolchain.mojo import find_compiler


@pytest.fixture(scope="session")
def effective_features():
    """Return a function from a target to the LLVM features the compiler will use for it."""
    compiler = find_compiler()

    def ask(target):
        command = [str(compiler.path), "build", "--print-effective-target"]
        command += ["--target-triple", target.triple, "--target-cpu", target.cpu]
        command += ["--target-features", ",".join(target.features)]
        said = subprocess.run(
            command,
            env=compiler.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        words = said.split("--target-features")[1].split()
        listed = words[0].split(",") if words else []
        return {f[1:] for f in listed if f[0] == "+"} - {f[1:] for f in listed if f[0] == "-"}

    return ask
