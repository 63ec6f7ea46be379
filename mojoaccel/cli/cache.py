"""``mojoaccel cache``: how much is kept, and removing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mojoaccel.cli.console import Console, format_bytes

if TYPE_CHECKING:
    from mojoaccel.cache import Cache

app = typer.Typer(help="Show or empty the cache of stage products.", no_args_is_help=False)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def _open(console: Console) -> Cache:
    from mojoaccel.cache import open_cache
    from mojoaccel.settings import load_settings

    return open_cache(load_settings().values("cache", {})["size"], console.diagnostic)


@app.callback(invoke_without_command=True)
def _default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        size(json=False)


@app.command()
def size(json: Json = False) -> None:
    """Show entries and bytes of each stage."""
    console = Console(json=json)
    cache = _open(console)
    usage = cache.usage()
    total = sum(u.size for u in usage.values())
    if json:
        buckets = {n: {"entries": u.entries, "bytes": u.size} for n, u in usage.items()}
        content = {"folder": str(cache.root), "limit": cache.limit, "bytes": total}
        console.document("cache size", {**content, "buckets": buckets})
        return
    rows = [(name, str(u.entries), format_bytes(u.size)) for name, u in usage.items()]
    rows.append(("total", str(sum(u.entries for u in usage.values())), format_bytes(total)))
    console.table(("stage", "entries", "size"), rows, "lrr")
    console.say(f"{cache.root} (limit {format_bytes(cache.limit)})")


@app.command()
def clear(json: Json = False) -> None:
    """Remove every entry."""
    _remove("clear", json, 0)


@app.command()
def prune(
    size: Annotated[
        str | None, typer.Option(help="Bytes to keep, such as 2GB; the configured limit if unset.")
    ] = None,
    json: Json = False,
) -> None:
    """Remove the least recently used entries until the cache fits its limit."""
    from mojoaccel.errors import error
    from mojoaccel.settings import TABLES, read_value

    limit = None
    if size is not None:
        setting = next(s for s in TABLES["cache"] if s.key == "size")
        try:
            limit = int(read_value(setting, size))
        except ValueError as e:
            raise error("MA903", f"--size {size!r} is not {e}") from e
    _remove("prune", json, limit)


def _remove(command: str, json: bool, limit: int | None) -> None:
    from mojoaccel.errors import error

    console = Console(json=json)
    cache = _open(console)
    try:
        freed = cache.prune(cache.limit if limit is None else limit)
    except OSError as e:
        raise error("MA902", f"the cache {cache.root} cannot be written: {e.strerror}") from e
    if json:
        console.document(f"cache {command}", {"folder": str(cache.root), "freed_bytes": freed})
    else:
        console.say(f"freed {format_bytes(freed)}")
