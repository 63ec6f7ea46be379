"""A served model: an artifact, its instances, and how requests fit its signature."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mojoaccel.artifact.host import usable_processors
from mojoaccel.artifact.manifest import Manifest, TensorSpec
from mojoaccel.errors import MojoaccelError
from mojoaccel.runtime.inputs import read_dims
from mojoaccel.runtime.session import Session, load
from mojoaccel.serve.batching import Answer, Batcher, BatchPolicy, Early, Instance, Run
from mojoaccel.serve.codec import InferRequest
from mojoaccel.serve.datatypes import MODEL_TYPES, NAMES, WIRE, Array, wire_shape
from mojoaccel.serve.holds import Hold
from mojoaccel.serve.options import ServeOptions
from mojoaccel.serve.placement import Colocation, placing, share_of
from mojoaccel.serve.plans import Plans
from mojoaccel.serve.refusal import Refusal, bad
from mojoaccel.serve.statistics import Statistics

DEFAULT_BATCH = 64
PLATFORM = "mojoaccel"


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output as the protocol shows it.

    Attributes:
        spec: As the manifest has it.
        datatype: Name of the protocol.
        shape: Sizes, -1 for those that vary.
        kind: numpy's type on the wire.
    """

    spec: TensorSpec
    datatype: str
    shape: tuple[int, ...]
    kind: np.dtype[Any]

    @staticmethod
    def of(spec: TensorSpec) -> Port:
        """Return the port of an input or output."""
        sizes = tuple(s if isinstance(s, int) else -1 for s in spec.shape)
        datatype = NAMES[spec.dtype]
        return Port(spec, datatype, wire_shape(spec.dtype, sizes), WIRE[datatype])

    def to_json(self) -> dict[str, Any]:
        """Return an entry of the model's metadata."""
        return {"name": self.spec.name, "datatype": self.datatype, "shape": list(self.shape)}


def batch_axis(manifest: Manifest) -> str | None:
    """Return the dim that requests can be joined along, if there is one.

    It must be the first size of every input and output and stand nowhere else, and the model must
    keep no state.
    """
    specs = (*manifest.inputs, *manifest.outputs)
    if manifest.states or not manifest.inputs or not all(s.shape for s in specs):
        return None
    dim = manifest.inputs[0].shape[0]
    if not isinstance(dim, str) or dim not in manifest.dims:
        return None
    if any(s.shape[0] != dim for s in specs):
        return None
    others = (str(size) for s in specs for size in s.shape[1:])
    return None if any(dim in size for size in others) else dim


class ServedModel:
    """An artifact with its sessions.

    Attributes:
        name: Name in the protocol.
        version: Version in the protocol.
        manifest: The artifact's.
        inputs: Inputs by name.
        outputs: Outputs in order.
        statistics: What it served.
        plans: How to read the requests it gets; None where values change on the way in or out.
        hold: Keeps its files as they are while it is loaded.
    """

    def __init__(
        self,
        name: str,
        version: str,
        sessions: Sequence[Session],
        processors: Sequence[tuple[int, ...]],
    ) -> None:
        """Take over sessions of one artifact and their processors; `open_model` makes them."""
        self.name = name
        self.version = version
        self.sessions = tuple(sessions)
        self._processors = tuple(processors)
        self.manifest = sessions[0].manifest
        self.path = sessions[0].path
        self.inputs = {s.name: Port.of(s) for s in self.manifest.inputs}
        self.outputs = tuple(Port.of(s) for s in self.manifest.outputs)
        self.batch_dim = batch_axis(self.manifest)
        self.statistics = Statistics()
        ports = (*self.inputs.values(), *self.outputs)
        complex_numbers = any(p.spec.dtype.startswith("complex") for p in ports)
        self.plans = None if complex_numbers else Plans()
        self.policy = BatchPolicy()
        self._batcher: Batcher | None = None
        self.hold = Hold(())

    def start(self, options: ServeOptions, colocation: Colocation | None = None) -> None:
        """Start the instances' threads; call it on the event loop's thread, which may be moved."""
        rows = 0
        if self.batch_dim is not None:
            limit = self.manifest.dims[self.batch_dim][1]
            wanted = options.max_batch or DEFAULT_BATCH
            rows = wanted if limit is None else min(wanted, limit)
        self.policy = BatchPolicy(rows, options.max_delay, options.queue)
        instances = [
            Instance(_run_function(s), p)
            for s, p in zip(self.sessions, self._processors, strict=True)
        ]
        self._batcher = Batcher(instances, self.policy, self.statistics, colocation)

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return self._batcher.waiting if self._batcher else 0

    @property
    def running(self) -> int:
        """Instances at work."""
        return self._batcher.running if self._batcher else 0

    async def close(self) -> None:
        """Let what is queued finish, then free the sessions."""
        batcher = self._batcher
        if batcher is not None:
            while not batcher.idle:
                await asyncio.sleep(0.005)
            batcher.close()
        for session in self.sessions:
            session.close()
        self.hold.release()

    def submit(self, arrays: Sequence[Array]) -> asyncio.Future[list[Array]]:
        """Queue a run on arrays that fit.

        Raises:
            Refusal: The queue is full (503).
        """
        assert self._batcher is not None
        return self._batcher.submit(arrays)

    def add(self, arrays: Sequence[Array], answer: Answer, early: Early | None) -> None:
        """Queue a run on arrays that fit, for somebody else than a future: see `Batcher.add`.

        Raises:
            Refusal: The queue is full (503).
        """
        assert self._batcher is not None
        self._batcher.add(arrays, answer, early)

    def check_shapes(self, arrays: Sequence[Array]) -> None:
        """Refuse shapes that do not fit.

        Raises:
            Refusal: One does not (400).
        """
        try:
            read_dims(self.manifest.inputs, [a.shape for a in arrays], self.manifest.dims)
        except MojoaccelError as e:
            raise bad(e.diagnostics[0].message) from e

    def arrange(self, request: InferRequest) -> list[Array]:
        """Return a request's tensors in the signature's order.

        Raises:
            Refusal: One is missing, unknown, given twice, of another type or of another shape, or
                an output is wanted that the model does not have.
        """
        if self.manifest.states and any(p.startswith("sequence_") for p in request.parameters):
            raise bad("sequences are not kept: the model's state begins anew with every request")
        given: dict[str, Array] = {}
        for tensor in request.inputs:
            port = self.inputs.get(tensor.name)
            if port is None:
                raise bad(
                    f"unexpected input '{tensor.name}': model '{self.name}' takes "
                    f"{', '.join(self.inputs) or 'no inputs'}"
                )
            if tensor.name in given:
                raise bad(f"input '{tensor.name}' is given twice")
            if tensor.datatype != port.datatype:
                raise bad(
                    f"input '{tensor.name}': expected datatype {port.datatype}, "
                    f"got {tensor.datatype}"
                )
            given[tensor.name] = self._as_model_takes(tensor.array, port)
        if len(given) != len(self.inputs):
            missing = [n for n in self.inputs if n not in given]
            raise bad(f"expected {len(self.inputs)} inputs, missing: {', '.join(missing)}")
        unknown = request.outputs.keys() - {p.spec.name for p in self.outputs}
        if unknown:
            raise bad(f"unexpected output '{min(unknown)}' for model '{self.name}'")
        arrays = [given[n] for n in self.inputs]
        self.check_shapes(arrays)
        return arrays

    @staticmethod
    def _as_model_takes(array: Array, port: Port) -> Array:
        if not port.spec.dtype.startswith("complex"):
            return array
        if array.ndim == 0 or array.shape[-1] != 2:
            raise bad(f"input '{port.spec.name}': the last axis must be 2: real, imaginary")
        return np.ascontiguousarray(array).view(port.spec.dtype)[..., 0]

    def choose_outputs(
        self, request: InferRequest, results: Sequence[Array]
    ) -> list[tuple[str, str, Array, bool]]:
        """Return the outputs that a request wants, as the codec takes them."""
        found = []
        wanted = request.outputs
        for port, array in zip(self.outputs, results, strict=True):
            if wanted and port.spec.name not in wanted:
                continue
            binary = request.wants_binary(port.spec.name)
            if array.dtype.kind == "c":
                array = np.ascontiguousarray(array)[..., None].view(port.kind)  # noqa: PLW2901
            found.append((port.spec.name, port.datatype, array, binary))
        return found

    def metadata(self, versions: Sequence[str]) -> dict[str, Any]:
        """Return ``GET /v2/models/M``."""
        return {
            "name": self.name,
            "versions": list(versions),
            "platform": PLATFORM,
            "inputs": [p.to_json() for p in self.inputs.values()],
            "outputs": [p.to_json() for p in self.outputs],
        }

    def config(self) -> dict[str, Any]:
        """Return ``GET /v2/models/M/config``."""
        rows = self.policy.rows

        def entry(port: Port) -> dict[str, Any]:
            dims = list(port.shape[1:] if rows else port.shape)
            return {
                "name": port.spec.name,
                "data_type": MODEL_TYPES[port.datatype],
                "dims": dims,
            }

        found: dict[str, Any] = {
            "name": self.name,
            "platform": PLATFORM,
            "backend": PLATFORM,
            "max_batch_size": rows,
            "input": [entry(p) for p in self.inputs.values()],
            "output": [entry(p) for p in self.outputs],
            "instance_group": [{"name": self.name, "count": len(self.sessions)}],
        }
        if rows:
            delay = int(self.policy.delay * 1e6)
            found["dynamic_batching"] = {"max_queue_delay_microseconds": delay}
        return found


def _run_function(session: Session) -> Run:
    """Return how a session runs; a model with states begins every request anew."""
    if not session.manifest.states:
        return session.run_flat

    def run(inputs: Sequence[Array]) -> list[Array]:
        session.reset()
        return session.run_flat(inputs)

    return run


def sizes(options: ServeOptions) -> tuple[int, int]:
    """Return how many instances a model has, and how many threads each of them."""
    instances = options.instances or 1
    return instances, options.threads or max(1, usable_processors() // instances)


def open_model(path: Path, name: str, version: str, options: ServeOptions) -> ServedModel:
    """Load an artifact: hashes are verified before its code is; `ServedModel.start` comes next.

    Raises:
        MojoaccelError: As `runtime.session.load`.
    """
    instances, threads = sizes(options)
    shares = [share_of(i, instances, threads) for i in range(instances)]
    sessions: list[Session] = []
    try:
        for share in shares:
            with placing(share):
                sessions.append(load(path, threads))
    except MojoaccelError:
        for session in sessions:
            session.close()
        raise
    return ServedModel(name, version, sessions, shares)


def elapsed(began: float) -> float:
    """Return the seconds since `time.perf_counter` gave `began`."""
    return time.perf_counter() - began


def as_refusal(error: BaseException) -> Refusal:
    """Return the refusal for what a run raised."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, MojoaccelError):
        if error.code == "MA703" and "out of memory" in str(error):
            return Refusal(503, "out of memory", 1)
        return bad(error.diagnostics[0].message)
    if isinstance(error, MemoryError):
        return Refusal(503, "out of memory", 1)
    return Refusal(500, f"{type(error).__name__}: {error}")


Parameters = Mapping[str, Any]
