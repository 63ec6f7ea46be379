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

CACHED = 4 << 20
"""Bytes read again and again per thread: more than a cache of the second level holds, less than
one of the third."""

TURNS = 15


@dataclass(frozen=True, slots=True)
class Roof:
    """What the machine can do.

    Attributes:
        threads: Threads it was measured with.
        flops: Float32 operations a second, multiply-adds counted as two.
        bandwidth: Bytes read from memory a second.
        bf16_flops: Bfloat16 operations a second with float32 sums; None where the processor has
            no instruction for them, or this compiler none that is measured (AMX).
        cache_bandwidth: Bytes read a second that lie in the cache of the last level.
    """

    threads: int
    flops: float
    bandwidth: float
    bf16_flops: float | None = None
    cache_bandwidth: float | None = None

    def peak(self, dtype: str) -> float:
        """Return the operations a second of a compute type; those of float32 if it has none."""
        return self.bf16_flops or self.flops if dtype == "bf16" else self.flops

    def seconds(self, flops: float, size: float, dtype: str = "f32") -> float:
        """Return the least time of some operations on some bytes of memory."""
        return max(flops / self.peak(dtype), size / self.bandwidth)

    def model_seconds(self, flops: float, size: float, dtype: str, cache_bytes: int) -> float:
        """Return the least time of a model's run.

        Weights that fit into half of the last-level cache stay there from one run to the next.

        Args:
            flops: Operations of a run.
            size: Bytes of weights that a run reads.
            dtype: Compute type.
            cache_bytes: Size of the last-level cache.
        """
        kept = self.cache_bandwidth is not None and size <= cache_bytes // 2
        speed = self.cache_bandwidth if kept else self.bandwidth
        assert speed is not None
        return max(flops / self.peak(dtype), size / speed)


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
        library.roof_bf16.argtypes = library.roof_fma.argtypes
        library.roof_read.argtypes = (*(ctypes.c_ssize_t,) * 3, ctypes.c_void_p)
        for function in (library.roof_fma, library.roof_bf16, library.roof_read):
            function.restype = ctypes.c_ssize_t
        data = np.ones(REGION // 4, np.float32)
        share = REGION // threads // 4096 * 4096
        sinks = [ctypes.c_double() for _ in range(threads)]

        def multiply(thread: int) -> int:
            return int(library.roof_fma(8_000_000, ctypes.byref(sinks[thread])))

        def dot(thread: int) -> int:
            return int(library.roof_bf16(8_000_000, ctypes.byref(sinks[thread])))

        def read(thread: int, size: int = share, times: int = 1) -> int:
            start = data.ctypes.data + thread * share
            return int(library.roof_read(start, size, times, ctypes.byref(sinks[thread])))

        def read_again(thread: int) -> int:
            return read(thread, CACHED, 200)

        rates = [best_rate(work, threads) for work in (multiply, read, dot, read_again)]
        return Roof(threads, rates[0], rates[1], rates[2] or None, rates[3])


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
