import io
import os
import shutil

import pytest

from mojoaccel.artifact import copying
from mojoaccel.artifact.copying import copy_bytes, copy_file, copy_folder

CHUNK = 4096


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(copying, "CHUNK", CHUNK)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_a_copy_is_the_file_with_its_mode_and_times(tmp_path, size):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(size))
    source.chmod(0o640)
    os.utime(source, (1, 2))
    assert copy_file(source, target) == target
    assert target.read_bytes() == source.read_bytes()
    one, other = source.stat(), target.stat()
    assert (one.st_mode, one.st_mtime_ns) == (other.st_mode, other.st_mtime_ns)


class Target(io.RawIOBase):
    """Keeps what is written; takes at most so many bytes at once."""

    def __init__(self, most=1 << 30):
        super().__init__()
        self.most, self.pieces = most, []

    def write(self, data):
        self.pieces.append(bytes(data[: self.most]))
        return len(self.pieces[-1])


def test_pieces_are_as_large_as_pages_want_them():
    target = Target()
    copy_bytes(io.BytesIO(bytes(3 * CHUNK + 5)), target, 3 * CHUNK + 5)
    assert [len(p) for p in target.pieces] == [CHUNK, CHUNK, CHUNK, 5]


@pytest.mark.parametrize("expected", [0, 7, CHUNK, 9 * CHUNK])
def test_nothing_is_lost_where_pieces_are_taken_in_part_or_the_size_was_wrong(expected):
    data = os.urandom(2 * CHUNK + 77)
    target = Target(most=1000)
    copy_bytes(io.BytesIO(data), target, expected)
    assert b"".join(target.pieces) == data


def test_folders_are_copied_into_folders_without_what_is_ignored(tmp_path):
    (tmp_path / "a" / "lib").mkdir(parents=True)
    (tmp_path / "a" / "lib" / "model.so").write_bytes(b"1")
    (tmp_path / "a" / "mojo").mkdir()
    (tmp_path / "b").mkdir()
    copy_folder(tmp_path / "a", tmp_path / "b", shutil.ignore_patterns("mojo"))
    assert sorted(p.name for p in (tmp_path / "b").rglob("*")) == ["lib", "model.so"]
