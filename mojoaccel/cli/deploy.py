"""``mojoaccel deploy``: serve artifacts to the clients people already have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mojoaccel.cli.console import Console
from mojoaccel.errors import error

if TYPE_CHECKING:
    from mojoaccel.serve.options import Scaling, ServeOptions
    from mojoaccel.serve.server import Address

NEEDED = ("uvicorn", "uvloop", "httptools", "orjson", "prometheus_client")


def deploy_command(
    artifacts: Annotated[
        list[str], typer.Argument(metavar="ARTIFACT...", help="Artifacts, or folders of them.")
    ],
    name: Annotated[str | None, typer.Option(help="Name of the one model.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="HTTP; 0: any free.")] = 8000,
    grpc_port: Annotated[
        int, typer.Option(min=-1, max=65535, help="gRPC; 0: any free, -1: none.")
    ] = 8001,
    metrics_port: Annotated[
        int, typer.Option(min=-1, max=65535, help="A port of its own for /metrics.")
    ] = -1,
    instances: Annotated[int, typer.Option(min=0, help="Sessions of each model.")] = 0,
    threads: Annotated[int, typer.Option(min=0, help="Threads of each session.")] = 0,
    max_batch: Annotated[int, typer.Option(min=0, help="Largest joined batch.")] = 0,
    max_delay_ms: Annotated[
        float, typer.Option(min=0, help="Time a request may wait for others.")
    ] = 0.0,
    queue: Annotated[int, typer.Option(min=1, help="Requests that may wait, a model.")] = 1024,
    timeout_ms: Annotated[float, typer.Option(min=0, help="Deadline; 0: none.")] = 0.0,
    max_body_mb: Annotated[int, typer.Option(min=1, help="Largest request, MiB.")] = 256,
    header_timeout_s: Annotated[float, typer.Option(min=0.1, help="For a head.")] = 10.0,
    body_timeout_s: Annotated[
        float, typer.Option(min=0.1, help="For a body to come along.")
    ] = 20.0,
    grace_s: Annotated[float, typer.Option(min=0, help="To finish after SIGTERM.")] = 30.0,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key, PEM.")] = None,
    api_key_file: Annotated[Path | None, typer.Option(help="One accepted key a line.")] = None,
    require_signature: Annotated[
        Path | None, typer.Option(metavar="PUBLIC.pem", help="Only artifacts signed with it.")
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="local|mojo|max|ray",
            help="ray: replicas by Ray Serve, HTTP only; mojo, max: only artifacts of that engine.",
        ),
    ] = "local",
    replicas: Annotated[
        str, typer.Option(metavar="N|MIN:MAX", help="With ray, kserve; MIN:MAX lets it scale.")
    ] = "1",
    target_ongoing: Annotated[
        float, typer.Option(min=0.1, help="With ray: requests a replica should have under way.")
    ] = 8.0,
    emit: Annotated[
        str, typer.Option(metavar="kserve", help="Print KServe manifests and a Dockerfile.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="With --emit: folder to build from.")
    ] = None,
    image: Annotated[str, typer.Option(help="With --emit: the image's name.")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Follow the folders' content.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Start, check, stop.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only check the options.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One line with the address.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show commands, tracebacks.")
    ] = False,
) -> None:
    """Serve ARTIFACTs over the Open Inference Protocol v2 and the OpenAI API."""
    if engine not in ("local", "mojo", "max", "ray"):
        raise error("MA903", f"--engine is local, mojo, max or ray, not {engine}")
    require_extra(engine)
    if engine in ("mojo", "max"):
        _require_engine([Path(a) for a in artifacts], engine)
    from mojoaccel.serve.options import Scaling, ServeOptions

    console = Console(json=json, verbose=verbose)
    options = ServeOptions(
        paths=tuple(Path(a) for a in artifacts),
        name=name,
        host=host,
        port=port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        instances=instances,
        threads=threads,
        max_batch=max_batch,
        max_delay=max_delay_ms / 1e3,
        queue=queue,
        timeout=timeout_ms / 1e3,
        max_body=max_body_mb << 20,
        header_timeout=header_timeout_s,
        body_timeout=body_timeout_s,
        grace=grace_s,
        tls_cert=tls_cert,
        tls_key=tls_key,
        api_keys=read_keys(api_key_file) if api_key_file else (),
        signature_key=require_signature,
        watch=watch,
    )
    scaling = Scaling.of(replicas, target_ongoing)
    if emit:
        _emit(console, options, scaling, emit, image, output)
        return
    if check:
        _check(console, options)
        return
    if engine == "ray":
        code = _run_on_ray(console, options, scaling, once=once)
    else:
        code = _run(console, options, once=once)
    if code:
        raise typer.Exit(code)


def _require_engine(paths: list[Path], engine: str) -> None:
    """Refuse artifacts of another engine.

    Raises:
        MojoaccelError: MA903.
    """
    from mojoaccel.loading import require_engine
    from mojoaccel.serve.repository import find_artifacts, is_artifact

    for path in paths:
        held = [path] if is_artifact(path) else [p for _, _, p in find_artifacts(path)]
        for artifact in held:
            require_engine(artifact, engine)


def require_extra(engine: str) -> None:
    """Say which packages are missing, all at once.

    Raises:
        MojoaccelError: MA209.
    """
    import importlib.util

    needed = (*NEEDED, "ray") if engine == "ray" else NEEDED
    missing = [n for n in needed if importlib.util.find_spec(n) is None]
    if missing:
        hint = f"pip install 'mojoaccel[{'ray' if engine == 'ray' else 'serve'}]'"
        raise error("MA209", f"deploy needs {', '.join(missing)}", hint=hint)


def read_keys(path: Path) -> tuple[bytes, ...]:
    """Return the API keys of a file: one a line, empty lines and # lines apart.

    Raises:
        MojoaccelError: MA712, it cannot be read or holds none.
    """
    try:
        lines = [line.strip() for line in path.read_bytes().splitlines()]
    except OSError as e:
        raise error("MA712", f"{path} cannot be read: {e.strerror or e}") from e
    keys = tuple(line for line in lines if line and not line.startswith(b"#"))
    if not keys:
        raise error("MA712", f"{path} holds no key")
    return keys


def _check(console: Console, options: ServeOptions) -> None:
    """Check files, keys and artifacts' manifests; load and listen to nothing."""
    from mojoaccel.serve.checking import check_options

    names = check_options(options)
    if console.json:
        console.document("deploy", {"ok": True, "models": names})
        return
    console.say(f"the configuration is valid; models: {', '.join(names)}")


def _emit(
    console: Console,
    options: ServeOptions,
    scaling: Scaling,
    kind: str,
    reference: str,
    place: Path | None,
) -> None:
    from mojoaccel.serve.kubernetes import Image, files, write_context

    if kind != "kserve":
        raise error("MA903", f"--emit is kserve, not {kind}")
    if options.api_keys or options.tls_cert or options.signature_key:
        hint = "mount the files as secrets, and add the option to the container's args"
        raise error("MA903", "key files do not go into an image", hint=hint)
    image = Image.of(options, reference, scaling.least, scaling.most)
    made = files(image)
    if place is not None:
        write_context(image, place)
    if console.json:
        console.document("deploy", {"ok": True, "image": image.reference, "files": made})
    elif place is not None:
        console.say(f"docker build -t {image.reference} {place}")
        console.say(f"kubectl apply -f {place / 'inferenceservice.yaml'}")
    else:
        for name, text in made.items():
            console.data(f"# {name}\n{text}")


def _run(console: Console, options: ServeOptions, *, once: bool) -> int:
    from mojoaccel.serve.server import run_server

    return run_server(options, lambda a: _announce(console, a), once=once)


def _run_on_ray(console: Console, options: ServeOptions, scaling: Scaling, *, once: bool) -> int:
    from mojoaccel.serve.ray_engine import run_on_ray

    if options.watch or options.metrics_port >= 0:
        given = "--watch" if options.watch else "--metrics-port"
        hint = "deploy again to change the models; Ray has metrics of its own"
        raise error("MA903", f"{given} does not go with --engine ray", hint=hint)
    return run_on_ray(options, scaling, lambda a: _announce(console, a), once=once)


def _announce(console: Console, address: Address) -> None:
    import json as text

    if console.json:
        content: dict[str, Any] = {
            "schema_version": 1,
            "command": "deploy",
            "ok": True,
            "url": address.url,
            "grpc": address.grpc,
            "models": list(address.models),
        }
        console.data(text.dumps(content))  # one line, for scripts that read lines
        return
    grpc = f", gRPC on {address.grpc}" if address.grpc else ""
    console.say(f"serving {', '.join(address.models)} on {address.url}{grpc}")
