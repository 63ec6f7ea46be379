"""Target strings: ``cpu``, ``cpu:<triple>+<cpu>[+feature|-feature]...``, ``reference``, ``null``.

``cpu:aarch64-linux-gnu+neoverse-n1`` and the string a `Target` prints both read back. Features
have LLVM's names (``avx512bf16``) or those of /proc/cpuinfo (``avx512_bf16``).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from mojoaccel.errors import MojoaccelError, error
from mojoaccel.products import Target
from mojoaccel.targets.features import (
    CPU_MODELS,
    consistent,
    feature_table,
    simd_bytes,
    with_prerequisites,
)

BASELINE = {"x86_64": "x86-64-v3", "aarch64": "neoverse-n1"}
"""CPU to compile for when a target string names only the triple."""


def normal_triple(text: str) -> str:
    """Return a triple in LLVM's four-part form.

    Raises:
        MojoaccelError: MA104, the architecture or system is not one we build for.
    """
    parts = text.split("-")
    arch = {"amd64": "x86_64", "arm64": "aarch64"}.get(parts[0], parts[0])
    if arch not in BASELINE or "linux" not in parts or parts[-1] not in ("linux", "gnu"):
        notes = ["code can be built for x86_64-linux-gnu and aarch64-linux-gnu"]
        raise error("MA104", f"no code can be built for {text!r}", notes=notes)
    return f"{arch}-unknown-linux-gnu"


def read_target(text: str) -> Target:
    """Read a target string other than plain ``cpu``.

    Raises:
        MojoaccelError: MA104, the string is not a target.
    """
    if text in ("reference", "null"):
        # The IR is interpreted or only planned; a common register width keeps plans comparable.
        return Target(text, triple="x86_64-unknown-linux-gnu", cpu="x86-64-v3", simd_bytes=32)
    if not text.startswith("cpu:"):
        raise _unknown("target", text, ("cpu", "reference", "null"))
    name, plus, rest = text.removeprefix("cpu:").partition("+")
    triple = normal_triple(name)
    arch = triple.split("-")[0]
    if not plus:
        return make_target(triple, BASELINE[arch], CPU_MODELS[arch][BASELINE[arch]])
    model, rest = _take(rest, "processor", CPU_MODELS[arch])
    flags = set(CPU_MODELS[arch][model])
    table = feature_table(arch)
    by_name = {llvm: flag for flag, llvm in table.items()} | {flag: flag for flag in table}
    while rest:
        sign, rest = rest[0], rest[1:]
        feature, rest = _take(rest, f"feature of {arch}", by_name)
        if sign == "+":
            flags |= with_prerequisites(by_name[feature])
        else:
            flags.discard(by_name[feature])
            flags &= consistent(flags)
    return make_target(triple, model, flags)


def make_target(triple: str, model: str, flags: Iterable[str]) -> Target:
    """Build a target from a CPU model and the flags that code for it may use.

    What the flags add to or take from the model becomes explicit features, in the table's order.
    """
    arch = triple.split("-", maxsplit=1)[0]
    table = feature_table(arch)
    usable = consistent(f for f in flags if f in table)
    implied = frozenset(CPU_MODELS[arch][model])
    return Target(
        "cpu",
        triple,
        model,
        tuple(("+" if f in usable else "-") + table[f] for f in table if f in usable ^ implied),
        tuple(f for f in table if f in usable),
        simd_bytes(arch, usable),
    )


def _take(text: str, what: str, known: Iterable[str]) -> tuple[str, str]:
    """Split a known name off `text`; names contain ``-``, so the longest one that ends there."""
    fitting = [k for k in known if text.startswith(k) and text[len(k) :][:1] in ("", "+", "-")]
    if not fitting:
        raise _unknown(what, text.split("+", maxsplit=1)[0], known)
    name = max(fitting, key=len)
    return name, text[len(name) :]


def _unknown(what: str, text: str, known: Iterable[str]) -> MojoaccelError:
    names = sorted(known)
    near = difflib.get_close_matches(text, names, 1)
    notes = [f"did you mean {near[0]}?"] if near else [f"known: {', '.join(names)}"]
    return error("MA104", f"{text!r} is not a known {what}", notes=notes)
