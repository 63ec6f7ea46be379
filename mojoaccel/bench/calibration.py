"""Measures what this machine can do at most: the roof that kernels are held against.

The roof of a piece of work is the larger of its floating-point operations over the peak rate and
its bytes over the bandwidth of memory (Williams, Waterman and Patterson 2009). Both are measured
with code built by the same compiler for the same target, on as many threads as the work will run.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mojoaccel.config import BuildOptions
from mojoaccel.errors import MojoaccelError
from mojoaccel.job import kernels_digest
from mojoaccel.paths import cache_root
from mojoaccel.placing import write_text
from mojoaccel.products import MojoSource, Target, digest_bytes, digest_json
from mojoaccel.targets.probe import detect, machine_digest
from mojoaccel.toolchain.build import build
from mojoaccel.toolchain.mojo import MojoCompiler, find_compiler

SOURCE = Path(__file__).with_name("roof.mojo")
REGION = 512 << 20
"""Bytes read in all: more than most caches of the last level hold."""

TURNS = 7


@dataclass(frozen=True, slots=True)
class Roof:
    """What the machine can do.

    Attributes:
        threads: Threads it was measured with.
        flops: Float32 operations a second, multiply-adds counted as two.
        bandwidth: Bytes read from memory a second.
    """

    threads: int
    flops: float
    bandwidth: float

    def seconds(self, flops: float, size: float) -> float:
        """Return the least time of some operations on some bytes."""
        return max(flops / self.flops, size / self.bandwidth)


def calibrate(threads: int, *, fresh: bool = False) -> Roof:
    """Return the machine's roof, measured once and kept.

    Args:
        threads: Threads to measure with.
        fresh: Measure again.

    Raises:
        MojoaccelError: There is no compiler, or it failed.
    """
    compiler, target = find_compiler(None), detect()
    key = {
        "machine": machine_digest(),
        "compiler": compiler.identity,
        "source": digest_bytes(SOURCE.read_bytes()),
        "threads": threads,
    }
    place = cache_root() / "roof" / f"{digest_json(key)}.json"
    if not fresh:
        with contextlib.suppress(OSError, ValueError, TypeError):  # not measured yet
            return Roof(**json.loads(place.read_text(encoding="utf-8")))
    roof = measure_roof(compiler, target, threads)
    with contextlib.suppress(MojoaccelError):  # a read-only cache: measured again next time
        write_text(place, json.dumps(asdict(roof)))
    return roof


def measure_roof(compiler: MojoCompiler, target: Target, threads: int) -> Roof:
    """Build the probe and run it."""
    text = SOURCE.read_text(encoding="utf-8")
    source = MojoSource((("model.mojo", text),), (), (), digest_bytes(text, kernels_digest()))
    with tempfile.TemporaryDirectory(prefix="mojoaccel-roof-") as name:
        built = build(source, target, BuildOptions(), compiler=compiler, out=Path(name))
        library = ctypes.CDLL(str(built.path))
        library.roof_fma.argtypes = (ctypes.c_ssize_t, ctypes.c_void_p)
        library.roof_read.argtypes = (ctypes.c_ssize_t, ctypes.c_ssize_t, ctypes.c_void_p)
        library.roof_fma.restype = library.roof_read.restype = ctypes.c_ssize_t
        data = np.ones(REGION // 4, np.float32)
        share = REGION // threads // 4096 * 4096
        sinks = [ctypes.c_double() for _ in range(threads)]

        def multiply(thread: int) -> int:
            return int(library.roof_fma(2_000_000, ctypes.byref(sinks[thread])))

        def read(thread: int) -> int:
            start = data.ctypes.data + thread * share
            return int(library.roof_read(start, share, ctypes.byref(sinks[thread])))

        return Roof(threads, best_rate(multiply, threads), best_rate(read, threads))


def best_rate(work: Callable[[int], int], threads: int) -> float:
    """Return the best rate of several turns: amounts of all threads over the time of the last."""
    rates = []
    for _ in range(TURNS):
        amounts = [0] * threads
        barrier = threading.Barrier(threads + 1)

        def run(
            thread: int, amounts: list[int] = amounts, barrier: threading.Barrier = barrier
        ) -> None:
            barrier.wait()
            amounts[thread] = work(thread)

        team = [threading.Thread(target=run, args=(i,)) for i in range(threads)]
        for thread in team:
            thread.start()
        barrier.wait()
        began = time.perf_counter()
        for thread in team:
            thread.join()
        rates.append(sum(amounts) / (time.perf_counter() - began))
    return max(rates)
