"""Tells Modular's `mojo` from other programs of that name, from the file, without running it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ELF = b"\x7fELF"
MACHO = (b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")


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
    npm's `mojo-cli` another: none of them compiles Mojo.
    """
    real = Path(os.path.realpath(path))
    if "/snap/" in f"{path} {real}" or real.name == "snap":
        return Identity("snap", f"{path} is the Ubuntu snap `mojo` (Juju delivery), not Modular's")
    if "node_modules" in real.parts:
        return Identity("npm", f"{path} is npm's mojo-cli, not Modular's")
    try:
        with real.open("rb") as file:
            head = file.read(4096)
    except OSError as e:
        link = f" (a link to {real})" if real != path.absolute() else ""
        return Identity("broken", f"{path}{link} cannot be read: {e.strerror}")
    if head.startswith(b"#!"):
        return _script(path, head)
    if head.startswith((ELF, *MACHO)) and has_library(real):
        return Identity("modular", f"{path} is Modular's compiler")
    return Identity(
        "unknown", f"{path} has no Mojo library beside it; it is not Modular's compiler"
    )


def has_library(program: Path) -> bool:
    """Say whether the standard library lies where Modular's compiler has it."""
    root = program.parent.parent
    return program.parent.name == "bin" and (root / "lib" / "mojo" / "std.mojoc").is_file()


def _script(path: Path, head: bytes) -> Identity:
    first = head.split(b"\n", 1)[0]
    if b"perl" in first:
        return Identity("mojolicious", f"{path} is Perl's Mojolicious, not Modular's")
    if b"node" in first:
        return Identity("npm", f"{path} is a Node.js program, not Modular's")
    if b"mojo._entrypoints" in head:
        return Identity("modular", f"{path} starts Modular's compiler")
    return Identity("unknown", f"{path} is a script that is not Modular's")
