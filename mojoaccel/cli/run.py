"""``mojoaccel run``: one call of an artifact from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mojoaccel.cli.console import Console

if TYPE_CHECKING:
    pass


def run_command(
    artifact: Annotated[str, typer.Argument(metavar="ARTIFACT", help="A model.maccel.")],
    input: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE.npy", help="An input; a .npz file gives several."),
    ] = None,
    random: Annotated[
        bool | None, typer.Option("--random", help="Random values for the inputs not given.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE.npz", help="Keep the outputs.")
    ] = None,
    verify: Annotated[
        bool | None,
        typer.Option("--verify", help="Repeat the check that the artifact carries."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads to use.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show tracebacks.")] = False,
) -> None:
    """Run ARTIFACT once, or repeat its verification. PyTorch is not needed."""
    from mojoaccel.settings import load_settings, read_given

    given = {"random": random, "output": output, "verify": verify, "threads": threads}
    given["input"] = input
    values = load_settings().values("run", read_given("run", given))
    console = Console(json=json, verbose=verbose)
    if values["verify"]:
        _verify(console, artifact, values)
    else:
        _run(console, artifact, values)


def _run(console: Console, artifact: str, values: dict[str, Any]) -> None:
    raise AssertionError


def _verify(console: Console, artifact: str, values: dict[str, Any]) -> None:
    raise AssertionError
