"""``mojoaccel bench --server URL``: a server under load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mojoaccel.errors import error

if TYPE_CHECKING:
    from mojoaccel.bench.load_report import LoadReport
    from mojoaccel.cli.console import Console


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """What ``bench --server`` was asked for, as it was given.

    Attributes:
        server: The server's address.
        model: Name of the model there; empty for the only one.
        clients: Levels of the closed loop, ``1,8,32``.
        rates: Levels of the open loop, ``100,500``.
        shapes: ``input=1x128``.
        wire: ``binary`` or ``json``.
        key_file: File whose first API key is sent; empty for none.
        authority: File of certificates to trust; empty for the system's.
    """

    server: str
    model: str = ""
    clients: str | None = None
    rates: str | None = None
    shapes: Sequence[str] = ()
    wire: str = "binary"
    key_file: str = ""
    authority: str = ""


def load_command(console: Console, request: LoadRequest, values: dict[str, Any]) -> None:
    """Measure, write the files asked for and print the table.

    Args:
        console: Where to.
        request: What was asked for.
        values: The settings of ``bench``: seconds, csv, markdown, html.
    """
    from pathlib import Path

    from mojoaccel.bench.load_report import (
        ALIGN,
        HEADER,
        rows,
        to_csv,
        to_html,
        to_markdown,
    )
    from mojoaccel.placing import write_text

    require_client()
    import uvloop

    with console.working() as show:
        report = uvloop.run(_measure(request, values["seconds"], show))
    to_stdout = False
    for key, make in (("csv", to_csv), ("markdown", to_markdown), ("html", to_html)):
        if values[key] == "-":
            to_stdout = True
            console.data(make(report))
        elif values[key]:
            write_text(Path(values[key]), make(report))
    if console.json:
        console.document("bench", {"ok": True, "load": report.to_json()})
    elif not to_stdout:
        console.say(report.heading())
        console.table(HEADER, rows(report), ALIGN)
        for note in report.notes():
            console.say(note, "dim")


def require_client() -> None:
    """Say that the extra is missing.

    Raises:
        MojoaccelError: MA209.
    """
    import importlib.util

    missing = [n for n in ("httptools", "uvloop") if importlib.util.find_spec(n) is None]
    if missing:
        hint = "pip install 'mojoaccel[serve]'"
        raise error("MA209", f"bench --server needs {' and '.join(missing)}", hint=hint)


async def _measure(request: LoadRequest, seconds: float, show: Any) -> LoadReport:
    from pathlib import Path

    from mojoaccel.bench.load import LoadOptions, measure
    from mojoaccel.bench.load_report import LoadReport
    from mojoaccel.bench.machine import describe_machine
    from mojoaccel.bench.wire import Place, fetch, prepare
    from mojoaccel.cli.deploy import read_keys

    if request.wire not in ("binary", "json"):
        raise error("MA903", f"--wire is binary or json, not {request.wire}")
    if not seconds > 0:
        raise error("MA903", f"--seconds must be positive, not {seconds:g}")
    rates = numbers(request.rates or "", "--rate")
    clients = numbers(request.clients or ("" if rates else "1,8,32"), "--clients")
    shapes = dict(parse_shape(s) for s in request.shapes)
    key = read_keys(Path(request.key_file))[0].decode() if request.key_file else ""
    place = Place.of(request.server, key, request.authority)
    about = await fetch(place, "/v2")
    question = await prepare(place, request.model, shapes, binary=request.wire == "binary")
    options = LoadOptions([int(c) for c in clients], rates, seconds)
    levels = await measure(place, question, options, show)
    return LoadReport(
        request.server,
        f"{about.get('name', 'unknown')} {about.get('version', '')}".rstrip(),
        question.model,
        question.version,
        question.inputs,
        request.wire,
        len(question.message),
        describe_machine(),
        levels,
    )


def numbers(text: str, option: str) -> list[float]:
    """Return a list of positive numbers, ``1,8,32``.

    Raises:
        MojoaccelError: MA903.
    """
    try:
        found = [float(part) for part in text.split(",") if part]
    except ValueError as e:
        raise error("MA903", f"{option} takes numbers, not {text}") from e
    if any(not 0 < n < 1e6 for n in found) or (
        option == "--clients" and any(n != int(n) for n in found)
    ):
        raise error("MA903", f"{option} takes positive numbers, not {text}")
    return found


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Return the input's name and the shape of ``ids=1x128``.

    Raises:
        MojoaccelError: MA903.
    """
    name, _, sizes = text.partition("=")
    parts = sizes.split("x")
    if not name or not all(p.isdecimal() for p in parts):
        raise error("MA903", f"--shape takes INPUT=1x128, not {text}")
    return name, tuple(map(int, parts))
