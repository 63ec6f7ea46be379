"""The process: sockets, signals, start and end.

Everything that can be wrong is said before anybody is listened to.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import uvicorn

from mojoaccel.errors import error
from mojoaccel.serve.asgi import application
from mojoaccel.serve.connection import Connection
from mojoaccel.serve.handler import Handler
from mojoaccel.serve.heads import Heads
from mojoaccel.serve.model import sizes
from mojoaccel.serve.options import ServeOptions
from mojoaccel.serve.placement import Colocation, roam, share_of
from mojoaccel.serve.repository import Repository
from mojoaccel.serve.service import Service

IDLE_SECONDS = 75
"""How long a connection may rest between requests."""
SEEN_SECONDS = 0.5
"""How long the server stays after SIGTERM at least, so that probes see it is not ready."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server listens.

    Attributes:
        url: Of HTTP.
        grpc: ``host:port`` of gRPC, None without.
        models: Names of the loaded models.
    """

    url: str
    grpc: str | None
    models: tuple[str, ...]


class _Server(uvicorn.Server):
    """uvicorn without its own idea of signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `serve`."""
        yield


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address.

    Raises:
        MojoaccelError: MA711, it is in use or not an address of this machine.
    """
    try:
        family, kind, proto, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, proto)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(place)
        found.listen(4096)
    except (OSError, OverflowError) as e:
        reason = getattr(e, "strerror", None) or e
        raise error("MA711", f"cannot listen on {host}:{port}: {reason}") from e
    return found


def check_tls(options: ServeOptions) -> None:
    """Refuse unreadable or wrong TLS files.

    Raises:
        MojoaccelError: MA712 or MA903.
    """
    if (options.tls_cert is None) != (options.tls_key is None):
        raise error("MA903", "--tls-cert and --tls-key belong together")
    if options.tls_cert is None:
        return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.tls_cert, options.tls_key, password=lambda: "")
    except (OSError, ValueError) as e:
        raise error("MA712", f"the TLS certificate or key cannot be used: {e}") from e


def run_server(
    options: ServeOptions, announce: Callable[[Address], None], *, once: bool = False
) -> int:
    """Serve until a signal; return the process's exit code.

    Args:
        options: What to serve, and how.
        announce: Called when ready.
        once: Stop right after.

    Raises:
        MojoaccelError: The server cannot start.
    """
    import uvloop

    loop = uvloop.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        loop.set_default_executor(ThreadPoolExecutor(initializer=roam))
        code: int = loop.run_until_complete(_serve(options, announce, once=once))
        return code
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def _serve(options: ServeOptions, announce: Callable[[Address], None], *, once: bool) -> int:
    check_tls(options)
    instances, threads = sizes(options)
    colocation = Colocation(movable=threads == 1 and not share_of(0, instances, threads))
    repository = Repository(options, signature_check(options), colocation)
    service = Service(options, repository)
    repository.look()
    http = bind(options.host, options.port)
    grpc_server: Any = None
    stop = _Stop()
    try:
        await repository.load_all()
        service.loading = False
        grpc_address = None
        if options.grpc_port >= 0:
            from mojoaccel.serve.grpc_server import start_grpc

            grpc_server, grpc_address = await start_grpc(service)
        server = _http_server(options, Handler(service))
        extra = _metrics_server(options, service)
        serving = asyncio.create_task(server.serve([http]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.001)
        following = [asyncio.create_task(repository.guard())]
        if options.watch:
            following.append(asyncio.create_task(repository.watch()))
        stop.listen()
        gc.freeze()
        names = tuple(sorted({m.name for m in repository.loaded()}))
        announce(Address(address_url(options, http.getsockname()[1]), grpc_address, names))
        if not once:
            await stop.asked.wait()
        service.draining = True
        for task in following:
            task.cancel()
        if not once:
            await _drain(service, options, stop)
        server.should_exit = True
        if extra is not None:
            extra.shutdown()
        await asyncio.wait({serving}, timeout=0.1 if stop.hard.is_set() else options.grace)
        if grpc_server is not None:
            await grpc_server.stop(0 if stop.hard.is_set() else 1)
        return 130 if stop.hard.is_set() else 0
    finally:
        stop.forget()
        http.close()
        if not stop.hard.is_set():
            await repository.close()


class _Stop:
    """What SIGTERM and SIGINT ask for.

    Attributes:
        asked: Finish what is begun, then end.
        hard: End at once.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hard = asyncio.Event()

    def listen(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.asked.set)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)

    def forget(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    def _interrupt(self) -> None:
        if self.asked.is_set():
            self.hard.set()
        self.asked.set()


async def _drain(service: Service, options: ServeOptions, stop: _Stop) -> None:
    """Wait for the requests that are being answered, no longer than the grace time."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not stop.hard.is_set():
        spent = loop.time() - began
        busy = service.active or not service.repository.idle
        if spent >= options.grace or (spent >= SEEN_SECONDS and not busy):
            return
        await asyncio.sleep(0.02)


def _http_server(options: ServeOptions, handler: Handler) -> _Server:
    limits = {"header_timeout": options.header_timeout, "body_timeout": options.body_timeout}
    parts = {"handler": handler, "heads": Heads(), **limits}
    connection = type("Connection", (Connection,), parts)
    config = uvicorn.Config(
        application(handler),
        http=connection,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="critical",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=1,
        ssl_certfile=options.tls_cert,
        ssl_keyfile=options.tls_key,
    )
    return _Server(config)


def _metrics_server(options: ServeOptions, service: Service) -> Any:
    """Return the listener that has only ``/metrics``, if one is asked for."""
    if options.metrics_port < 0:
        return None
    from prometheus_client import CollectorRegistry, start_http_server

    from mojoaccel.serve.metrics import StatisticsCollector

    registry = CollectorRegistry(auto_describe=False)
    registry.register(StatisticsCollector(service))
    try:
        server, _ = start_http_server(options.metrics_port, options.host, registry)
    except OSError as e:
        place = f"{options.host}:{options.metrics_port}"
        raise error("MA711", f"cannot listen on {place}: {e.strerror or e}") from e
    return server


def address_url(options: ServeOptions, port: int) -> str:
    """Return the URL of HTTP."""
    scheme = "https" if options.tls_cert else "http"
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"{scheme}://{host}:{port}"


def signature_check(options: ServeOptions) -> Any:
    """Return what refuses artifacts that are not signed as the options demand, if they do.

    Raises:
        MojoaccelError: MA712, the key cannot be read.
    """
    if options.signature_key is None:
        return None
    from mojoaccel.artifact import signing

    return signing.signature_check(options.signature_key)
