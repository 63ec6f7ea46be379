"""Options and fixtures that all tests share."""

import os
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="Write the golden files anew.")


@pytest.fixture(scope="session", autouse=True)
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep the tests out of the user's cache; what needs the compiler shares this one."""
    chosen = os.environ.get("MOJOACCEL_TEST_CACHE")
    if chosen:
        folder = Path(chosen)
    elif os.environ.get("PYTEST_XDIST_WORKER"):  # the workers of one run share it
        folder = tmp_path_factory.getbasetemp().parent / "cache"
        folder.mkdir(exist_ok=True)
    else:
        folder = tmp_path_factory.mktemp("cache")
    os.environ["MOJOACCEL_CACHE_DIR"] = str(folder)
    return folder
