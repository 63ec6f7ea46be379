"""One runner in a process of its own: ``python -m mojoaccel.bench.worker IN OUT FOLDER``.

Requests come as lines of JSON on file descriptor IN, replies leave on OUT; a worker that waits for
a request sleeps. What the runner prints goes to a log file. Times that the parent compares with
its own are of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mojoaccel.bench.runner import Runner

WINDOW_NS = 50_000_000  # a warm-up window lasts about this long
WINDOW_RUNS = 5  # but has so many runs at least, unless time is up
QUIET_SECONDS = 1.0  # how long a runner's threads may go on spinning after its turn


class Worker:
    """Answers the parent's requests."""

    def __init__(self, folder: Path) -> None:
        """Remember the folder that parent and worker share."""
        self.folder = folder
        self.runner: Runner | None = None

    def build(self, request: dict[str, Any]) -> dict[str, Any]:
        """Compile a rival ahead of time."""
        from mojoaccel.bench.baselines import BASELINES
        from mojoaccel.bench.workloads import Inputs

        began = time.perf_counter()
        make = BASELINES[request["runner"]].build
        assert make is not None
        make(self._setup(request), Inputs.load(self.folder))
        return {"seconds": time.perf_counter() - began}

    def open(self, request: dict[str, Any]) -> dict[str, Any]:
        """Import, load, answer once; keep the answer if asked to."""
        runner = self._make(request)
        began = time.monotonic()
        for name in runner.imports:
            importlib.import_module(name)
        imported = time.monotonic()
        version = runner.prepare()
        loaded = time.monotonic()

        from mojoaccel.bench.workloads import Inputs, save_arrays

        # Reading the benchmark's inputs is not the runner's own work.
        inputs = Inputs.load(self.folder)
        read = time.monotonic()
        runner.bind(inputs)
        answer = runner.run()
        answered = time.monotonic()
        self.runner = runner
        if request.get("answer"):
            save_arrays(Path(request["answer"]), runner.arrays(answer))
        return {
            "version": version,
            "began": began,
            "import": imported - began,
            "load": loaded - imported,
            "first_run": answered - read,
        }

    def referee(self, request: dict[str, Any]) -> dict[str, Any]:
        """Compute PyTorch's answer in the model's own types and in float64, and keep both."""
        import torch

        from mojoaccel.bench.workloads import Inputs, save_arrays
        from mojoaccel.ir.types import BY_TORCH
        from mojoaccel.trace.replay import module_runner, tensor_runner, to_array

        setup = self._setup(request)
        torch.set_num_threads(setup.threads)
        example = setup.model.load()
        arrays = Inputs.load(self.folder).arrays
        tensors = tensor_runner(example)(arrays)
        names = [BY_TORCH[str(t.dtype).removeprefix("torch.")].name for t in tensors]
        own = [to_array(t) for t in tensors]
        source = "float64"
        try:
            exact = module_runner(example, double=True)(arrays)
        except Exception as e:  # the model's own code may insist on a type
            print(f"no float64 run: {e}", file=sys.stderr)
            exact, source = own, "PyTorch"
        save_arrays(self.folder / "own.npz", own)
        save_arrays(self.folder / "exact.npz", exact)
        return {"dtypes": names, "source": source}

    def warm(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run until the medians of the windows settle, or the time limit is reached."""
        from statistics import median

        from mojoaccel.bench.statistics import is_settled

        call = self._call()
        deadline = time.perf_counter_ns() + int(request["seconds"] * 1e9)
        began = time.perf_counter_ns()
        medians: list[float] = []
        runs = 0
        while not is_settled(medians):
            times = _window(call, WINDOW_NS, WINDOW_RUNS, deadline)
            runs += len(times)
            medians.append(median(times))
            if time.perf_counter_ns() >= deadline:
                break
        return {
            "runs": runs,
            "seconds": (time.perf_counter_ns() - began) / 1e9,
            "settled": is_settled(medians),
            "median_ns": medians[-1],
            **_wait_until_quiet(),
        }

    def measure(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take one turn: a short lead that is not counted, then timed runs."""
        call = self._call()
        turn = int(request["seconds"] * 1e9)
        # The others' turns have emptied the caches and sent the threads to sleep.
        lead = len(_window(call, turn // 10, 1, None))
        gc.collect()
        gc.disable()
        times = _window(call, turn, 1, None)
        gc.enable()
        return {"times": times, "runs": lead + len(times), **_wait_until_quiet()}

    def memory(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the process's peak memory."""
        from mojoaccel.bench.machine import peak_memory

        return {"bytes": peak_memory()}

    def close(self, request: dict[str, Any]) -> dict[str, Any]:
        """Give the runner's resources back."""
        if self.runner is not None:
            self.runner.close()
        return {}

    def _call(self) -> Callable[[], Any]:
        assert self.runner is not None, "not opened"
        return self.runner.run

    def _setup(self, request: dict[str, Any]) -> Any:
        from mojoaccel.bench.baselines import Setup
        from mojoaccel.bench.workloads import ModelSource

        source = {**request["model"], "dynamic": tuple(request["model"]["dynamic"])}
        return Setup(ModelSource(**source), request["threads"], Path(request["place"]))

    def _make(self, request: dict[str, Any]) -> Runner:
        if request["runner"] == "mojoaccel":
            from mojoaccel.bench.runner import ArtifactRunner, MaxRunner

            maker = MaxRunner if request["engine"] == "max" else ArtifactRunner
            return maker(Path(request["artifact"]), request["threads"])
        from mojoaccel.bench.baselines import BASELINES

        return BASELINES[request["runner"]].runner(self._setup(request))


def _window(call: Callable[[], Any], duration: int, least: int, deadline: int | None) -> list[int]:
    """Time runs for `duration` ns and `least` runs, but not beyond the deadline; at least one."""
    clock = time.perf_counter_ns
    times: list[int] = []
    began = before = clock()
    while True:
        call()
        now = clock()
        times.append(now - before)
        before = now
        if deadline is not None and now >= deadline:
            return times
        if now - began >= duration and len(times) >= least:
            return times


def _wait_until_quiet() -> dict[str, Any]:
    """Wait until no thread of this process computes any more."""
    deadline = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < deadline:
        before = time.process_time()
        time.sleep(0.005)
        if time.process_time() - before < 0.0005:
            return {"quiet": True}
    return {"quiet": False}


def _failure(e: BaseException) -> dict[str, Any]:
    from mojoaccel.errors import MojoaccelError

    import_error = e.diagnostics[0].message if isinstance(e, MojoaccelError) else ""
    code = e.code if isinstance(e, MojoaccelError) else ""
    text = import_error or f"{type(e).__name__}: {e}"
    return {"failed": text.strip().splitlines()[0], "code": code}


def main() -> None:
    """Serve requests until the parent closes the pipe."""
    requests, replies = (int(a) for a in sys.argv[1:3])
    worker = Worker(Path(sys.argv[3]))
    with os.fdopen(requests, encoding="utf-8") as lines, os.fdopen(replies, "w") as out:
        for line in lines:
            request = json.loads(line)
            try:
                reply = getattr(worker, request["do"])(request)
            except Exception as e:  # whatever a rival raises: it becomes its line in the table
                import traceback

                traceback.print_exc()
                reply = _failure(e)
            out.write(json.dumps(reply) + "\n")
            out.flush()


if __name__ == "__main__":
    main()
