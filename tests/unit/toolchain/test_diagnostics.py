"""Recorded output of Mojo 1.2.0, mapped to PyTorch lines."""

import json

from mojoaccel.cli.console import diagnostic_lines
from mojoaccel.toolchain.diagnostics import build_error, failures, parse, reason


def message(kind, text, line, code, file="/tmp/x/model.mojo"):
    place = {"file": file, "fixIts": [], "location": {"column": 3, "line": line}}
    return json.dumps(
        {"diagnostic": {**place, "ranges": [], "text": code}, "kind": kind, "message": text}
    )


SUMMARY = '{"kind":"error","message":"failed to run the pass manager"}'
ELABORATION = "\n".join(
    [
        "Failed to initialize Crashpad.  Crash reporting will not be available.",
        message("warning", "ref 'i' was never used, remove it?", 2, "    for i in range(3):"),
        message("error", "function instantiation failed", 1, "def run(x: Float32):"),
        message("note", 'call expansion failed with parameter value(s): ("w": 1)', 5, "  f[1](x)"),
        message("note", "function instantiation failed", 4, "def f[w: Int]():", "/k/row.mojo"),
        message("note", "constraint failed: w must be above 4", 9, "  comptime", "/k/row.mojo"),
        SUMMARY,
    ]
)
PARSE = "\n".join(
    [
        message("error", "use of unknown declaration 'y'", 4, "    return y + z"),
        message("error", "use of unknown declaration 'z'", 4, "    return y + z"),
        '{"kind":"error","message":"failed to parse the provided Mojo source module"}',
    ]
)


def test_reason_of_a_failed_elaboration_is_its_last_note(source):
    found = build_error(source(), ELABORATION, ["the end"]).diagnostics[0]
    assert diagnostic_lines(found) == [
        "error[MA501] build-failed: mojo build failed: constraint failed: w must be above 4",
        "  --> net.py:9",
        "  note: row.mojo:9: constraint failed: w must be above 4: comptime",
        "  note:   called from model.mojo:5: f[1](x)",
        "  note: the end",
    ]


def test_every_error_of_a_parse_is_listed(source):
    found = build_error(source(), PARSE, []).diagnostics[0]
    assert found.message == "mojo build failed: use of unknown declaration 'y'"
    assert found.notes == (
        "model.mojo:4: use of unknown declaration 'y': return y + z",
        "model.mojo:4: use of unknown declaration 'z': return y + z",
    )
    assert found.loc is not None
    assert found.loc.line == 9


def test_line_before_the_first_mapped_one_has_no_place(source):
    stream = message("error", "unable to locate module 'x'", 0, "import x", "/k/other.mojo")
    assert build_error(source(), stream, []).diagnostics[0].loc is None


def test_long_lists_are_cut(source):
    stream = "\n".join(message("error", f"e{i}", 4, "") for i in range(9))
    notes = build_error(source(), stream, []).diagnostics[0].notes
    assert len(notes) == 6
    assert notes[-1] == "and 4 more errors"


def test_summary_alone_is_shown(source):
    found = build_error(source(), SUMMARY, []).diagnostics[0]
    assert found.message == "mojo build failed: failed to run the pass manager"


def test_text_that_is_not_json_is_shown(source):
    stream = "mojo: error: /opt/modular could not be created: Permission denied\n{broken"
    found = build_error(source(), stream, ["kept"]).diagnostics[0]
    assert found.message == "mojo build failed"
    assert found.notes == (*stream.splitlines(), "kept")
    assert build_error(source(), "", []).diagnostics[0].notes == ("it printed nothing",)


def test_notes_belong_to_the_error_before_them():
    groups = failures(parse(ELABORATION))
    assert [len(g) for g in groups] == [4]
    assert reason(groups[0]).line == 9


def test_notes_on_precompiled_code_are_plain_text(source):
    stream = "\n".join(
        [
            message("error", "function instantiation failed", 1, "def run(x: Float32):"),
            message("note", "call expansion failed", 4, "  f[1](x)"),
            "std/builtin/simd.mojo:2:5: note: constraint failed: simd width must be power of 2",
            SUMMARY,
        ]
    )
    found = build_error(source(), stream, []).diagnostics[0]
    assert found.message.endswith("constraint failed: simd width must be power of 2")
    assert found.notes[0].startswith("simd.mojo:2: constraint failed")
    assert found.loc is not None
    assert found.loc.line == 9
