"""One small model and one wide one, compiled once by the real pipeline."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture(scope="session")
def compile_to(shared_cache, command_line):
    """A function that compiles a model into a place with further options."""
    cache = {"MOJOACCEL_CACHE_DIR": str(shared_cache)}

    def compile_model(place, model, *options):
        done = command_line("compile", model, "-o", place, *options, env=cache)
        assert done.returncode == 0, done.stderr
        return place

    return compile_model


@pytest.fixture(scope="session")
def small(tmp_path_factory, compile_to):
    """The artifact of `counting_model.Net`."""
    return compile_to(
        tmp_path_factory.mktemp("small") / "net.maccel", f"{HERE / 'counting_model.py'}:factory"
    )


@pytest.fixture(scope="session")
def wide(tmp_path_factory, compile_to):
    """The artifact of `counting_model.Wide`."""
    return compile_to(
        tmp_path_factory.mktemp("wide") / "wide.maccel", f"{HERE / 'counting_model.py'}:wide"
    )


@pytest.fixture(scope="session")
def mlp(tmp_path_factory, compile_to):
    """The artifact of examples/mlp.py."""
    return compile_to(tmp_path_factory.mktemp("mlp") / "mlp.maccel", ROOT / "examples" / "mlp.py")


@pytest.fixture
def copied(small, tmp_path):
    """A copy of the small artifact to damage."""
    return Path(shutil.copytree(small, tmp_path / "net.maccel"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Keep unpacked archives and remembered hashes out of the user's cache."""
    monkeypatch.setenv("MOJOACCEL_CACHE_DIR", str(tmp_path / "cache"))
