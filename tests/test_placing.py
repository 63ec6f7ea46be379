"""Results appear at their place whole or not at all."""

import os
import threading
from pathlib import Path

import pytest

from mojoaccel import placing
from mojoaccel.artifact import copying
from mojoaccel.errors import MojoaccelError
from mojoaccel.placing import place, place_folder, write_text


@pytest.fixture
def made(tmp_path):
    """An artifact to copy."""
    folder = tmp_path / "made"
    (folder / "lib").mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    (folder / "lib" / "model.so").write_text("new")
    return folder


def content(folder):
    return {p.relative_to(folder): p.read_text() for p in folder.rglob("*") if p.is_file()}


def refusal(source, final):
    """Place a folder, or what a function makes; return the message of the error."""
    with pytest.raises(MojoaccelError) as caught:
        if isinstance(source, Path):
            place_folder(source, final)
        else:
            place(final, source)
    assert caught.value.code == "MA603"
    return caught.value.diagnostics[0].message


@pytest.mark.parametrize("swaps", [True, False])
def test_folders_are_placed_and_replaced(made, tmp_path, monkeypatch, swaps):
    if not swaps:
        monkeypatch.setattr(placing, "_exchange", lambda *paths: False)
    final = tmp_path / "out" / "model.maccel"
    place_folder(made, final)
    assert content(final) == content(made)
    (made / "lib" / "model.so").write_text("newer")
    (final / "gone").write_text("old")
    place_folder(made, final)
    assert content(final) == content(made)
    assert os.listdir(final.parent) == ["model.maccel"]


def test_a_folder_replaces_an_archive_and_the_other_way_round(made, tmp_path):
    final, archive = tmp_path / "out" / "model.maccel", tmp_path / "archive"
    archive.write_text("zip")
    for source in (archive, made, archive, archive):
        place_folder(source, final)
        assert final.is_dir() == source.is_dir()
    assert final.read_text() == "zip"
    assert os.listdir(final.parent) == ["model.maccel"]


def test_readers_always_find_a_whole_artifact(made, tmp_path):
    final = tmp_path / "out" / "model.maccel"
    place_folder(made, final)
    if not placing._exchange(made, final) or not placing._exchange(made, final):
        pytest.skip("this file system cannot swap")
    stop, missing = threading.Event(), []

    def read():
        while not stop.is_set():
            if not (final / "lib" / "model.so").exists():
                missing.append(1)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(100):
        place_folder(made, final)
    stop.set()
    reader.join()
    assert not missing


def test_what_is_no_artifact_is_left_alone(made, tmp_path):
    final = tmp_path / "thesis"
    final.mkdir()
    (final / "chapter").write_text("one")
    assert refusal(made, final) == f"{final} exists and is not an artifact; it is left alone"
    assert content(final) == {Path("chapter"): "one"}


@pytest.mark.parametrize("swaps", [True, False])
def test_a_failure_leaves_the_old_artifact(made, tmp_path, monkeypatch, swaps):
    final = tmp_path / "out" / "model.maccel"
    place_folder(made, final)

    def half(new):
        new.mkdir()
        (new / "manifest.json").write_text("{}")
        raise OSError(28, "No space left on device")

    assert refusal(half, final) == f"{final} cannot be written: No space left on device"
    assert content(final) == content(made)
    if not swaps:
        monkeypatch.setattr(placing, "_exchange", lambda *paths: False)
        replace = os.replace

        def fails_for_new(source, target):
            if Path(source).name == "new":
                raise OSError(5, "Input/output error")
            replace(source, target)

        monkeypatch.setattr(os, "replace", fails_for_new)
        assert refusal(made, final) == f"{final} cannot be written: Input/output error"
        assert content(final) == content(made)
    assert os.listdir(final.parent) == ["model.maccel"]


def test_an_interrupt_leaves_nothing(tmp_path):
    def interrupted(new):
        new.mkdir()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place(tmp_path / "out" / "model.maccel", interrupted)
    assert os.listdir(tmp_path / "out") == []


def test_the_reason_is_given_once(made, tmp_path, monkeypatch):
    def full(source, target, **kwargs):
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(copying, "copy_file", full)
    final = tmp_path / "out" / "model.maccel"
    message = refusal(made, final)
    assert message == f"{final} cannot be written: [Errno 28] No space left on device"
    assert os.listdir(final.parent) == []


def test_a_file_in_the_way_is_named(made, tmp_path):
    (tmp_path / "file").write_text("")
    message = refusal(made, tmp_path / "file" / "model.maccel")
    assert message.startswith(f"{tmp_path / 'file' / 'model.maccel'} cannot be written: ")


def test_texts_are_replaced_whole(tmp_path):
    path = tmp_path / "new" / "graph.ir"
    write_text(path, "one")
    write_text(path, "two")
    assert path.read_text() == "two"
    assert os.listdir(path.parent) == ["graph.ir"]
    with pytest.raises(MojoaccelError) as caught:
        write_text(path / "below", "text")
    assert caught.value.code == "MA603"
