"""``mojoaccel compile``: options in, stage lines and the artifact out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mojoaccel.cli.console import Console

if TYPE_CHECKING:
    from mojoaccel.driver import StageReport
    from mojoaccel.errors import Diagnostic
    from mojoaccel.job import Request
    from mojoaccel.settings import Model, Settings

EMIT_STAGE = {
    "graph": "trace",
    "plan": "optimize",
    "mojo": "emit",
    "llvm": "emit",
    "asm": "emit",
    "so": "build",
    "artifact": None,
}

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="file.py[:factory], a .pt2 or .onnx file, a Hugging Face folder, a name from "
        "mojoaccel.toml, or a saved graph.ir, plan.ir or model.mojo.",
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
        typer.Option(metavar="IN:AXIS=[K*]NAME[:MIN..MAX]", help="Declare a varying dim."),
    ] = None,
    ops: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE.py", help="Operators of your own (see README)."),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(metavar="mojo|max", help="What compiles it (default mojo).")
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
    check: Annotated[
        bool | None,
        typer.Option("--check", help="Say whether it can be compiled; list what cannot be."),
    ] = None,
    bisect: Annotated[
        bool | None,
        typer.Option("--bisect", help="Compare every value inside; name the first wrong one."),
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
    sign: Annotated[
        str | None, typer.Option(metavar="KEY.pem", help="Sign with this ed25519 key.")
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
    given["ops"] = tuple(ops) if ops else None
    prepare(model, given).run()


def prepare(model: str, given: dict[str, Any]) -> CompileRun:
    """Merge the command line with the configuration, and name the model.

    Raises:
        MojoaccelError: MA901 or MA903, a setting is wrong.
    """
    from mojoaccel.settings import load_settings, read_given

    settings = load_settings()
    named = settings.models.get(model)
    values = settings.values("compile", read_given("compile", given), named)
    return CompileRun(model, named, settings, values)


class CompileRun:
    """One invocation of ``compile``.

    Attributes:
        console: Where it reports.
        values: Merged settings.
    """

    def __init__(
        self, model: str, named: Model | None, settings: Settings, values: dict[str, Any]
    ) -> None:
        """Keep the merged settings."""
        self.model = named.source if named else model
        self.name = named.name if named else ""
        self.cache_limit = settings.values("cache", {})["size"]
        self.values = values
        self.console = Console(json=values["json"], verbose=values["verbose"])

    def request(self) -> Request:
        """Return the driver's request."""
        from pathlib import Path

        from mojoaccel.job import Request
        from mojoaccel.settings import compile_options

        values = self.values
        stop = values["stop-after"] or EMIT_STAGE[values["emit"]]
        if values["check"] or values["plan"]:
            stop = "optimize" if values["check"] else "emit"
        if values["engine"] != "mojo":
            stop = self._stop_of_engine(stop)
        temps = values["save-temps"]
        return Request(
            model=self.model,
            options=compile_options(values),
            name=self.name,
            stop_after=stop,
            save_temps=Path(temps) if temps else None,
            explain_cache=values["explain-cache"],
            mojo=values["mojo"],
            engine=values["engine"],
        )

    def _stop_of_engine(self, stop: str | None) -> str | None:
        """Return the last stage for another engine, which has no plan and no Mojo source.

        Raises:
            MojoaccelError: MA903, an option is about those.
        """
        from mojoaccel.errors import error

        values = self.values
        asked = [f"--{n}" for n in ("plan", "bisect", "ops") if values[n]]
        if values["emit"] not in ("graph", "artifact"):
            asked.append(f"--emit {values['emit']}")
        if asked:
            raise error("MA903", f"{asked[0]} does not go with --engine {values['engine']}")
        return "trace" if values["check"] else stop

    def run(self) -> None:
        """Compile, deliver and report."""
        from mojoaccel.cache import open_cache
        from mojoaccel.deliver import Delivery
        from mojoaccel.driver import Compiler

        warnings: list[Diagnostic] = []
        quiet = self.console.json
        cache = open_cache(self.cache_limit, warnings.append if quiet else self.console.diagnostic)
        delivery = Delivery(self.values)
        with self.console.working() as show:
            compiler = Compiler(cache, show, self.stage_line)
            report = compiler.compile(self.request(), delivery.receive)
        report.warnings[:0] = warnings
        if quiet:
            self.console.document("compile", delivery.document(report))
            return
        for warning in report.warnings[len(warnings) :]:
            self.console.diagnostic(warning)
        for line in delivery.summary(report):
            self.console.say(line)
        if delivery.text is not None:
            self.console.data(delivery.text)
        elif delivery.path is not None:
            self.console.data(str(delivery.path))

    def stage_line(self, row: StageReport) -> None:
        """Print one stage's line."""
        if self.console.json:
            return
        status = "" if row.status == "run" else row.status
        self.console.say(f"{row.name:<9}{row.seconds:8.2f} s  {status:<6}  {row.detail}".rstrip())
        for miss in row.misses:
            self.console.say(f"           not cached, {miss}")
