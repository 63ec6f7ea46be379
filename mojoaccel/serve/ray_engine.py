"""The handler as a Ray Serve application: replicas, autoscaling, rolling updates.

Where a Ray cluster runs, the application is put there, in place of an older one of its name: Ray
starts replicas of the new one and ends the old ones as those become ready. Otherwise a Ray of this
machine is started and ended with the command.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import signal
import socket
import ssl
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from mojoaccel.artifact.archive import open_folder
from mojoaccel.artifact.hashing import file_digest
from mojoaccel.environment import environment
from mojoaccel.errors import error
from mojoaccel.paths import cache_root
from mojoaccel.serve.checking import check_options
from mojoaccel.serve.handler import Handler, Request
from mojoaccel.serve.options import Scaling, ServeOptions
from mojoaccel.serve.repository import Repository
from mojoaccel.serve.server import Address, address_url, bind, signature_check
from mojoaccel.serve.service import Service

APPLICATION = "mojoaccel"
PATIENCE = 120.0
"""Seconds that Ray's proxy has to come up once the replicas are ready."""
STARTS = 3
"""Ray gives its node 30 s and its proxies 60 s, which nothing changes: busy machines need more."""
UNHURRIED = {
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "120",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "120",
    "RAY_health_check_initial_delay_ms": "60000",
    "RAY_health_check_timeout_ms": "60000",
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_gcs_server_request_timeout_seconds": "120",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "120",
}
"""Settings of a Ray that is started here. Its own end what does not answer within 5 to 10 s, which
is usual where the processors are busy."""


class Replica:
    """One replica: models of its own behind the handler that the server has, too."""

    async def __init__(self, options: ServeOptions, digests: tuple[str, ...]) -> None:  # type: ignore[misc]
        """Load the models.

        Args:
            options: What to serve.
            digests: Of the artifacts; other digests make Ray replace the replicas.

        Raises:
            MojoaccelError: An artifact cannot be loaded, or is none of `digests`.
        """
        repository = Repository(options, signature_check(options))
        repository.look()
        if artifact_digests(repository) != digests:
            raise error("MA601", "the artifacts at this node are not those that were deployed")
        self.service = Service(options, repository)
        await repository.load_all()
        self.service.loading = False
        self._guard = asyncio.create_task(repository.guard())
        self.handler = Handler(self.service)

    async def __call__(self, request: Any) -> Any:
        """Answer Ray's HTTP request."""
        from starlette.responses import Response, StreamingResponse

        options = self.service.options
        headers = {k.lower(): v for k, v in request.headers.items()}
        path = request.scope.get("raw_path", b"").decode("latin-1") or request.url.path
        body = await request.body()
        if len(body) > options.max_body:
            from mojoaccel.serve.handler import refused
            from mojoaccel.serve.refusal import Refusal

            response = refused(Refusal(413, f"the body is larger than {options.max_body} bytes"))
        else:
            asked = Request(request.method, path.partition("?")[0], headers, body)
            response = await self.handler.answer(asked)
        head = {"content-type": response.content_type, **response.headers}
        if response.stream is not None:
            return StreamingResponse(response.stream, response.status, head)
        return Response(b"".join(response.body), response.status, head)

    def check_health(self) -> None:
        """Tell Ray whether this replica works: it raises if not."""
        if not self.service.ready:
            raise RuntimeError("the models are not loaded")


def artifact_digests(repository: Repository) -> tuple[str, ...]:
    """Return the digests of the manifests, which hold those of everything that is run."""
    found = []
    for entry in repository.entries.values():
        folder = open_folder(entry.path, cache_root() / "unpacked")
        found.append(f"{entry.name}/{entry.version}:{file_digest(folder / 'manifest.json')}")
    return tuple(sorted(found))


def application(options: ServeOptions, scaling: Scaling) -> Any:
    """Return the Ray Serve application, to be given to ``serve.run``."""
    from ray import serve

    options = replace(
        options,
        paths=tuple(p.resolve() for p in options.paths),
        threads=options.threads or 1,
        instances=options.instances or 1,
        fixed=True,
    )
    repository = Repository(options)
    repository.look()
    sizes: dict[str, Any] = {"num_replicas": scaling.least}
    if scaling.most > scaling.least:
        sizes = {
            "autoscaling_config": {
                "min_replicas": scaling.least,
                "max_replicas": scaling.most,
                "target_ongoing_requests": scaling.ongoing,
            }
        }
    deployment = serve.deployment(Replica).options(
        name=APPLICATION,
        ray_actor_options={"num_cpus": options.threads * options.instances},
        max_ongoing_requests=options.queue,
        graceful_shutdown_timeout_s=options.grace,
        max_surge_percent=100,  # an old replica serves until its successor is ready
        **sizes,
    )
    return deployment.bind(options, artifact_digests(repository))


def run_on_ray(
    options: ServeOptions,
    scaling: Scaling,
    announce: Callable[[Address], None],
    *,
    once: bool = False,
) -> int:
    """Deploy to Ray; return the process's exit code.

    Args:
        options: What to serve, and how.
        scaling: Over how many replicas.
        announce: Called when every replica is ready.
        once: Leave nothing running that was started here.

    Raises:
        MojoaccelError: The artifacts, the options or the address do not do.
    """
    import ray
    from ray import serve

    names = check_options(options)
    joined = _join(options, scaling)
    try:
        port = options.port
        if not joined or "controller" not in _serve_state():
            with contextlib.closing(bind(options.host, port)) as probe:
                port = probe.getsockname()[1]
        try:
            _patiently(lambda: serve.start(http_options=_http(options, port)))
            made = application(options, scaling)
            _patiently(lambda: serve.run(made, name=APPLICATION, route_prefix="/"))
        except (RuntimeError, OSError, ray.exceptions.RayError) as e:
            raise error("MA714", f"Ray could not start the application: {e}") from e
        address = Address(address_url(options, port), None, tuple(names))
        wait_for_answer(address.url)
        announce(address)
        if joined:
            return 0
        stopped = 0 if once else _wait()
        serve.shutdown()
        return stopped
    finally:
        ray.shutdown()


def _patiently(call: Callable[[], Any]) -> None:
    """Repeat what Ray gives up after a minute: what it has begun goes on meanwhile."""
    for left in range(STARTS)[::-1]:
        try:
            call()
            return
        except TimeoutError:
            if not left:
                raise


def _join(options: ServeOptions, scaling: Scaling) -> bool:
    """Connect to a running cluster, or start one here; return whether there was one.

    Raises:
        MojoaccelError: MA714, the cluster that RAY_ADDRESS names cannot be reached.
    """
    import ray

    quiet = {"log_to_driver": False, "logging_level": "error"}
    named = environment("RAY_ADDRESS")
    if named or current_cluster():
        try:
            ray.init(address=named or "auto", **quiet)
            return True
        except (ConnectionError, RuntimeError) as e:
            if named:
                raise error("MA714", f"the Ray cluster at {named} cannot be reached: {e}") from e
    for setting, value in UNHURRIED.items():
        os.environ.setdefault(setting, value)
    # Room for every replica twice, as while they are replaced.
    processors = 2 * scaling.most * (options.threads or 1) * (options.instances or 1)
    for left in range(STARTS)[::-1]:
        try:
            ray.init(address="local", num_cpus=processors, include_dashboard=False, **quiet)
            break
        except Exception as e:  # Ray's own are of no other type
            if not left or "timed out during startup" not in str(e):
                raise error("MA714", f"Ray could not be started here: {e}") from e
            ray.shutdown()
    return False


def wait_for_answer(url: str, patience: float = PATIENCE) -> None:
    """Wait until the application is ready at its address: Ray's proxies start beside it.

    Raises:
        MojoaccelError: MA714, it is not within `patience` seconds.
    """
    end = time.monotonic() + patience
    trust = ssl._create_unverified_context()  # this process gave the certificate, for any name
    ask = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
    )
    while True:
        try:
            with ask.open(f"{url}/v2/health/ready", timeout=5):
                return
        except (OSError, http.client.HTTPException) as e:
            if time.monotonic() > end:
                raise error("MA714", f"nothing answers at {url}: {e}") from e
        time.sleep(0.1)


def current_cluster() -> str:
    """Return the address of the cluster that ``ray start`` began here, if it still runs.

    Ray leaves the file behind when it is killed, and tries to reach the address for minutes.
    """
    file = Path(environment("RAY_TMPDIR") or tempfile.gettempdir()) / "ray" / "ray_current_cluster"
    try:
        address = file.read_text().strip()
        host, _, port = address.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2):
            return address
    except (OSError, ValueError, OverflowError):
        return ""


def _serve_state() -> str:
    """Return ``controller`` where Ray Serve runs already: its address stays as it is."""
    from ray import serve

    with contextlib.suppress(Exception):
        return "controller" if serve.status().proxies else ""
    return ""


def _http(options: ServeOptions, port: int) -> dict[str, Any]:
    found: dict[str, Any] = {"host": options.host, "port": port}
    if options.tls_cert and options.tls_key:
        found["ssl_certfile"] = str(options.tls_cert.resolve())
        found["ssl_keyfile"] = str(options.tls_key.resolve())
    if options.timeout:
        found["request_timeout_s"] = options.timeout
    return found


def _wait() -> int:
    """Wait for SIGTERM or SIGINT; return the exit code. A second SIGINT ends at once."""
    stop = threading.Event()

    def interrupt(_number: int, _frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    with _handling(signal.SIGTERM, lambda *_: stop.set()), _handling(signal.SIGINT, interrupt):
        while not stop.wait(0.5):
            pass
    return 0


@contextlib.contextmanager
def _handling(number: int, handler: Any) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)
