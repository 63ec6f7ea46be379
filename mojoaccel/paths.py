"""Folders of the user and of the package; the only module that knows where things lie."""

from __future__ import annotations

from pathlib import Path

from mojoaccel.environment import environment


def _home() -> Path:
    return Path(environment("HOME") or Path.home())


def cache_root() -> Path:
    """Return the cache folder.

    ``MOJOACCEL_CACHE_DIR``, else `user_cache_file` names it, else the XDG one, else ``~/.cache``.
    """
    chosen = environment("MOJOACCEL_CACHE_DIR") or _user_cache()
    if chosen:
        return Path(chosen).expanduser().absolute()
    xdg = environment("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else _home() / ".cache") / "mojoaccel"


def user_config_file() -> Path:
    """Return the user's configuration file (which need not exist)."""
    xdg = environment("XDG_CONFIG_HOME")
    return (Path(xdg) if xdg else _home() / ".config") / "mojoaccel.toml"


def user_cache_file() -> Path:
    """Return the file that may hold the path of the cache, one line (`doctor --fix` writes it).

    Not in the configuration file: the runtime looks here too, and reads no TOML.
    """
    return user_config_file().with_name("mojoaccel-cache-dir")


def _user_cache() -> str:
    try:
        return user_cache_file().read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def set_user_cache(folder: Path) -> None:
    """Make `folder` the user's cache.

    Raises:
        OSError: The folder or the file that names it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = user_cache_file()
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"{folder}\n", encoding="utf-8")


def kernel_library() -> Path:
    """Return the folder that holds the Mojo package ``maccel`` (for ``mojo build -I``)."""
    return Path(__file__).resolve().parent / "kernels"
