"""Private copies of artifacts: made, dropped, and removed after a server that was killed."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest

from mojoaccel.errors import MojoaccelError
from mojoaccel.serve.copies import Copies, remove_abandoned

KILLED = """
import sys, time
from pathlib import Path
from mojoaccel.serve.copies import Copies
copies = Copies()
print(copies.add(Path(sys.argv[1])).parent, flush=True)
time.sleep(60)
"""


@pytest.fixture
def artifact(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    folder = tmp_path / "a.maccel"
    (folder / "mojo").mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    return folder


def kept(artifact):
    return sorted(artifact.parent.glob("mojoaccel-serve-*"))


def test_nothing_is_made_before_the_first_copy_or_left_behind(artifact):
    copies = Copies()
    assert not kept(artifact)
    first, second = copies.add(artifact), copies.add(artifact)
    assert (first / "manifest.json").read_text() == "{}" and not (first / "mojo").exists()
    copies.drop(artifact)
    copies.drop(first)
    assert artifact.exists() and not first.exists() and second.exists()
    with pytest.raises(MojoaccelError):
        copies.add(artifact / "none")
    copies.close()
    assert not kept(artifact)


def test_those_of_a_killed_server_go_and_those_of_a_running_one_stay(artifact):
    line = [sys.executable, "-c", KILLED, artifact]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        folder = process.stdout.readline().strip()
        os.utime(folder, (0, 0))
        remove_abandoned()
        assert [str(p) for p in kept(artifact)] == [folder]
        process.send_signal(signal.SIGKILL)
    remove_abandoned()
    assert not kept(artifact)
