"""One small model and one wide one, compiled once by the real pipeline."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

HERE = Path(__file__).parent


def compile_to(place, factory, *options):
    """Compile a factory of model.py into `place` with the command line, as a user would."""
    command = [sys.executable, "-m", "mojoaccel", "compile", f"{HERE / 'model.py'}:{factory}"]
    env = {**os.environ, "MOJOACCEL_CACHE_DIR": str(place.parent / "cache")}
    done = subprocess.run(
        [*command, "-o", str(place), *options],
        env=env,
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """The artifact of `model.Net`."""
    return compile_to(tmp_path_factory.mktemp("small") / "net.maccel", "factory")


@pytest.fixture(scope="session")
def wide(tmp_path_factory):
    """The artifact of `model.Wide`."""
    return compile_to(tmp_path_factory.mktemp("wide") / "wide.maccel", "wide")


@pytest.fixture
def copied(small, tmp_path):
    """A copy of the small artifact to damage."""
    return Path(shutil.copytree(small, tmp_path / "net.maccel"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Keep unpacked archives and remembered hashes out of the user's cache."""
    monkeypatch.setenv("MOJOACCEL_CACHE_DIR", str(tmp_path / "cache"))
