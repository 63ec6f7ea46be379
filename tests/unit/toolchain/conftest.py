"""Compilers that are shell scripts, and a module to give them."""

import pytest

from mojoaccel.errors import SourceLoc
from mojoaccel.products import MojoSource
from mojoaccel.toolchain.mojo import MojoCompiler

MODULE = """# examples/net.py:7
@export
def maccel_probe(x: Int) abi("C") -> Int:
    return x + 1
"""


@pytest.fixture
def script(tmp_path):
    """Return a function that writes an executable shell script."""

    def write(name, body):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def scripted(script):
    """Return a function that makes a compiler of two scripts."""

    def make(mojo, lld="touch model.so"):
        return MojoCompiler(script("mojo", mojo), script("lld", lld), None, "1.2.0", "0", "option")

    return make


@pytest.fixture
def source():
    """Return a function that makes a module; line 1 on comes from net.py:7, line 4 on from :9."""

    def make(text=MODULE):
        lines = ((1, SourceLoc("net.py", 7, "Net.forward")), (4, SourceLoc("net.py", 9)))
        return MojoSource((("model.mojo", text),), lines, ("maccel_probe",), "c0de" * 16)

    return make


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """Keep failures of these tests out of the user's cache."""
    monkeypatch.setenv("MOJOACCEL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("MOJOACCEL_MOJO", raising=False)
    return tmp_path / "cache"
