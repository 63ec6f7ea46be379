"""Options: one frozen dataclass per stage.

Where their values come from (files, ``MOJOACCEL_*`` variables, the command line) is decided in
`settings`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

NOT_IN_KEY = frozenset({"timeout", "jobs", "ops"})
"""Fields that change how a stage runs, never what it gives; they stay out of cache keys."""


def options_key(options: Any) -> dict[str, Any]:
    """Return the fields of an options dataclass as cache-key material, less `NOT_IN_KEY`."""
    return {f.name: getattr(options, f.name) for f in fields(options) if f.name not in NOT_IN_KEY}


@dataclass(frozen=True, slots=True)
class DetectOptions:
    """Options of the detect stage.

    Attributes:
        target: Target string; ``cpu`` is this machine.
    """

    target: str = "cpu"


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """Options of the trace stage.

    Attributes:
        dtype: ``f32`` keeps the model's dtypes, ``bf16`` casts floating weights and activations.
        dynamic: ``input:axis=name`` declarations, added to the factory's own.
        ops: Files of the user's own operators (their contents are in the cache key).
    """

    dtype: str = "f32"
    dynamic: tuple[str, ...] = ()
    ops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OptimizeOptions:
    """Options of the optimize stage.

    Attributes:
        optimization: Level 0..3 (see README).
    """

    optimization: int = 2


@dataclass(frozen=True, slots=True)
class EmitOptions:
    """Options of the emit stage (none yet)."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Options of the build stage.

    Attributes:
        optimization: ``-O<n>`` of mojo build.
        fp_mode: ``--fp-mode contract=<fast|off>``.
        timeout: Seconds before the compiler is stopped (not part of the cache key).
        jobs: ``-j`` of mojo build; 0 leaves it to the compiler (not part of the cache key).
        profile: The library keeps the time of every fused group (about 50 ns each).
    """

    optimization: int = 2
    fp_mode: str = "fast"
    profile: bool = False
    timeout: float = 600.0
    jobs: int = 0


@dataclass(frozen=True, slots=True)
class PackageOptions:
    """Options of the package stage.

    Attributes:
        archive: Write one stored zip instead of a folder.
        verify: Compare with PyTorch before publishing.
        threads: Default number of threads; 0 is chosen at load.
    """

    archive: bool = False
    verify: bool = True
    threads: int = 0


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """Everything one compile needs to know, by stage."""

    detect: DetectOptions = DetectOptions()
    trace: TraceOptions = TraceOptions()
    optimize: OptimizeOptions = OptimizeOptions()
    emit: EmitOptions = EmitOptions()
    build: BuildOptions = BuildOptions()
    package: PackageOptions = PackageOptions()
