"""The kinds of values that settings have: each reader checks and converts one, or says what it is.

A value comes from a TOML file with a type of its own, or as the text of a variable or an option;
ValueError's text goes on "... is not".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

MOST_THREADS = 1024
"""More threads than that in one session is a slip of the keyboard."""


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a string")
    return value


def _read_int(value: Any) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"\d+", str(value)):
        raise ValueError("a whole number")
    return int(value)


def _read_threads(value: Any) -> int:
    if (count := _read_int(value)) > MOST_THREADS:
        raise ValueError(f"a number of threads up to {MOST_THREADS}")
    return count


def _read_float(value: Any) -> float:
    if isinstance(value, bool) or not re.fullmatch(r"\d+(\.\d+)?", str(value)):
        raise ValueError("a number of at least 0")
    return float(value)


def _read_bool(value: Any) -> bool:
    word = str(value).lower()
    if word not in {"true", "false", "1", "0", "yes", "no", "on", "off"}:
        raise ValueError("true or false")
    return word in {"true", "1", "yes", "on"}


def _read_list(value: Any) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not all(isinstance(i, str) for i in items):
        raise ValueError("a list of strings")
    return tuple(i.strip() for i in items if i.strip())


def _read_level(value: Any) -> int:
    match = re.fullmatch(r"-?O?([0-3])", str(value))
    if match is None or isinstance(value, bool):
        raise ValueError("0, 1, 2 or 3")
    return int(match[1])


def _read_bytes(value: Any) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMGT]?)i?B?", str(value))
    if match is None or isinstance(value, bool):
        raise ValueError("a size such as 500MB or 10GB")
    return int(float(match[1]) * 1000 ** " kMGT".index(match[2] or " "))


READERS: Mapping[str, Callable[[Any], Any]] = {
    "text": _read_text,
    "int": _read_int,
    "threads": _read_threads,
    "float": _read_float,
    "bool": _read_bool,
    "list": _read_list,
    "level": _read_level,
    "bytes": _read_bytes,
}
