"""The formatter is found where it is installed, and says what it would change."""

import pytest

from mojoaccel.errors import MojoaccelError
from mojoaccel.toolchain import format as formatting
from mojoaccel.toolchain.format import find_formatter, unformatted


def test_formatter_of_path(script, monkeypatch, tmp_path):
    monkeypatch.setattr(formatting.sys, "prefix", str(tmp_path / "nothing"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_formatter() is None
    program = script("mblack", "")
    assert find_formatter() == program


def test_changes_are_listed(script, tmp_path):
    program = script("mblack", "echo 'would reformat a.mojo' >&2; echo 'All done!' >&2; exit 1")
    assert unformatted([tmp_path / "a.mojo"], program) == ["a.mojo"]


def test_broken_source(script, tmp_path):
    program = script("mblack", "echo 'cannot format a.mojo: Cannot parse' >&2; exit 123")
    with pytest.raises(MojoaccelError, match="mojo format") as caught:
        unformatted([tmp_path / "a.mojo"], program)
    assert "Cannot parse" in caught.value.diagnostics[0].notes[0]


@pytest.mark.mojo
def test_real_formatter(tmp_path):
    formatter = find_formatter()
    if formatter is None:
        pytest.skip("mblack is not installed")
    good, bad = tmp_path / "good.mojo", tmp_path / "bad.mojo"
    good.write_text("def f(x: Int) -> Int:\n    return x\n")
    bad.write_text("def f( x:Int)->Int:\n  return x\n")
    assert unformatted([good], formatter) == []
    assert unformatted([good, bad], formatter) == [str(bad)]
