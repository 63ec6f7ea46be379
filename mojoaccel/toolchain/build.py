"""Builds emitted Mojo into one shared library that needs nothing but libc.

`mojo build --emit object` compiles, the lld that comes with the compiler links: no C compiler is
needed (the compiler only looks for a `cc` on PATH and never runs it, so a private one satisfies
it), there is no RUNPATH, and another processor's library links the same way.

No DT_NEEDED is written either: whoever loads the library has libc, and a name such as libc.so.6
would tie it to one. Unversioned references bind to glibc's defaults. Functions of pthread are in
libc since glibc 2.34; a C program on an older one has to be linked with -pthread.

The kernel library is given as source. Precompiled (`mojo precompile`) it gives the same bytes and
saves 0.4 of 5.6 s for an MLP and 1.2 of 10.3 s for MiniLM, but costs 4 s on the first compile and
after each change, and notes on its lines lose their source text.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import tempfile
from pathlib import Path

from mojoaccel.config import BuildOptions
from mojoaccel.errors import MojoaccelError, error
from mojoaccel.paths import cache_root, kernel_library
from mojoaccel.products import MojoSource, NativeLibrary, Target, digest_bytes
from mojoaccel.toolchain.diagnostics import build_error
from mojoaccel.toolchain.elf import read_elf
from mojoaccel.toolchain.mojo import Finished, MojoCompiler, run

EMULATION = {"x86_64": "elf_x86_64", "aarch64": "aarch64linux"}
"""lld's names of the output formats."""

ALLOWED_SYMBOLS = frozenset(
    [
        "bcmp",
        "clock_gettime",
        "close",
        "getpid",
        "lseek",
        "madvise",
        "memcmp",
        "memcpy",
        "memmove",
        "memset",
        "mmap",
        "munmap",
        "open",
        "pthread_create",
        "pthread_join",
        "read",
        "sched_getaffinity",
        "sched_yield",
        "syscall",
    ]
)
"""Functions that a library may need. All are libc's: libm is not loaded in every program, and the
kernels bring their own mathematics."""


def compile_command(
    compiler: MojoCompiler, target: Target, options: BuildOptions, emit: str, output: str
) -> list[str]:
    """Return the `mojo build` command line, run in the folder of model.mojo."""
    # At -O0 this compiler leaves calls into its own runtime (AlignedFree), so the library would
    # not run without the SDK; level 0 therefore builds with -O1.
    level = max(1, options.optimization)
    command = [str(compiler.path), "build", "--emit", emit, f"-O{level}"]
    command += ["--target-triple", target.triple, "--target-cpu", target.cpu]
    command += ["--target-features", ",".join(target.features)]
    command += ["--fp-mode", f"contract={options.fp_mode}"]
    # The reason of a failed elaboration is its last note; by default only ten are printed.
    command += ["--diagnostic-format", "json", "--max-notes-per-diagnostic", "1000"]
    if options.jobs:
        command += ["-j", str(options.jobs)]
    if options.profile:
        command += ["-D", "MACCEL_PROFILE=1"]
    return [*command, "-I", str(kernel_library()), "-o", output, "model.mojo"]


def link_command(compiler: MojoCompiler, target: Target) -> list[str]:
    """Return the link command line, run in the folder of model.o."""
    return [
        *(str(compiler.lld), "-flavor", "gnu", "-m", EMULATION[target.arch]),
        *("-shared", "--hash-style=gnu", "--build-id=none", "--strip-all", "-z", "noexecstack"),
        *("-soname", "model.so", "-o", "model.so", "model.o"),
    ]


def build(
    source: MojoSource,
    target: Target,
    options: BuildOptions,
    *,
    compiler: MojoCompiler,
    out: Path,
) -> NativeLibrary:
    """Build a library.

    Args:
        source: What to build.
        target: For which machine.
        options: Options of the stage.
        compiler: The compiler.
        out: Folder that receives ``model.so``; made if it is missing.

    Raises:
        MojoaccelError: MA501 the source is rejected, MA502 the time limit was reached, MA503 the
            link failed, MA504 the library needs more than libc, MA505 the compiler crashed.
    """
    out.mkdir(parents=True, exist_ok=True)
    commands = (
        compile_command(compiler, target, options, "object", "model.o"),
        link_command(compiler, target),
    )
    with tempfile.TemporaryDirectory(prefix="mojoaccel-build-") as name:
        work = Path(name)
        write_source(source, work)
        env = build_environment(compiler, work)
        finished = run(commands[0], env, timeout=options.timeout, cwd=work)
        if finished.returncode != 0:
            raise compile_error(source, finished, options.timeout)
        linked = run(commands[1], env, timeout=120.0, cwd=work)
        if linked.returncode != 0:
            raise link_error(source, linked)
        check_library(work / "model.so", target.arch)
        shutil.copyfile(work / "model.so", out / "model.so")
    data = (out / "model.so").read_bytes()
    return NativeLibrary(
        out / "model.so",
        digest_bytes(data),
        len(data),
        tuple(tuple(c) for c in commands),
        compiler.identity,
    )


def emit_text(
    source: MojoSource,
    target: Target,
    options: BuildOptions,
    *,
    compiler: MojoCompiler,
    kind: str,
) -> str:
    """Return what the compiler makes of a module: ``llvm`` or ``asm`` text.

    Raises:
        MojoaccelError: As `build`.
    """
    with tempfile.TemporaryDirectory(prefix="mojoaccel-build-") as name:
        work = Path(name)
        write_source(source, work)
        command = compile_command(compiler, target, options, kind, "model.txt")
        finished = run(
            command, build_environment(compiler, work), timeout=options.timeout, cwd=work
        )
        if finished.returncode != 0:
            raise compile_error(source, finished, options.timeout)
        return (work / "model.txt").read_text(encoding="utf-8")


def write_source(source: MojoSource, folder: Path) -> None:
    """Write the module's files; their names are fixed because they reach the binary."""
    for name, text in source.files:
        (folder / name).write_text(text, encoding="utf-8")


def build_environment(compiler: MojoCompiler, work: Path) -> dict[str, str]:
    """Return the compiler's environment, with a `cc` that it finds and never runs."""
    env = compiler.environment()
    if not any(shutil.which(c, path=env.get("PATH", "")) for c in ("cc", "gcc", "clang")):
        tools = work / "tools"
        tools.mkdir()
        stand_in = tools / "cc"
        stand_in.write_text("#!/bin/sh\nexit 1\n")
        stand_in.chmod(0o755)
        env["PATH"] = f"{tools}{os.pathsep}{env.get('PATH', '')}"
    return env


def compile_error(source: MojoSource, finished: Finished, timeout: float) -> MojoaccelError:
    """Keep source, command and log of a failed build, and return the error to raise."""
    tail = _kept(source, finished)
    if finished.returncode is None:
        return error("MA502", f"mojo build was stopped after {timeout:g} s", notes=tail)
    if finished.returncode < 0:
        name = signal.Signals(-finished.returncode).name
        said = finished.stderr.strip().splitlines()[-5:]
        return error("MA505", f"mojo build was ended by {name}", notes=[*said, *tail])
    # The compiler prints its places on stderr and a summary on stdout.
    return build_error(source, f"{finished.stderr}\n{finished.stdout}", tail)


def link_error(source: MojoSource, finished: Finished) -> MojoaccelError:
    """Keep what a failed link was given, and return the error to raise."""
    said = finished.stderr.strip().splitlines()[:5]
    return error("MA503", "lld failed", notes=[*said, *_kept(source, finished)])


def _kept(source: MojoSource, finished: Finished) -> list[str]:
    kept = keep_failure(source, finished)
    place = f"source, command and log are in {kept}" if kept else "no folder to keep the log in"
    return [place, f"command: {shlex.join(finished.command)}"]


def keep_failure(source: MojoSource, finished: Finished) -> Path | None:
    """Write source, command and log where the user can look at them; None if nothing can be."""
    name = f"failed-{source.code_digest[:12]}"
    for parent in (cache_root() / "failures", Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):
            folder = parent / name
            folder.mkdir(parents=True, exist_ok=True)
            write_source(source, folder)
            (folder / "command.txt").write_text(shlex.join(finished.command) + "\n")
            (folder / "log.txt").write_text(f"{finished.stdout}\n{finished.stderr}\n")
            return folder
    return None


def check_library(path: Path, arch: str) -> None:
    """Make sure that a library runs anywhere libc does.

    Raises:
        MojoaccelError: MA503 it is no library for this processor, MA504 it needs other libraries,
            a search path or foreign symbols.
    """
    try:
        info = read_elf(path)
    except ValueError as e:
        raise error("MA503", f"the linker made no usable library: {e}") from e
    if info.machine != arch:
        raise error("MA503", f"the linker made a library for {info.machine}, not {arch}")
    foreign = [s for s in info.undefined if s not in ALLOWED_SYMBOLS]
    found = [*foreign, *info.needed, *info.runpath]
    if found:
        raise error("MA504", f"the library needs {', '.join(found[:8])}")
