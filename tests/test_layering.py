"""Imports go down only, and torch stays where it belongs (read from the source, nothing runs)."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "mojoaccel"

# Rooms by height; rooms on one line of the second table never import each other.
HEIGHT = {
    "codes": 0, "errors": 0, "config": 0, "environment": 0, "log": 0, "paths": 0, "settings": 0,
    "setting_kinds": 0,
    "ir": 1, "products": 1, "cache": 1,
    "ops": 2, "artifact": 2, "example": 2,
    "trace": 3, "passes": 3, "emit": 3, "toolchain": 3, "runtime": 3,
    "targets": 4,
    "engines": 5,
    "weights": 5, "placing": 5, "job": 5, "verify": 5, "packaging": 5, "tile_search": 5,
    "stages": 5, "deliver": 5, "driver": 5, "reference": 5, "loading": 5, "bisect": 5, "api": 5,
    "doctor": 6, "bench": 6,
    "backends": 7, "serve": 4,
    "cli": 8, "__main__": 9,
}  # fmt: skip
APART = ({"trace", "passes", "emit", "toolchain"},)
ONLY = {
    "runtime": {"errors", "log", "paths", "artifact", "runtime"},
    "serve": {"environment", "errors", "paths", "artifact", "runtime", "serve"},
}
TORCH_ROOMS = {"trace", "ops", "bench", "verify", "ir", "targets", "backends"}
INSIDE_TORCH = {"backends/dynamo.py", "backends/captured.py"}  # what torch.compile itself imports


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path, *, at_import_time: bool) -> Iterator[str]:
    """Yield the full names of imported modules; only those run by importing, if asked."""
    pending: list[ast.AST] = [parsed(path)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
            continue
        if at_import_time and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        pending += ast.iter_child_nodes(node)


def rooms_imported(path: Path) -> set[str]:
    found = set()
    for name in imports(path, at_import_time=False):
        parts = name.split(".")
        if parts[0] == "mojoaccel" and len(parts) > 1:
            found.add(parts[1])
    return found - {"__version__"}


def test_imports_go_down() -> None:
    wrong = []
    for path in modules():
        own, others = room(path), rooms_imported(path)
        if own in ONLY:
            wrong += [f"{path} imports {other}" for other in others - ONLY[own]]
            continue
        assert own in HEIGHT, f"{own} has no height yet"
        for other in others - {own}:
            height = HEIGHT.get(other, HEIGHT["driver"])  # runtime is used from the driver up
            if height > HEIGHT[own] or any({own, other} <= group for group in APART):
                wrong.append(f"{path} imports {other}")
    assert not wrong


def test_torch_is_imported_only_where_it_belongs() -> None:
    wrong = []
    for path in modules():
        if str(path.relative_to(PACKAGE)) in INSIDE_TORCH or room(path) == "trace":
            continue
        names = imports(path, at_import_time=room(path) in TORCH_ROOMS)
        wrong += [f"{path}: {n}" for n in names if n.split(".")[0] in {"torch", "transformers"}]
    assert not wrong


def test_runtime_needs_only_numpy():
    allowed = {"mojoaccel", "numpy"}
    import sys

    for path in (PACKAGE / "runtime").glob("*.py"):
        tops = {n.split(".")[0] for n in imports(path, at_import_time=True)}
        assert tops - allowed <= set(sys.stdlib_module_names)


def test_no_two_test_files_have_one_name() -> None:
    """Pytest imports them by their names alone, and refuses the second."""
    files = [p.name for p in Path(__file__).parent.rglob("test_*.py")]
    assert sorted(files) == sorted(set(files))
