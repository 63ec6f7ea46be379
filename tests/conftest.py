"""Options and fixtures that all tests share."""

import contextlib
import gc
import io
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest


class Done(NamedTuple):
    """What a command left: its exit code and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="Write the golden files anew.")


def pytest_collection_finish() -> None:
    """Leave the million objects that importing torch makes out of every later collection."""
    gc.collect()
    gc.freeze()


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


@pytest.fixture(scope="session")
def command_line() -> Callable[..., Done]:
    """Run a command as `mojoaccel` would, in this process, which has imported torch already.

    `env` adds variables, `only` is all of them; `folder` is the working directory.
    """

    def call(
        *args: object,
        env: Mapping[str, str] | None = None,
        only: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> Done:
        from mojoaccel.cli import main

        out, err = io.StringIO(), io.StringIO()
        terminate = signal.getsignal(signal.SIGTERM)
        log = logging.getLogger("mojoaccel")
        noted = log.level, list(log.handlers)
        with pytest.MonkeyPatch.context() as patch, open(os.devnull) as nothing:
            patch.setattr(sys, "argv", ["mojoaccel", *map(str, args)])
            patch.setattr(sys, "stdin", nothing)
            patch.setattr(tempfile, "tempdir", None)  # else TMPDIR is not looked at again
            for name in () if only is None else os.environ.keys() - only.keys():
                patch.delenv(name)
            for name, value in {**(only or {}), **(env or {})}.items():
                patch.setenv(name, value)
            if folder:
                patch.chdir(folder)
            try:
                with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                    main()
            except SystemExit as e:
                code = e.code
            finally:
                signal.signal(signal.SIGTERM, terminate)
                log.level, log.handlers = noted  # what --verbose did
        assert isinstance(code, int)
        return Done(code, out.getvalue(), err.getvalue())

    return call
