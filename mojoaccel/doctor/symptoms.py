"""Messages that people meet with Modular's toolchain, what causes each, and what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Symptom:
    """A message and its cause.

    Attributes:
        pattern: Regular expression that finds the message in a text.
        cause: What is behind it, one sentence.
        fix: What to do, a command where there is one.
        reference: Where it was reported, ``repository#number``; empty if measured only.
    """

    pattern: str
    cause: str
    fix: str
    reference: str = ""


CPU_INSTALL = "pip install mojo-compiler==1.2.0"
RETIRED = "the retired `modular` command line; pip, uv, pixi and conda replaced it"

SYMPTOMS = (
    Symptom(
        r"'juju'|/snap/mojo/|\b1\.0\.0\+\d{3}|CryptographyDeprecationWarning: Python 3\.6",
        "this is the Ubuntu snap `mojo`, which delivers Juju charms",
        "sudo snap remove mojo",
        "modular/modular#666, #513",
    ),
    Symptom(
        r'Invalid command "--version"|Unknown command "build", maybe you need|Mojolicious',
        "this is Perl's Mojolicious, which also installs a program called mojo",
        "sudo apt remove libmojolicious-perl",
        "mojolicious/mojo#2118, #2120",
    ),
    Symptom(
        r"Permission\s?[Ee]rror.*__mojocache__|__mojocache__.*Permission denied",
        "MAX was installed by another user and keeps a cache inside its package",
        "python -m venv .venv && .venv/bin/pip install max",
        "modular/modular#5153",
    ),
    Symptom(
        r"filesystem error.*Permission denied.*\.modular",
        "the home folder cannot be searched by this user",
        "export MODULAR_HOME=/tmp/modular-$(id -u)",
        "HomericIntelligence/Odyssey#5217",
    ),
    Symptom(
        r"cache directory '.*' is not writable",
        "the compiler's cache belongs to another user, so every build starts anew",
        "mojoaccel doctor --check cache --check mojo.home",
    ),
    Symptom(
        r"could not be created|failed to resolve cache folder",
        "HOME is unset, or MODULAR_HOME or MODULAR_CACHE_DIR point nowhere",
        "mojoaccel doctor --check mojo.variables --check cache.home",
    ),
    Symptom(
        r"lib\w+\.so: cannot open shared object file",
        "a program built by Mojo names the folder of an environment that is gone",
        "find . -name __mojocache__ -prune -exec rm -r {} +; build it again",
        "modular/modular#6534",
    ),
    Symptom(
        r"support your current NVIDIA GPU driver|minimum driver version of 580",
        "the NVIDIA driver is older than release 580 (CUDA 13)",
        "sudo apt install nvidia-driver-580",
        "modular/modular#6519",
    ),
    Symptom(
        r"ptxas fatal.*sm_\d+' is not defined",
        "the GPU is older than what this ptxas, or Mojo, generates code for",
        "mojo build --print-supported-accelerators",
        "modular/modular#6374",
    ),
    Symptom(
        r'No supported "gpu" device available|Failed to open library "lib(nvidia-ml|amdhip64)',
        "Mojo found no GPU driver; GPUs are not used by the cpu target",
        "mojoaccel doctor --check gpu",
    ),
    Symptom(
        r"[Ii]llegal instruction|SIGILL|\brc[= ]?132\b",
        "the processor lacks instructions of x86-64-v3, which the compiler itself needs",
        "mojoaccel doctor --check system.processor",
        "modular/modular#6823, #6257",
    ),
    Symptom(
        r"unable to find suitable c compiler for linking",
        "`mojo build` links with cc, gcc or clang; mojoaccel links by itself",
        "sudo apt install gcc",
    ),
    Symptom(
        r"unable to write temporary files",
        "TMPDIR names a folder that is missing, full or closed",
        "mojoaccel doctor --check cache.temporary",
    ),
    Symptom(
        r"uvloop.*no candidates were found",
        "Windows is not supported by Modular's packages",
        "wsl --install",
        "modular/modular#4990",
    ),
    Symptom(
        r"please run `?modular clean|packages\.modular\.com/mojo|MODULAR_AUTH|mut_\w+",
        RETIRED,
        CPU_INSTALL,
        "modular/modular#513, #971, #2828",
    ),
    Symptom(
        r"magic: (command )?not found|magic (info|shell|add|init|run)\b",
        "the retired `magic` command line; pixi replaced it",
        CPU_INSTALL,
        "modular/modular#4990, #4662",
    ),
    Symptom(
        r"No module named 'pydantic'|install the `max\[serve\]` package",
        "max is installed without its serve extra",
        'pip install "max[serve]"',
    ),
    Symptom(
        r"'fn' has been removed|use of unknown declaration 'alias'",
        "source written for Mojo before 1.0",
        "replace fn by def and alias by comptime",
    ),
    Symptom(
        r"GLIBCXX_3\.4\.\d+|GLIBC_2\.\d+' not found",
        "the system's C or C++ library is older than the compiler was built for",
        "mojoaccel doctor --check system.libc",
        "modular/modular#5205",
    ),
    Symptom(
        r"Failed to initialize Crashpad",
        "noise: the package carries no crash handler; nothing is wrong",
        "ignore this line",
    ),
)


def find_symptom(text: str) -> Symptom | None:
    """Return the first known symptom in a text."""
    return next((s for s in SYMPTOMS if re.search(s.pattern, text, re.DOTALL)), None)
