"""``mojoaccel bench --suite FILE``: every model of a file against its rivals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mojoaccel.cli.console import Console


def suite_command(
    console: Console,
    file: str,
    only: Sequence[str],
    values: Mapping[str, Any],
    given: Mapping[str, Any],
) -> None:
    """Measure, write the files asked for and print the tables.

    Args:
        console: Where to.
        file: The suite file.
        only: Names of models; all of them if empty.
        values: The settings of ``bench``.
        given: The options of ``bench`` as they were given.
    """
    from pathlib import Path

    from mojoaccel.bench.suite import SuiteOptions, run_suite
    from mojoaccel.bench.suite_report import AROUND, Suite, to_html, to_markdown
    from mojoaccel.placing import write_text

    rivals = ("eager",) if values["vs"] is None else tuple(values["vs"])
    options = SuiteOptions(
        file,
        tuple(only),
        tuple(dict.fromkeys(r for r in rivals if r != "none")),
        threads=values["threads"],
        seconds=values["seconds"],
        rounds=values["rounds"],
        optimization=int(given["optimization"] or 2),
        dtype=given["dtype"] or "f32",
        fresh=given["fresh"],
    )
    with console.working() as show:
        records = run_suite(options, show)
    to_stdout = False
    for key, make in (("markdown", to_markdown), ("html", to_html)):
        if values[key] == "-":
            to_stdout = True
            console.data(make(records))
        elif values[key]:
            write_text(Path(values[key]), make(records))
    if console.json:
        console.document("bench", {"ok": True, "suite": records})
    elif not to_stdout:
        suite = Suite(records)
        header = suite.header()
        console.table(header, suite.rows(), "l" + "r" * (len(header) - 1))
        console.table(AROUND, suite.around(), "lrrrr")
        for note in suite.notes():
            console.say(note, "dim")
