"""Tells Modular's `mojo` from other programs of that name, from the file, without running it."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

ELF = b"\x7fELF"
MACHO = (b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
LIBRARIES = ("std.mojoc", "std.mojopkg", "stdlib.mojopkg")
"""The standard library beside the compiler: since 1.0, and as earlier releases had it."""

SNAP = ("/snap/bin/", "/snap/mojo/")
NODE = ("node", "nodejs", "bun", "deno")
LINKS_FOLLOWED = 3


@dataclass(frozen=True, slots=True)
class Identity:
    """What a file called ``mojo`` is.

    Attributes:
        kind: ``modular`` | ``snap`` | ``mojolicious`` | ``npm`` | ``broken`` | ``unknown``.
        explanation: One sentence for people.
    """

    kind: str
    explanation: str


def identify(path: Path) -> Identity:
    """Identify a program from its path and first bytes.

    The Ubuntu snap `mojo` delivers Juju charms, Perl's Mojolicious installs a `mojo` script, and
    npm's `mojo-cli` another: none of them compiles Mojo. What is Modular's is so wherever it lies.
    """
    real = behind(path)
    try:
        if not stat.S_ISREG(real.stat().st_mode):  # opening a pipe would wait for its other end
            return _placed(path, real) or Identity("broken", f"{path} is not a file")
        with real.open("rb") as file:
            head = file.read(4096)
    except OSError as e:
        link = f" (a link to {real})" if real != path.absolute() else ""
        broken = Identity("broken", f"{path}{link} cannot be read: {e.strerror}")
        return _placed(path, real) or broken
    if head.startswith(b"#!"):
        if b"mojo._entrypoints" in head:
            return Identity("modular", f"{path} starts Modular's compiler")
        return _placed(path, real) or _script(path, head)
    if head.startswith((ELF, *MACHO)) and has_library(real):
        return Identity("modular", f"{path} is Modular's compiler")
    unknown = f"{path} has no Mojo library beside it; it is not Modular's compiler"
    return _placed(path, real) or Identity("unknown", unknown)


def behind(path: Path) -> Path:
    """Return the program that a path leads to: through links, and through pixi's launcher.

    `pixi global install` puts a launcher into ~/.pixi/bin; what it starts stands in a file.
    """
    for _ in range(LINKS_FOLLOWED):
        settings = path.parent / "trampoline_configuration" / f"{path.name}.json"
        try:
            wanted = Path(json.loads(settings.read_text(encoding="utf-8"))["exe"])
        except (OSError, ValueError, KeyError, TypeError):
            break
        if wanted == path:
            break
        path = wanted
    return Path(os.path.realpath(path))


def has_library(program: Path) -> bool:
    """Say whether the standard library lies where Modular's compiler has it."""
    library = program.parent.parent / "lib" / "mojo"
    return program.parent.name == "bin" and any(os.path.isfile(library / n) for n in LIBRARIES)


def _placed(path: Path, real: Path) -> Identity | None:
    """Identify a program from where it lies."""
    if any(mark in f"{path} {real}" for mark in SNAP) or real.name == "snap":
        return Identity("snap", f"{path} is the Ubuntu snap `mojo` (Juju delivery), not Modular's")
    if "node_modules" in real.parts:
        return Identity("npm", f"{path} is npm's mojo-cli, not Modular's")
    return None


def _script(path: Path, head: bytes) -> Identity:
    interpreter = _interpreter(head)
    if interpreter.startswith("perl"):
        return Identity("mojolicious", f"{path} is Perl's Mojolicious, not Modular's")
    if interpreter in NODE:
        return Identity("npm", f"{path} is a Node.js program, not Modular's")
    return Identity("unknown", f"{path} is a script that is not Modular's")


def _interpreter(head: bytes) -> str:
    """Return the name of the program that a script's first line asks for."""
    words = head.split(b"\n", 1)[0][2:].decode(errors="replace").split()
    if words and Path(words[0]).name == "env":
        words = [w for w in words[1:] if not w.startswith("-") and "=" not in w]
    return Path(words[0]).name if words else ""
