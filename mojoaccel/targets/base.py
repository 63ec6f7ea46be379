"""Target strings: ``cpu``, ``cpu:<triple>+<cpu>[+feature|-feature]...``, ``reference``, ``null``.

``cpu:aarch64-linux-gnu+neoverse-n1`` and the string a `Target` prints both read back.
"""

from __future__ import annotations

import re

from mojoaccel.errors import error
from mojoaccel.products import Target
from mojoaccel.targets.features import CPU_MODELS, feature_table, simd_bytes

ARCHITECTURES = ("x86_64", "aarch64")
BASELINE = {"x86_64": "x86-64-v3", "aarch64": "neoverse-n1"}
_MODEL = re.compile(r"\+([a-z][a-z0-9]*(?:-64-v[234]|-server|-avx512|-[nv][12])?)")


def normal_triple(text: str) -> str:
    """Return a triple in LLVM's four-part form.

    Raises:
        MojoaccelError: MA104, the architecture or system is not one we build for.
    """
    parts = text.split("-")
    arch = {"amd64": "x86_64", "arm64": "aarch64"}.get(parts[0], parts[0])
    if arch not in ARCHITECTURES or "linux" not in parts:
        raise error("MA104", f"no code can be built for {text}")
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
        raise error("MA104", f"{text!r} is not a target")
    body = text.removeprefix("cpu:")
    name, plus, rest = body.partition("+")
    triple = normal_triple(name)
    arch = triple.split("-")[0]
    model, tail = BASELINE[arch], ""
    if plus:
        match = _MODEL.match("+" + rest)
        if match is None:
            raise error("MA104", f"{text!r} has no processor name after the triple")
        model, tail = match[1], ("+" + rest)[match.end() :]
    return make_target(text, triple, model, tail)


def make_target(text: str, triple: str, model: str, tail: str) -> Target:
    """Build a target from a CPU model and a string of +/- features."""
    arch = triple.split("-", maxsplit=1)[0]
    table = feature_table(arch)
    if model not in CPU_MODELS:
        known = ", ".join(sorted(CPU_MODELS))
        raise error("MA104", f"{model!r} is not a known processor", notes=[f"known: {known}"])
    flags = set(CPU_MODELS[model])
    by_llvm = {llvm: flag for flag, llvm in table.items()}
    features: list[str] = []
    for sign, llvm in re.findall(r"([+-])([a-z][\w.]*(?:-(?:tile|bf16|int8))?)", tail):
        if llvm not in by_llvm:
            raise error("MA104", f"{llvm!r} is not a known feature of {arch}", notes=[text])
        features.append(sign + llvm)
        (flags.add if sign == "+" else flags.discard)(by_llvm[llvm])
    frozen = frozenset(flags)
    return Target(
        "cpu",
        triple,
        model,
        tuple(features),
        tuple(f for f in table if f in frozen),
        simd_bytes(arch, frozen),
    )
