"""Operators of the user's own: registered by a file, computed by their Mojo, cached by content."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mojoaccel.errors import MojoaccelError
from mojoaccel.ops.custom import register_file
from tests.test_compile import command, compiled, environment, ran

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A copy of the example: the file of operators and its Mojo."""
    shutil.copy(EXAMPLES / "my_ops.py", tmp_path)
    shutil.copytree(EXAMPLES / "kernels", tmp_path / "kernels")
    return tmp_path


@pytest.mark.mojo
def test_the_example_compiles_and_is_cached_by_the_content_of_its_files(
    place: Path, shared_cache: Path
) -> None:
    file = place / "my_ops.py"
    arguments = (file, "--ops", file, "-o", place / "capped.maccel")
    first = compiled(shared_cache, *arguments)
    assert first["verification"]["status"] == "passed"
    source = (place / "capped.maccel" / "mojo" / "model.mojo").read_text()
    assert "soft_cap[cap=30.0](team, Operand(x0, n_batch, 7), Operand(y0, n_batch, 7))" in source
    assert (place / "capped.maccel" / "mojo" / "soft_cap.mojo").exists()
    assert ran(compiled(shared_cache, *arguments)) == []
    kernel = place / "kernels" / "soft_cap.mojo"
    kernel.write_text(kernel.read_text().replace("* limit", "* (limit + limit * 0)"))
    assert ran(compiled(shared_cache, *arguments)) == [
        "trace",
        "optimize",
        "emit",
        "build",
        "package",
    ]


@pytest.mark.mojo
def test_a_wrong_function_is_found_by_bisection(place: Path, shared_cache: Path) -> None:
    kernel = place / "kernels" / "soft_cap.mojo"
    kernel.write_text(kernel.read_text().replace("* limit)", "* limit + 0.5)"))
    file = place / "my_ops.py"
    for more in ((), ("--no-verify", "--bisect")):
        done = subprocess.run(
            command(file, "--ops", file, "-o", place / "capped.maccel", *more),
            env=environment(shared_cache),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 4
        assert "first wrong value: soft_cap, by examples_soft_cap at my_ops.py:" in done.stderr
        assert "off by 0.5 at [" in done.stderr
        assert "soft_cap[cap=30.0](team, Operand(x0, n_batch, 7)" in done.stderr


@pytest.mark.mojo
def test_bisection_of_a_right_model_says_so(place: Path, shared_cache: Path) -> None:
    file = place / "my_ops.py"
    made = compiled(shared_cache, file, "--ops", file, "--bisect", "-o", place / "capped.maccel")
    assert made["compared"] == 3


def test_without_the_file_the_operator_is_refused_by_name(
    place: Path, command_line: Callable[..., Any]
) -> None:
    text = (place / "my_ops.py").read_text().replace("soft_cap", "plain_cap")
    file = place / "plain.py"
    file.write_text(
        text + "\ntorch.library.register_fake('examples::plain_cap', "
        "lambda x, cap: torch.empty_like(x), allow_override=True)\n"
    )
    done = command_line("compile", file, "--check", "--json")
    assert done.returncode == 1
    (found,) = json.loads(done.stdout)["diagnostics"]
    assert found["code"] == "MA203"
    assert found["message"].startswith("examples.plain_cap.default is not supported (1 call)")


MISTAKES = {
    "NOTHING = 1": "has no list OPS",
    "OPS = ['examples::soft_cap']": "has no list OPS",
    "from mojoaccel import CustomOp\nOPS = [CustomOp('none::such', 'a.mojo:f')]": "torch knows no",
    "from mojoaccel import CustomOp\nOPS = [CustomOp('aten::add', 'model.mojo:f')]": "of the form",
    "from mojoaccel import CustomOp\nOPS = [CustomOp('aten::add', 'a.mojo')]": "of the form",
    "from mojoaccel import CustomOp\nOPS = [CustomOp('aten::add', 'b.mojo:f')]": "cannot be read",
    "from mojoaccel import CustomOp\nOPS = [CustomOp('aten::add', 'a.mojo:g')]": "no function g",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_are_named(tmp_path: Path, text: str) -> None:
    from mojoaccel.trace.loader import import_file

    (tmp_path / "a.mojo").write_text("def f():\n    pass\n")
    file = tmp_path / "ops.py"
    file.write_text(text)
    with pytest.raises(MojoaccelError, match=MISTAKES[text]) as found:
        register_file(file, import_file)
    assert found.value.code == "MA210"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MojoaccelError, match="does not exist") as found:
        register_file(tmp_path / "no.py", lambda path: None)
    assert found.value.code == "MA210"


def test_one_file_is_run_once(tmp_path: Path) -> None:
    file = tmp_path / "ops.py"
    file.write_text("OPS = []")
    runs = []

    class Module:
        OPS = ()

    def read(path: Path) -> type[Module]:
        runs.append(path)
        return Module

    assert register_file(file, read) == register_file(file, read)
    assert len(runs) == 1
