"""The cache keeps whole entries or none, whatever happens to the processes that use it."""

import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from mojoaccel.cache import KEY_FILE, Cache, key_digest

WRITER = """
import sys
from pathlib import Path
from mojoaccel.cache import Cache

root, start, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
cache = Cache(root, 10**9, lambda d: sys.exit(f"warned: {d.message} {d.notes}"))

def write(folder):
    for part in range(4):
        (folder / f"part{part}.bin").write_bytes(bytes([part]) * 300_000)

for n in range(start, start + count):
    key = {"n": n}
    if cache.find("trace", 1, key) is None:
        assert cache.publish("trace", 1, key, write) is not None
    assert cache.find("trace", 1, key) is not None
"""


def make(root: Path, limit: int = 10**9) -> tuple[Cache, list]:
    warnings: list = []
    return Cache(root, limit, warnings.append), warnings


def text(content: str):
    return lambda folder: (folder / "product.txt").write_text(content) and None


def start_writer(root: Path, start: int, count: int) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(root), str(start), str(count)])


def test_publish_then_find(tmp_path):
    cache, warnings = make(tmp_path / "c")
    key = {"options": {"optimization": 2}, "input": "ab"}
    assert cache.find("build", 1, key) is None
    folder = cache.publish("build", 1, key, text("hello"), label="m")
    assert folder == tmp_path / "c" / "build-v1" / key_digest(key)
    assert cache.find("build", 1, key) == folder
    assert (folder / "product.txt").read_text() == "hello"
    assert json.loads((folder / KEY_FILE).read_text())["key"] == key
    assert cache.find("build", 2, key) is None, "another format version is another bucket"
    assert not warnings


@pytest.mark.parametrize("damage", ["truncate", "remove", "flip", "key", "not json"])
def test_damaged_entry_is_a_miss_with_a_warning(tmp_path, damage):
    cache, warnings = make(tmp_path)
    folder = cache.publish("emit", 1, {"k": 1}, text("hello"))
    product, record = folder / "product.txt", folder / KEY_FILE
    if damage == "truncate":
        product.write_text("hel")
    elif damage == "remove":
        product.unlink()
    elif damage == "flip":
        product.write_text("hellO")
    elif damage == "key":
        record.write_text(record.read_text().replace('"k": 1', '"k": 2'))
    else:
        record.write_text("")
    assert cache.find("emit", 1, {"k": 1}) is None
    assert [w.code for w in warnings] == ["MA902"]
    assert "emit product" in warnings[0].message
    assert cache.publish("emit", 1, {"k": 1}, text("again")) is not None
    assert (cache.find("emit", 1, {"k": 1}) / "product.txt").read_text() == "again"


def test_failed_write_leaves_nothing(tmp_path):
    cache, _ = make(tmp_path)

    def write(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise RuntimeError("the stage's own defect")

    with pytest.raises(RuntimeError):
        cache.publish("build", 1, {"k": 1}, write)
    assert list((tmp_path / "build-v1").iterdir()) == []


def test_full_disk_is_a_warning(tmp_path):
    cache, warnings = make(tmp_path)

    def write(folder: Path) -> None:
        (folder / "big").symlink_to("/dev/full")
        (folder / "big").write_bytes(b"x")

    assert cache.publish("build", 1, {"k": 1}, write) is None
    assert cache.publish("build", 1, {"k": 2}, write) is None
    assert [w.code for w in warnings] == ["MA902"], "said once"
    assert "No space left on device" in warnings[0].message
    assert list((tmp_path / "build-v1").iterdir()) == []


def test_unusable_folder_is_a_warning(tmp_path):
    (tmp_path / "file").write_text("")
    cache, warnings = make(tmp_path / "file" / "cache")
    assert cache.find("build", 1, {"k": 1}) is None
    assert cache.publish("build", 1, {"k": 1}, text("x")) is None
    assert [w.code for w in warnings] == ["MA902"]


def use_read_only(root: str, queue) -> None:
    if os.geteuid() == 0:
        os.setuid(65534)  # permissions do not bind root
    cache, warnings = make(Path(root))
    found = cache.find("build", 1, {"k": 1})
    kept = cache.publish("build", 1, {"k": 2}, text("x"))
    queue.put((found is not None, kept is None, [w.code for w in warnings]))


def test_read_only_cache_still_serves():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        cache, _ = make(root)
        cache.publish("build", 1, {"k": 1}, text("hello"))
        for path in sorted(root.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        root.chmod(0o555)
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        child = context.Process(target=use_read_only, args=(folder, queue))
        child.start()
        child.join(20)
        assert queue.get() == (True, True, ["MA902"])
        for path in (root, *root.rglob("*")):
            path.chmod(0o755)


def test_killed_at_random_points_leaves_no_broken_entry(tmp_path):
    chance = random.Random(7)
    cache, warnings = make(tmp_path)
    for turn in range(10):
        child = start_writer(tmp_path, turn * 1000, 1000)
        deadline = time.monotonic() + 20
        while not (tmp_path / "trace-v1").exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.05 + chance.random() * 0.15)
        child.kill()
        child.wait()
    entries = [p for p in (tmp_path / "trace-v1").iterdir() if not p.name.startswith(".")]
    assert len(entries) > 10
    for entry in entries:
        assert cache.find("trace", 1, json.loads((entry / KEY_FILE).read_text())["key"]) == entry
    assert not warnings
    # What the killed processes left behind goes away once it is old.
    for leftover in (tmp_path / "trace-v1").glob(".*"):
        os.utime(leftover, (0, 0))
    cache.prune(10**9)
    assert not list((tmp_path / "trace-v1").glob(".*"))


def test_two_processes_at_once_both_succeed(tmp_path):
    children = [start_writer(tmp_path, 0, 40) for _ in range(2)]
    assert [c.wait(60) for c in children] == [0, 0]
    cache, _ = make(tmp_path)
    assert cache.usage()["trace-v1"].entries == 40


def test_least_recently_used_goes_first(tmp_path):
    cache, _ = make(tmp_path)
    folders = [cache.publish("build", 1, {"k": k}, text("x" * 1000)) for k in range(3)]
    for age, folder in zip((300, 200, 100), folders, strict=True):
        then = time.time() - age
        os.utime(folder / KEY_FILE, (then, then))
    cache.find("build", 1, {"k": 0})  # used now
    size = sum(u.size for u in cache.usage().values())
    freed = cache.prune(size - 1)
    assert freed > 1000
    assert [f.exists() for f in folders] == [True, False, True]
    assert cache.clear() > 0
    assert cache.usage()["build-v1"].entries == 0


def test_publishing_keeps_the_cache_within_its_limit(tmp_path):
    cache, _ = make(tmp_path, limit=3000)
    for k in range(6):
        folder = cache.publish("build", 1, {"k": k}, text("x" * 1000))
        os.utime(folder / KEY_FILE, (1000 + k, 1000 + k))
    cache.publish("build", 1, {"k": 6}, text("x" * 1000))
    assert sum(u.size for u in cache.usage().values()) <= 3000
    assert cache.find("build", 1, {"k": 6}) is not None


def test_explain_names_what_differs_from_the_nearest_entry(tmp_path):
    cache, _ = make(tmp_path)
    assert cache.explain("build", 1, {"a": 1}) == []
    cache.publish("build", 1, {"a": 1, "options": {"level": 2, "mode": "fast"}}, text("x"), "m")
    cache.publish("build", 1, {"a": 9, "options": {"level": 3, "mode": "off"}}, text("x"), "m")
    wanted = {"a": 1, "options": {"level": 3, "mode": "fast"}}
    assert cache.explain("build", 1, wanted, "m") == ["options.level: 2 -> 3"]


def test_clear_leaves_other_folders_alone(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / KEY_FILE).write_text("{}")
    cache, _ = make(tmp_path)
    cache.publish("build", 1, {"k": 1}, text("x"))
    cache.clear()
    assert (tmp_path / "notes" / KEY_FILE).exists()
