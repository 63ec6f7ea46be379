"""What the server is told; decided by the command line, read by everything in this room."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mojoaccel.errors import error


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Options of ``mojoaccel deploy``.

    Attributes:
        paths: Artifacts, or folders of artifacts.
        name: Name of the model, if there is exactly one artifact; its file's name otherwise.
        host: Address to listen on.
        port: Of HTTP; 0 takes a free one.
        grpc_port: Of gRPC; 0 takes a free one, -1 means no gRPC.
        metrics_port: Of a second listener for ``/metrics``; -1 means the HTTP port has it.
        instances: Sessions of each model; 0 chooses.
        threads: Threads of each session; 0 chooses: processors divided by instances.
        max_batch: Largest batch; 0 takes what the artifact allows, up to 64.
        max_delay: Seconds a request may wait for company.
        queue: Requests that may wait for each model.
        timeout: Seconds until a request is given up; 0 means never.
        max_body: Bytes of a request.
        header_timeout: Seconds for a request's header to arrive.
        body_timeout: Seconds in which a request's body must come along, or end.
        grace: Seconds that requests have to finish after SIGTERM.
        tls_cert: Certificate chain, PEM.
        tls_key: Its key.
        api_keys: Accepted keys; empty means that none is asked for.
        signature_key: Public ed25519 key (PEM) that artifacts must be signed with.
        watch: Load and unload as the folders' content changes.
        fixed: Refuse requests to load and unload models: this is one of several replicas.
    """

    paths: tuple[Path, ...]
    name: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = -1
    instances: int = 0
    threads: int = 0
    max_batch: int = 0
    max_delay: float = 0.0
    queue: int = 1024
    timeout: float = 0.0
    max_body: int = 256 << 20
    header_timeout: float = 10.0
    body_timeout: float = 20.0
    grace: float = 30.0
    tls_cert: Path | None = None
    tls_key: Path | None = None
    api_keys: tuple[bytes, ...] = ()
    signature_key: Path | None = None
    watch: bool = False
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Scaling:
    """How many replicas there are.

    Attributes:
        least: Replicas at least.
        most: Replicas at most; more than `least` makes Ray scale between them.
        ongoing: Requests under way that a replica should have, for scaling.
    """

    least: int = 1
    most: int = 1
    ongoing: float = 8.0

    @staticmethod
    def of(text: str, ongoing: float) -> Scaling:
        """Read ``2`` or ``1:8``.

        Raises:
            MojoaccelError: MA903.
        """
        first, _, last = text.partition(":")
        try:
            least, most = int(first), int(last or first)
        except ValueError as e:
            raise error("MA903", f"--replicas takes 2 or 1:8, not {text}") from e
        if not 1 <= least <= most:
            raise error("MA903", f"--replicas {text}: 1 or more, the smaller first")
        return Scaling(least, most, ongoing)
