"""``mojoaccel compile``: options in, stage lines and the artifact out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mojoaccel.cli.console import Console

if TYPE_CHECKING:

    from mojoaccel.driver import Request
    from mojoaccel.settings import Model, Settings

Text = Annotated[str | None, typer.Option()]
ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="file.py[:factory], a .pt2 file, a Hugging Face folder, a name from mojoaccel.toml, "
        "or a saved graph.ir, plan.ir or model.mojo.",
    ),
]


def compile_command(
    model: ModelArgument,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Where the result goes.")
    ] = None,
    optimization: Annotated[
        str | None, typer.Option("-O", metavar="0..3", help="Optimization level (default 2).")
    ] = None,
    dtype: Annotated[str | None, typer.Option(metavar="f32|bf16", help="Compute type.")] = None,
    dynamic: Annotated[
        list[str] | None,
        typer.Option(metavar="IN:AXIS=NAME[:MIN..MAX]", help="Declare a varying dim."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="cpu, cpu:<triple>+<cpu>[+feature|-feature]..., reference or null."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=0, help="Default threads; 0 is chosen at load.")
    ] = None,
    emit: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="graph, plan, mojo, llvm, asm, so or artifact."),
    ] = None,
    stop_after: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Last stage to run.")
    ] = None,
    save_temps: Annotated[
        str | None, typer.Option(metavar="DIR", help="Keep every stage's product here.")
    ] = None,
    depfile: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the sources as a make rule.")
    ] = None,
    plan: Annotated[
        bool | None, typer.Option("--plan", help="Print groups and commands; build nothing.")
    ] = None,
    explain_cache: Annotated[
        bool | None, typer.Option("--explain-cache", help="Say why a stage was not cached.")
    ] = None,
    verify: Annotated[
        bool | None, typer.Option("--verify/--no-verify", help="Compare with PyTorch.")
    ] = None,
    archive: Annotated[
        bool | None, typer.Option("--archive/--no-archive", help="Write one zip file.")
    ] = None,
    fp_mode: Annotated[
        str | None, typer.Option(metavar="fast|off", help="Contraction of a*b+c.")
    ] = None,
    build_timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Time limit of the compiler.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=0, help="Compiler threads.")] = None,
    mojo: Annotated[str | None, typer.Option(metavar="PATH", help="The compiler to use.")] = None,
    json: Annotated[
        bool | None, typer.Option("--json", help="Print one JSON document on stdout.")
    ] = None,
    verbose: Annotated[
        bool | None, typer.Option("--verbose", "-v", help="Show commands and tracebacks.")
    ] = None,
) -> None:
    """Compile MODEL, check it against PyTorch and write the artifact."""
    given = {k.replace("_", "-"): v for k, v in locals().items() if k != "model"}
    given["dynamic"] = tuple(dynamic) if dynamic else None
    request = prepare(model, given)
    request.run()


def prepare(model: str, given: dict[str, Any]) -> CompileRun:
    """Merge the command line with the configuration, and name the model.

    Raises:
        MojoaccelError: MA901 or MA903, a setting is wrong.
    """
    from mojoaccel.errors import error
    from mojoaccel.settings import TABLES, load_settings, read_value

    for setting in TABLES["compile"]:
        value = given.get(setting.key)
        if value is None:
            continue
        try:
            given[setting.key] = read_value(setting, value)
        except ValueError as e:
            option = "-O" if setting.key == "optimization" else f"--{setting.key}"
            raise error("MA903", f"{option} {value!r} is not {e}") from e
    settings = load_settings()
    named = settings.models.get(model)
    return CompileRun(model, named, settings, settings.values("compile", given, named))


class CompileRun:
    """One invocation of ``compile``."""

    def __init__(
        self, model: str, named: Model | None, settings: Settings, values: dict[str, Any]
    ) -> None:
        """Keep the merged settings."""
        self.model = model
        self.named = named
        self.settings = settings
        self.values = values
        self.console = Console(json=values["json"], verbose=values["verbose"])

    def request(self) -> Request:
        """Return the driver's request."""
        from pathlib import Path

        from mojoaccel.driver import Request
        from mojoaccel.settings import compile_options

        values = self.values
        stop = values["stop-after"]
        if values["plan"]:
            stop = "emit"
        last = {"graph": "trace", "plan": "optimize", "mojo": "emit", "so": "build"}
        stop = stop or last.get(values["emit"])
        if values["emit"] in ("llvm", "asm"):
            stop = "emit"
        return Request(
            model=self.named.source if self.named else self.model,
            options=compile_options(values),
            name=self.named.name if self.named else "",
            stop_after=stop,
            save_temps=Path(values["save-temps"]) if values["save-temps"] else None,
            explain_cache=values["explain-cache"],
            mojo=values["mojo"],
        )

    def run(self) -> None:
        """Compile, deliver and report."""
        from mojoaccel.cache import open_cache
        from mojoaccel.deliver import Delivery
        from mojoaccel.driver import Compiler

        limit = self.settings.values("cache", {})["size"]
        warnings: list[Any] = []
        cache = open_cache(limit, warnings.append if self.console.json else self.console.diagnostic)
        compiler = Compiler(cache, self.console.progress, self.stage_line)
        delivery = Delivery(self.values)
        with self.console.spinner():
            report = compiler.compile(self.request(), delivery)
        report.warnings += warnings
        self.report(report, delivery)
