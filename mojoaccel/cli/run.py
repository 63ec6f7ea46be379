"""``mojoaccel run``: one call of an artifact from the command line."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mojoaccel.cli.console import Console


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
    engine: Annotated[
        str | None, typer.Option(metavar="mojo|max", help="Refuse an artifact of another engine.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show commands, tracebacks.")
    ] = False,
) -> None:
    """Run ARTIFACT once, or repeat its verification. PyTorch is not needed."""
    from mojoaccel.loading import require_engine
    from mojoaccel.settings import load_settings, read_given

    given: dict[str, Any] = {"random": random, "output": output, "verify": verify}
    given |= {"threads": threads, "input": input, "engine": engine}
    values = load_settings().values("run", read_given("run", given))
    console = Console(json=json, verbose=verbose)
    require_engine(artifact, values["engine"])
    if values["verify"]:
        _verify(console, artifact, values)
    else:
        _run(console, artifact, values)


def _run(console: Console, artifact: str, values: dict[str, Any]) -> None:
    import time

    from mojoaccel.artifact.manifest import TensorSpec
    from mojoaccel.errors import error
    from mojoaccel.loading import load
    from mojoaccel.runtime.check import random_inputs

    with load(artifact, values["threads"]) as session:
        specs: tuple[TensorSpec, ...] = session.manifest.inputs
        given = read_inputs(values["input"] or [], [s.name for s in specs])
        missing = [s.name for s in specs if s.name not in given]
        if missing and not values["random"]:
            hint = f"give --input {missing[0]}=FILE.npy, or --random"
            raise error("MA702", f"no value for input {', '.join(missing)}", hint=hint)
        inputs = random_inputs(session.path, session.manifest, given)
        began = time.perf_counter()
        results = session.run_flat(inputs)
        seconds = time.perf_counter() - began
        named = dict(zip((t.name for t in session.manifest.outputs), results, strict=True))
    if values["output"]:
        write_outputs(values["output"], named)
    rows = [[n, str(a.dtype), str(list(a.shape)), *_range(a)] for n, a in named.items()]
    if console.json:
        keys = ("name", "dtype", "shape", "min", "max")
        outputs = [dict(zip(keys, row, strict=True)) for row in rows]
        content = {"ok": True, "seconds": seconds, "outputs": outputs, "output": values["output"]}
        console.document("run", content)
        return
    console.table(["output", "dtype", "shape", "min", "max"], rows)
    console.say(f"one run, {seconds * 1e3:.3f} ms")


def read_inputs(texts: list[str], names: list[str]) -> dict[str, Any]:
    """Read ``name=file.npy`` arguments; ``file.npz`` alone gives several inputs.

    Raises:
        MojoaccelError: MA702, a file cannot be read or names no input.
    """
    import numpy as np

    from mojoaccel.errors import error

    found: dict[str, Any] = {}
    for text in texts:
        name, equals, file = text.partition("=")
        try:
            loaded = np.load(file if equals else text, allow_pickle=False)
        except (OSError, ValueError) as e:
            raise error("MA702", f"{file or text} cannot be read: {e}") from e
        found.update({name: loaded} if equals else dict(loaded.items()))
    unknown = [n for n in found if n not in names]
    if unknown:
        raise error(
            "MA702", f"no input is called {unknown[0]}", notes=[f"inputs: {', '.join(names)}"]
        )
    return found


def write_outputs(file: str, arrays: dict[str, Any]) -> None:
    """Write outputs as a .npz: whole or not at all.

    Raises:
        MojoaccelError: MA603, it cannot be written.
    """
    import os
    from pathlib import Path

    import numpy as np

    from mojoaccel.errors import error

    path = Path(file)
    draft = path.with_name(f".{path.name}-{os.getpid()}.npz")
    try:
        np.savez(draft, **arrays)
        os.replace(draft, path)
    except OSError as e:
        draft.unlink(missing_ok=True)
        raise error("MA603", f"{path} cannot be written: {e.strerror or e}") from e


def _range(array: Any) -> list[str]:
    if not array.size:
        return ["-", "-"]
    return [f"{array.min():.6g}", f"{array.max():.6g}"]


def _verify(console: Console, artifact: str, values: dict[str, Any]) -> None:
    from dataclasses import asdict

    from mojoaccel.errors import error
    from mojoaccel.loading import load
    from mojoaccel.runtime.check import verify_check

    with load(artifact, values["threads"]) as session:
        rows = verify_check(session)
    bad = [r for r in rows if not r.ok]
    if console.json:
        console.document("run", {"ok": not bad, "check": [asdict(r) for r in rows]})
    else:
        table = [
            [
                r.output,
                ", ".join(f"{k}={v}" for k, v in r.sizes.items()) or "-",
                f"{r.error:.3g}",
                f"{r.allowed:.3g}",
                "ok" if r.ok else "FAILED",
            ]
            for r in rows
        ]
        console.table(["output", "sizes", "error", "allowed", ""], table)
    if bad:
        raise error("MA602", f"{len(bad)} of {len(rows)} outputs are not what they should be")
