import os
import zipfile

import pytest

from mojoaccel.artifact import archive as archives
from mojoaccel.artifact.archive import open_folder, write_archive
from mojoaccel.errors import MojoaccelError


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "model.maccel"
    (place / "lib").mkdir(parents=True)
    (place / "manifest.json").write_text("{}")
    (place / "lib" / "model.so").write_bytes(bytes(range(256)))
    return place


@pytest.fixture(params=[100, 1 << 20], ids=["large files", "small files"])
def chunk(request, monkeypatch):
    monkeypatch.setattr(archives, "CHUNK", request.param)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "unpacked"


def refused(path, cache):
    with pytest.raises(MojoaccelError) as caught:
        open_folder(path, cache)
    return caught.value.code, caught.value.diagnostics[0].message


def test_an_archive_unpacks_to_the_same_files_once(folder, cache, tmp_path, chunk):
    archive = tmp_path / "model.zip"
    write_archive(folder, archive)
    unpacked = open_folder(archive, cache)
    assert (unpacked / "lib" / "model.so").read_bytes() == bytes(range(256))
    assert sorted(p.name for p in unpacked.rglob("*")) == ["lib", "manifest.json", "model.so"]
    before = unpacked.stat().st_mtime_ns
    assert open_folder(archive, cache) == unpacked
    assert unpacked.stat().st_mtime_ns == before
    assert open_folder(folder, cache) == folder


def test_a_changed_archive_is_unpacked_anew(folder, cache, tmp_path):
    archive = tmp_path / "model.zip"
    write_archive(folder, archive)
    first = open_folder(archive, cache)
    (folder / "manifest.json").write_text("[]")
    write_archive(folder, archive)
    second = open_folder(archive, cache)
    assert second != first
    assert (second / "manifest.json").read_text() == "[]"


def test_archives_hold_neither_times_nor_compression(folder, tmp_path):
    first, second = tmp_path / "1.zip", tmp_path / "2.zip"
    write_archive(folder, first)
    os.utime(folder / "manifest.json", (1, 1))
    (folder / "lib" / "model.so").chmod(0o600)
    write_archive(folder, second)
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        assert archive.namelist() == ["lib/model.so", "manifest.json"]
        assert {i.compress_type for i in archive.infolist()} == {zipfile.ZIP_STORED}


@pytest.mark.parametrize("name", ["../evil", "/evil", "lib/../../evil"])
def test_entries_outside_the_artifact_are_refused(cache, tmp_path, name):
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, "x")
    message = f"model.zip has an entry outside the artifact: {name}"
    assert refused(path, cache) == ("MA601", message)
    assert os.listdir(cache) == []
    assert not (tmp_path / "evil").exists()


def test_a_damaged_archive_leaves_nothing(folder, cache, tmp_path, chunk):
    path = tmp_path / "model.zip"
    write_archive(folder, path)
    data = bytearray(path.read_bytes())
    data[data.index(bytes(range(256))) + 9] ^= 1
    path.write_bytes(data)
    code, message = refused(path, cache)
    assert (code, message.partition(":")[0]) == ("MA601", "model.zip is damaged")
    assert os.listdir(cache) == []


def test_a_cache_that_cannot_be_written_is_named(folder, tmp_path):
    path = tmp_path / "model.zip"
    write_archive(folder, path)
    code, message = refused(path, path / "below")
    assert (code, message) == ("MA603", "model.zip cannot be unpacked: Not a directory")
