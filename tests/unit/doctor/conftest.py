"""A home and a PATH of a test's own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def shell(monkeypatch, tmp_path):
    """An empty home and PATH; the function puts programs on it."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("MODULAR_HOME", "MODULAR_CACHE_DIR", "MODULAR_AUTH", "MOJOACCEL_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    folders: list[Path] = []

    def put(place: str, text: str, name: str = "mojo") -> Path:
        path = tmp_path / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        if path.parent not in folders:
            folders.append(path.parent)
        monkeypatch.setenv("PATH", ":".join([*map(str, folders), "/usr/bin", "/bin"]))
        return path

    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    put.home = home
    return put
