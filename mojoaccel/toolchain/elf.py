"""Reads what an ELF64 shared library needs: other libraries, search paths, undefined symbols."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

DT_NEEDED, DT_RPATH, DT_RUNPATH = 1, 15, 29
SHT_DYNAMIC, SHT_DYNSYM = 6, 11


@dataclass(frozen=True, slots=True)
class ElfInfo:
    """What a loader has to provide.

    Attributes:
        machine: ``x86_64`` | ``aarch64`` | the ELF number.
        needed: Libraries named by DT_NEEDED.
        runpath: DT_RPATH and DT_RUNPATH entries.
        undefined: Symbols to be found elsewhere.
        exported: Symbols defined here.
    """

    machine: str
    needed: tuple[str, ...]
    runpath: tuple[str, ...]
    undefined: tuple[str, ...]
    exported: tuple[str, ...]


def _string(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode()


def read_elf(path: Path) -> ElfInfo:
    """Read a library.

    Raises:
        ValueError: The file is not a 64-bit little-endian ELF file, or is cut off.
    """
    data = path.read_bytes()
    try:
        return _read(data)
    except (struct.error, IndexError, UnicodeDecodeError) as e:
        raise ValueError(f"{path} is damaged: {e}") from e
    except ValueError as e:
        raise ValueError(f"{path}: {e}") from e


def _read(data: bytes) -> ElfInfo:
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    machine = struct.unpack_from("<H", data, 18)[0]
    (section_start,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [
        struct.unpack_from("<IIQQQQIIQQ", data, section_start + i * size) for i in range(count)
    ]
    needed: list[str] = []
    paths: list[str] = []
    undefined: list[str] = []
    exported: list[str] = []
    for _, kind, _, _, offset, length, link, _, _, entry in sections:
        if kind == SHT_DYNAMIC:
            strings = sections[link][4]
            for at in range(offset, offset + length, 16):
                tag, value = struct.unpack_from("<QQ", data, at)
                if tag == DT_NEEDED:
                    needed.append(_string(data, strings + value))
                elif tag in (DT_RPATH, DT_RUNPATH):
                    paths.append(_string(data, strings + value))
        elif kind == SHT_DYNSYM:
            strings = sections[link][4]
            for at in range(offset + entry, offset + length, entry):
                name, _, _, where = struct.unpack_from("<IBBH", data, at)
                (undefined if where == 0 else exported).append(_string(data, strings + name))
    names = {62: "x86_64", 183: "aarch64"}
    return ElfInfo(
        names.get(machine, str(machine)),
        tuple(needed),
        tuple(paths),
        tuple(sorted(undefined)),
        tuple(sorted(exported)),
    )
