import hashlib
import os
import threading

import numpy as np
import pytest

from mojoaccel.artifact import hashing
from mojoaccel.artifact.hashing import file_digest, remembered_digest


def tree(data, chunk):
    parts = [hashlib.sha256(data[i : i + chunk]).digest() for i in range(0, len(data), chunk)]
    return hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 640, 1000])
def test_digest_is_that_of_the_chunks(tmp_path, monkeypatch, size):
    monkeypatch.setattr(hashing, "CHUNK", 64)
    data = np.random.default_rng(size).bytes(size)
    path = tmp_path / "file"
    path.write_bytes(data)
    assert file_digest(path) == tree(data, 64)


def test_every_byte_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(hashing, "CHUNK", 16)
    path = tmp_path / "file"
    found = set()
    for at in range(50):
        data = bytearray(50)
        data[at] = 1
        path.write_bytes(data)
        found.add(file_digest(path))
    assert len(found) == 50


def test_a_digest_is_computed_once_until_the_file_changes(tmp_path, monkeypatch):
    path, memory = tmp_path / "file", tmp_path / "cache" / "hashes"
    path.write_bytes(b"one")
    computed = []

    def counted(p):
        computed.append(p)
        return file_digest(p)

    monkeypatch.setattr(hashing, "file_digest", counted)
    first = remembered_digest(path, memory)
    assert remembered_digest(path, memory) == first
    assert len(computed) == 1
    stat = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as a copy with -p would
    second = remembered_digest(path, memory)
    assert second != first
    assert len(computed) == 2
    path.replace(tmp_path / "moved")
    (tmp_path / "moved").replace(path)
    assert remembered_digest(path, memory) == second


def test_a_spoilt_memory_is_not_believed(tmp_path):
    path, memory = tmp_path / "file", tmp_path / "hashes"
    path.write_bytes(b"data")
    digest = remembered_digest(path, memory)
    for entry in memory.iterdir():
        entry.write_text("short")
    assert remembered_digest(path, memory) == digest


def test_without_a_place_to_remember_it_is_computed(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"data")
    assert remembered_digest(path, path / "not a folder") == file_digest(path)


def test_threads_may_hash_at_once(tmp_path):
    path, memory = tmp_path / "file", tmp_path / "hashes"
    path.write_bytes(bytes(1 << 16))
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(remembered_digest(path, memory)))
        for _ in range(8)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == [file_digest(path)] * 8
    assert len(list(memory.iterdir())) == 1
