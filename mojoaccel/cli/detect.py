"""``mojoaccel detect``: the machine, and what would be compiled for it."""

from __future__ import annotations

from typing import Annotated

import typer

from mojoaccel.cli.console import Console, format_bytes


def detect_command(
    target: Annotated[str, typer.Option(help="Describe this target; cpu is this machine.")] = "cpu",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show the machine as mojoaccel sees it, and the target string for it."""
    from dataclasses import asdict

    from mojoaccel.targets.probe import detect

    console = Console(json=json)
    with console.working() as show:
        show("looking at the machine")
        found = detect(target)
    if json:
        console.document("detect", {"target": asdict(found), "string": str(found)})
        return
    rows = [
        ("target", str(found)),
        ("processor", found.cpu or "unknown"),
        ("vector registers", f"{8 * found.simd_bytes} bit"),
        ("usable cores", str(found.cores) if found.cores else "unknown"),
    ]
    for name, size in (("L1d", found.l1d_bytes), ("L2", found.l2_bytes), ("L3", found.l3_bytes)):
        rows.append((f"{name} cache", format_bytes(size) if size else "unknown"))
    width = max(len(name) for name, _ in rows)
    console.data("\n".join(f"{name:<{width}}  {value}" for name, value in rows))
