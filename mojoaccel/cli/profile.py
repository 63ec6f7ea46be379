"""``mojoaccel bench --profile`` and ``--calibrate``: groups against the machine's roof."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mojoaccel.cli.console import Console

if TYPE_CHECKING:
    from mojoaccel.bench.profile import GroupTime, Profile

HEADER = ("group", "kernel", "time", "share", "GFLOP/s", "GB/s", "roof", "source")
ALIGN = "llrrrrrl"


def calibrate_command(console: Console, threads: int) -> None:
    """Measure the roof anew and print it."""
    from dataclasses import asdict

    from mojoaccel.artifact.host import usable_processors
    from mojoaccel.bench.calibration import calibrate

    with console.working() as show:
        show("measuring the machine")
        roof = calibrate(threads or usable_processors(), fresh=True)
    if console.json:
        console.document("bench", {"ok": True, "roof": asdict(roof)})
        return
    console.data(f"threads            {roof.threads}")
    console.data(f"float32            {roof.flops / 1e9:.0f} GFLOP/s")
    bf16 = "unknown" if roof.bf16_flops is None else f"{roof.bf16_flops / 1e9:.0f} GFLOP/s"
    cache = "unknown" if roof.cache_bandwidth is None else f"{roof.cache_bandwidth / 1e9:.1f} GB/s"
    console.data(f"bfloat16           {bf16}")
    console.data(f"reading memory     {roof.bandwidth / 1e9:.1f} GB/s")
    console.data(f"reading a cache    {cache}")


def profile_command(
    console: Console, model: str, values: Mapping[str, Any], given: Mapping[str, Any], trace: str
) -> None:
    """Profile a model and print one line per group.

    Args:
        console: Where to.
        model: What `compile` takes.
        values: The settings of ``bench``.
        given: The options of ``compile`` that were given.
        trace: File for a Chrome trace; none if empty.
    """
    from pathlib import Path

    from mojoaccel.bench.profile import profile_model
    from mojoaccel.cache import open_cache
    from mojoaccel.cli.compile import prepare
    from mojoaccel.errors import error
    from mojoaccel.placing import write_text

    run = prepare(model, dict(given))
    if run.values["engine"] != "mojo":
        raise error("MA903", f"--profile does not go with --engine {run.values['engine']}")
    run.values["threads"] = values["threads"]
    cache = open_cache(run.cache_limit, console.diagnostic)
    with console.working() as show:
        show("building and running")
        found = profile_model(run.request(), cache, values["seconds"])
    if trace:
        write_text(Path(trace), found.to_trace() + "\n")
    if console.json:
        console.document("bench", {"ok": True, "profile": found.to_json()})
        return
    console.say(heading(found))
    console.table(HEADER, [row(g, found) for g in found.groups], ALIGN)


def heading(found: Profile) -> str:
    """Return what was measured, where, in one line."""
    sizes = ", ".join(f"{k}={v}" for k, v in found.sizes.items())
    roof = f"{found.machine.flops / 1e9:.0f} GFLOP/s, {found.machine.bandwidth / 1e9:.1f} GB/s"
    return (
        f"{found.model}{f' at {sizes}' if sizes else ''}: {found.seconds * 1e3:.3f} ms in "
        f"{len(found.groups)} groups, medians of {found.runs} runs, {found.threads} threads; "
        f"roof {roof}"
    )


def row(group: GroupTime, found: Profile) -> tuple[str, ...]:
    """Return one group as cells; what is unknown is a dash."""
    rate = "-" if group.flops is None else f"{group.flops / group.seconds / 1e9:.1f}"
    return (
        group.name,
        group.kernel,
        f"{group.seconds * 1e6:.1f} us",
        f"{group.seconds / found.seconds:.1%}",
        rate,
        f"{group.bytes / group.seconds / 1e9:.1f}",
        "-" if group.roof is None else f"{group.roof:.0%}",
        group.location,
    )
