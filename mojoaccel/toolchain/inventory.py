"""Everything of the toolchain that is installed: which programs, which one is used, and why.

Programs are identified from their files; only Modular's compiler is asked for its version.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

from mojoaccel.errors import MojoaccelError
from mojoaccel.toolchain.identify import Identity, identify
from mojoaccel.toolchain.mojo import (
    SUPPORTED,
    MojoCompiler,
    candidates,
    find_compiler,
    probe_version,
    programs_on_path,
)

ANSWER_SECONDS = 8.0
ASKED_AT_ONCE = 16
PACKAGES = ("mojo", "mojo-compiler", "mojo-compiler-mojo-libs", "max", "max-core", "modular")
PYTHON_PACKAGES = ("numpy", "torch", "transformers", "safetensors", "onnxruntime", "openvino")
ORIGINS = {
    "option": "chosen by option or setting",
    "variable": "chosen by MOJOACCEL_MOJO",
    "environment": "of this Python environment",
    "PATH": "found on PATH",
}
PAIRS = {
    "1.0.0b1": "26.3", "1.0.0b2": "26.4", "1.0.0": "26.5.0", "1.1.0": "26.6.0", "1.2.0": "26.7.0",
}  # fmt: skip
"""Mojo release -> the MAX release that requires exactly it."""


def describe_toolchain(chosen: str | None = None) -> dict[str, Any]:
    """Return the programs and packages that compiling depends on; unknown is None.

    Args:
        chosen: A compiler given by the user.
    """
    compiler, problem = _find(chosen)
    return {
        "mojo": {
            "used": None if compiler is None else _used(compiler),
            "problem": problem,
            "supported": SUPPORTED,
            "programs": mojo_programs(chosen, compiler),
        },
        "max": {"version": _version("max"), "programs": max_programs(), "pairing": pairing()},
        "packages": {name: _version(name) for name in PACKAGES},
        "linker": None if compiler is None else str(compiler.lld),
        "c_compilers": [p for n in ("cc", "gcc", "clang") if (p := shutil.which(n))],
        "libc": " ".join(part for part in platform.libc_ver() if part) or None,
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": sys.executable,
            "virtual_environment": sys.prefix if sys.prefix != sys.base_prefix else None,
            "packages": {name: _version(name) for name in PYTHON_PACKAGES},
        },
    }


def _find(chosen: str | None) -> tuple[MojoCompiler | None, str | None]:
    try:
        return find_compiler(chosen, ANSWER_SECONDS), None
    except MojoaccelError as e:
        return None, f"{e.code} {e.diagnostics[0].message}"


def _used(compiler: MojoCompiler) -> dict[str, Any]:
    return {
        "path": str(compiler.path),
        "version": compiler.version,
        "commit": compiler.commit,
        "reason": ORIGINS[compiler.origin],
        "install_method": install_method(compiler.path),
    }


def mojo_programs(chosen: str | None, used: MojoCompiler | None) -> list[dict[str, Any]]:
    """Return every program called mojo, in the order they are looked at."""
    places: dict[Path, str] = {}
    for path, origin in (*candidates(chosen), *((p, "PATH") for p in programs_on_path("mojo"))):
        places.setdefault(path, origin)
    identities = [identify(path) for path in places]
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:  # one that hangs must not delay the others
        versions = pool.map(_version_of, places, identities)
        return [
            {
                "path": str(path),
                "origin": ORIGINS[origin],
                "kind": identity.kind,
                "explanation": identity.explanation,
                "version": version,
                "commit": commit,
                "install_method": install_method(path),
                "used": used is not None and _same_program(path, used.path),
            }
            for (path, origin), identity, (version, commit) in zip(
                places.items(), identities, versions, strict=True
            )
        ]


def _version_of(path: Path, identity: Identity) -> tuple[str | None, str | None]:
    """Return version and commit; only what the file shows to be Modular's is run."""
    return probe_version(path) if identity.kind == "modular" else (None, None)


def _same_program(path: Path, compiler: Path) -> bool:
    real = Path(os.path.realpath(path))
    wheel = _inside(real.parent.parent, "lib/python3*/*-packages/modular/bin/mojo")
    return compiler in (real, *wheel)


def max_programs() -> list[dict[str, Any]]:
    """Return every program called max, of this environment and on PATH; none is run."""
    own = Path(sys.prefix) / "bin" / "max"
    paths = [*programs_on_path("max"), *([own] if os.path.exists(own) else [])]
    return [
        {"path": str(p), "version": _beside(p, "max"), "install_method": install_method(p)}
        for p in dict.fromkeys(paths)
    ]


def _beside(program: Path, package: str) -> str | None:
    """Return the version of a Python package in the environment that a program belongs to."""
    for path in (program, Path(os.path.realpath(program))):
        for info in _inside(
            path.parent.parent, f"lib/python3*/site-packages/{package}-*.dist-info"
        ):
            return info.name.removeprefix(f"{package}-").removesuffix(".dist-info")
    return None


MARKS = (
    ("/snap/", "snap"),
    ("/node_modules/", "npm"),
    ("/.modular/pkg/", "modular (retired installer)"),
    ("/.magic/", "magic (retired installer)"),
    ("/.pixi/", "pixi"),
)
"""Part of a path -> what puts programs there."""


def install_method(path: Path) -> str | None:
    """Return how a program came here: by its place and, in site-packages, by its metadata."""
    real = Path(os.path.realpath(path))
    text = f"{path} {real}"
    for mark, method in MARKS:
        if mark in text:
            return method
    if any(os.path.isdir(p.parent.parent / "conda-meta") for p in (path, real)):
        return "conda"
    installer = _installer(real)
    if installer is None and str(real).startswith(("/usr/bin/", "/usr/share/", "/bin/")):
        return "system package"
    return installer


def _installer(real: Path) -> str | None:
    """Return what wrote the INSTALLER file of the environment a program belongs to."""
    for parent in real.parents:
        if parent.name in ("site-packages", "dist-packages"):
            roots = [parent]
        else:
            roots = _inside(parent, "lib/python3*/site-packages") if parent.name else []
        for root in roots:
            for file in _inside(root, "mojo*.dist-info/INSTALLER"):
                with contextlib.suppress(OSError):
                    return file.read_text(encoding="utf-8").strip() or None
    return None


def _inside(folder: Path, pattern: str) -> list[Path]:
    """Return what fits in a folder; nothing of one that this user may not look into."""
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def pairing() -> dict[str, Any]:
    """Return whether the installed Modular packages require each other's releases."""
    compiler = _version("mojo-compiler")
    wrong = [
        f"{name} {version} requires mojo-compiler {wanted}"
        for name in PACKAGES
        if (version := _version(name)) and (wanted := required(name)) not in (None, compiler)
    ]
    expected = PAIRS.get(compiler or "")
    return {"max_for_this_mojo": expected, "fits": not wrong if compiler else None, "wrong": wrong}


def required(name: str, package: str = "mojo-compiler") -> str | None:
    """Return the exact version of `package` that a distribution requires, if it names one."""
    for line in metadata.requires(name) or ():
        match = re.match(rf"{re.escape(package)}\s*\(?==\s*([\w.]+)", line)
        if match and "extra ==" not in line:
            return match[1]
    return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
