"""``mojoaccel bench``: an artifact, or a model compiled first, against its rivals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mojoaccel.cli.console import Console
from mojoaccel.errors import error

if TYPE_CHECKING:
    from pathlib import Path

    from mojoaccel.bench.api import BenchRequest
    from mojoaccel.bench.report import BenchReport
    from mojoaccel.errors import MojoaccelError

TOOLS = (
    *("what", "profile", "trace", "calibrate", "suite", "only", "warm_cache"),
    *("server", "clients", "rate", "shape", "wire", "api_key_file", "tls_ca"),
)
"""Parameters that choose another measurement, or belong to one."""
COMPILE_OPTIONS = (
    *("optimization", "dtype", "dynamic", "target", "engine", "mojo", "verbose", "json"),
)


def bench_command(
    what: Annotated[
        str,
        typer.Argument(
            metavar="ARTIFACT|MODEL",
            help="A model.maccel; or anything compile takes, which is compiled first.",
        ),
    ] = "",
    vs: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="Rivals: eager, compile, aotinductor, onnxruntime, openvino, max, or none "
            "(default eager, where the model is known).",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The PyTorch model of an artifact.")
    ] = None,
    at: Annotated[
        list[str] | None, typer.Option(metavar="DIM=SIZE", help="Size of a varying dim.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=0, help="Threads of every runner; 0 is one per core.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Counted time per runner (default 5).")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=0, help="Turns of each runner; 0 chooses.")
    ] = None,
    optimization: Annotated[
        str | None, typer.Option("-O", metavar="0..3", help="Compile a MODEL at this level.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(metavar="f32|bf16", help="Compute type of a MODEL.")
    ] = None,
    dynamic: Annotated[
        list[str] | None,
        typer.Option(metavar="IN:AXIS=[K*]NAME[:MIN..MAX]", help="Declare a MODEL's varying dim."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Target to compile a MODEL for.")] = None,
    engine: Annotated[
        str | None, typer.Option(metavar="mojo|max", help="What compiles a MODEL (default mojo).")
    ] = None,
    mojo: Annotated[
        str | None, typer.Option(metavar="PATH", help="The compiler to use for a MODEL.")
    ] = None,
    fail_under: Annotated[
        float | None,
        typer.Option(metavar="RATIO", help="Exit 5 unless so many times as fast as the best."),
    ] = None,
    save: Annotated[
        str | None, typer.Option(metavar="NAME", help="Store the result under a name or path.")
    ] = None,
    compare: Annotated[
        str | None, typer.Option(metavar="NAME", help="Compare with a stored result.")
    ] = None,
    csv: Annotated[str | None, typer.Option(metavar="FILE", help="Write CSV; - is stdout.")] = None,
    markdown: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write Markdown; - is stdout.")
    ] = None,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write one page with plots; - is stdout.")
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Time each fused group of MODEL against the roof.")
    ] = False,
    trace: Annotated[
        str, typer.Option(metavar="FILE", help="With --profile: write a Chrome/Perfetto trace.")
    ] = "",
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure what the machine can do at most; kept.")
    ] = False,
    suite: Annotated[
        str, typer.Option(metavar="FILE", help="Compile and measure every model of a suite file.")
    ] = "",
    only: Annotated[
        str, typer.Option(metavar="NAME,...", help="With --suite: only these models.")
    ] = "",
    warm_cache: Annotated[
        bool, typer.Option("--warm-cache", help="With --suite: reuse what was compiled before.")
    ] = False,
    server: Annotated[
        str,
        typer.Option(
            metavar="URL", help="Put a server under load; the argument is its model's name."
        ),
    ] = "",
    clients: Annotated[
        str | None,
        typer.Option(metavar="N,...", help="With --server: clients of a closed loop (1,8,32)."),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(metavar="R,...", help="With --server: Poisson arrivals a second, open loop."),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="IN=1x128", help="With --server: shape of an input."),
    ] = None,
    wire: Annotated[
        str, typer.Option(metavar="binary|json", help="With --server: how tensors are sent.")
    ] = "binary",
    api_key_file: Annotated[
        str, typer.Option(metavar="FILE", help="With --server: its first key is sent.")
    ] = "",
    tls_ca: Annotated[
        str, typer.Option(metavar="FILE", help="With --server: certificates to trust.")
    ] = "",
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show commands, tracebacks.")
    ] = False,
) -> None:
    """Time ARTIFACT or MODEL against PyTorch and others, each in a process of its own."""
    given = {k.replace("_", "-"): v for k, v in locals().items() if k not in TOOLS}
    given["at"] = tuple(at) if at else None
    given["dynamic"] = tuple(dynamic) if dynamic else None
    if calibrate:
        from mojoaccel.cli.profile import calibrate_command

        calibrate_command(Console(json=json, verbose=verbose), threads or 0)
        return
    if server:
        from mojoaccel.cli.load import LoadRequest, load_command

        asked = LoadRequest(
            server, what, clients, rate, tuple(shape or ()), wire, api_key_file, tls_ca
        )
        run = BenchRun(what, given)
        load_command(run.console, asked, run.values)
        return
    if not what and not suite:
        raise error("MA903", "bench needs an artifact, a model, --suite or --server")
    run = BenchRun(what, given)
    if suite:
        from mojoaccel.cli.suite import suite_command

        chosen = tuple(filter(None, only.split(",")))
        suite_command(run.console, suite, chosen, run.values, {**given, "fresh": not warm_cache})
        return
    if profile:
        from pathlib import Path

        from mojoaccel.cli.profile import profile_command
        from mojoaccel.placing import check_file

        if trace:
            check_file(Path(trace))
        options = {k: given[k] for k in COMPILE_OPTIONS}
        profile_command(run.console, what, run.values, options, trace)
        return
    run.run()


class BenchRun:
    """One invocation of ``bench``."""

    def __init__(self, what: str, given: dict[str, Any]) -> None:
        """Merge the settings; try the places of the reports."""
        from pathlib import Path

        from mojoaccel.placing import check_file
        from mojoaccel.settings import load_settings, read_given

        self.what = what
        self.given = given
        self.values = load_settings().values("bench", read_given("bench", given))
        self.console = Console(json=given["json"], verbose=given["verbose"])
        places = {k: self.values[k] for k in ("csv", "markdown", "html") if self.values[k]}
        self.to_stdout = [k for k, place in places.items() if place == "-"]
        for key, place in places.items():
            if key not in self.to_stdout:
                check_file(Path(place))

    def run(self) -> None:
        """Compile if need be, measure, report, judge."""
        import tempfile
        from pathlib import Path

        from mojoaccel.bench.api import bench
        from mojoaccel.bench.store import load_report

        stored = load_report(self.values["compare"]) if self.values["compare"] else None
        with tempfile.TemporaryDirectory(prefix="mojoaccel-") as name:
            request = self._request(Path(name))
            with self.console.working() as show:
                report = bench(request, show)
        self._report(report, stored)

    def _request(self, folder: Path) -> BenchRequest:
        from dataclasses import replace
        from pathlib import Path

        from mojoaccel.bench.api import BenchRequest, check_rivals, is_artifact
        from mojoaccel.bench.workloads import ModelSource, parse_sizes

        values = self.values
        compiled = is_artifact(Path(self.what))
        has_model = bool(values["model"]) or not compiled
        rivals = values["vs"]
        if rivals is None:
            rivals = ("eager",) if has_model else ()
        rivals = tuple(dict.fromkeys(r for r in rivals if r != "none"))
        check_rivals(rivals, has_model)  # before a compile that may take a while
        sizes = parse_sizes(values["at"])
        if compiled:
            source = ModelSource(values["model"]) if values["model"] else None
            request = BenchRequest(Path(self.what), source)
        else:
            request = self._compiled(folder / "model.maccel")
        return replace(
            request,
            rivals=rivals,
            sizes=sizes,
            threads=values["threads"],
            seconds=values["seconds"],
            rounds=values["rounds"],
        )

    def _compiled(self, place: Path) -> BenchRequest:
        """Compile the model to `place`; its stages are reported as ``compile`` does."""
        from mojoaccel.bench.api import BenchRequest
        from mojoaccel.bench.workloads import ModelSource
        from mojoaccel.cache import open_cache
        from mojoaccel.cli.compile import prepare
        from mojoaccel.deliver import Delivery
        from mojoaccel.driver import Compiler

        run = prepare(self.what, {k: self.given[k] for k in COMPILE_OPTIONS})
        run.values.update({"output": str(place), "emit": "artifact", "stop-after": None})
        cache = open_cache(run.cache_limit, self.console.diagnostic)
        with self.console.working() as show:
            compiler = Compiler(cache, show, run.stage_line)
            report = compiler.compile(run.request(), Delivery(run.values).receive)
        source = ModelSource(
            run.model, dtype=run.values["dtype"], dynamic=tuple(run.values["dynamic"])
        )
        return BenchRequest(
            place,
            source,
            stages={s.name: s.seconds for s in report.stages},
            cached=tuple(s.name for s in report.stages if s.status == "cached"),
        )

    def _report(self, report: BenchReport, stored: BenchReport | None) -> None:
        from mojoaccel.bench.api import accuracy_failure
        from mojoaccel.bench.store import compare_reports, judge_speed, save_report

        content: dict[str, Any] = {**report.to_json(), "comparison": None}
        if stored is not None:
            changes, differences = compare_reports(stored, report)
            content["comparison"] = {
                "with": self.values["compare"],
                "runners": changes,
                "differences": differences,
            }
        if self.values["save"]:
            content["saved"] = str(save_report(report, self.values["save"]))
        self._write_files(report)
        failure = accuracy_failure(report)
        if failure is None and self.values["fail-under"] is not None:
            failure = judge_speed(report, self.values["fail-under"], stored)
        if self.console.json:
            self._document(content, failure)
        elif not self.to_stdout:
            self._tables(report, content)
        if failure is not None:
            raise failure

    def _document(self, content: dict[str, Any], failure: MojoaccelError | None) -> None:
        from dataclasses import asdict

        if content["comparison"] is not None:
            comparison = content["comparison"]
            comparison["runners"] = [asdict(c) for c in comparison["runners"]]
        if failure is None:
            self.console.document("bench", {"ok": True, **content})
        else:
            failure.details.update(content)  # the error's own document carries the figures

    def _tables(self, report: BenchReport, content: dict[str, Any]) -> None:
        from mojoaccel.bench.report import ALIGN, HEADER, footnotes, heading, rows
        from mojoaccel.bench.store import CHANGE_ALIGN, CHANGE_HEADER, change_rows

        self.console.say(heading(report))
        self.console.table(HEADER, rows(report), ALIGN)
        for note in footnotes(report):
            self.console.say(note, "dim")
        comparison = content["comparison"]
        if comparison is not None:
            self.console.say(f"\nagainst {comparison['with']}")
            self.console.table(CHANGE_HEADER, change_rows(comparison["runners"]), CHANGE_ALIGN)
            for note in comparison["differences"]:
                self.console.say(note, "dim")
        if "saved" in content:
            self.console.say(f"saved as {content['saved']}")

    def _write_files(self, report: BenchReport) -> None:
        from pathlib import Path

        from mojoaccel.bench.page import to_html
        from mojoaccel.bench.report import to_csv, to_markdown
        from mojoaccel.placing import write_text

        for key, make in (("csv", to_csv), ("markdown", to_markdown), ("html", to_html)):
            place = self.values[key]
            if place == "-":
                self.console.data(make(report))
            elif place:
                write_text(Path(place), make(report))
