"""Folders of the user and of the package; the only module that knows where things lie."""

from __future__ import annotations

from pathlib import Path

from mojoaccel.config import environment


def _home() -> Path:
    return Path(environment("HOME") or Path.home())


def cache_root() -> Path:
    """Return the cache folder: ``MOJOACCEL_CACHE_DIR``, else the XDG one, else ``~/.cache``."""
    chosen = environment("MOJOACCEL_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    xdg = environment("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else _home() / ".cache") / "mojoaccel"


def user_config_file() -> Path:
    """Return the user's configuration file (which need not exist)."""
    xdg = environment("XDG_CONFIG_HOME")
    return (Path(xdg) if xdg else _home() / ".config") / "mojoaccel.toml"


def kernel_library() -> Path:
    """Return the folder that holds the Mojo package ``maccel`` (for ``mojo build -I``)."""
    return Path(__file__).resolve().parent / "kernels"
