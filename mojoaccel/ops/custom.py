"""Operators of the user's own: a `torch.library` operator computed by the user's Mojo function.

A file passed with ``--ops`` holds a list called ``OPS``. Each entry names the operator that the
model calls and the Mojo function that computes it, which is called on every thread with the team,
the tensors (contiguous, as `maccel.operand.Operand`) and the results; numbers and flags among the
arguments reach it as compile-time parameters of the schema's names.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mojoaccel.errors import error
from mojoaccel.ir.dims import Expr, Size, size_prod
from mojoaccel.ir.graph import Node
from mojoaccel.ir.plan import Arg, KernelCall, Param, View
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.registry import Kernel, OpDef, load_registry, register

TAKEN = ("maccel", "model", "std")
"""Names that a user's Mojo file cannot have."""


@dataclass(frozen=True)
class CustomOp:
    """One operator of the user's own.

    Attributes:
        name: Its ``torch.library`` name, ``space::operator`` or ``space::operator.overload``.
        mojo: ``file.mojo:function``, relative to the file that registers it.
        shape: Its shape rule, as ``torch.library.register_fake`` takes it: from the arguments,
            with tensors without data, to results without data. Not needed where the operator
            has one already.
    """

    name: str
    mojo: str
    shape: Callable[..., Any] | None = None

    @property
    def overload(self) -> str:
        """The overload as torch prints it, ``space.operator.default``."""
        space, _, rest = self.name.partition("::")
        return f"{space}.{rest}" if "." in rest else f"{space}.{rest}.default"


_registered: dict[str, tuple[Path, ...]] = {}
"""Mojo files of every file of operators that was read, by path."""


def register_file(path: Path, read: Callable[[Path], Any]) -> tuple[Path, ...]:
    """Register the operators of a file; return the files they are made of.

    A file is run once in a process: torch.library operators cannot be defined twice.

    Args:
        path: The file.
        read: Imports it.

    Raises:
        MojoaccelError: MA210, it has no list ``OPS`` of `CustomOp`, or one of them is wrong.
    """
    place = path.resolve()
    key = str(place)
    if key not in _registered:
        if not place.is_file():
            raise error("MA210", f"{path} does not exist")
        listed = getattr(read(place), "OPS", None)
        if not isinstance(listed, (list, tuple)) or not all(
            isinstance(o, CustomOp) for o in listed
        ):
            raise error("MA210", f"{path.name} has no list OPS of mojoaccel.CustomOp")
        _registered[key] = tuple(register_custom(op, place.parent) for op in listed)
    return (place, *_registered[key])


def register_custom(op: CustomOp, folder: Path) -> Path:
    """Add an operator to the registry; return its Mojo file.

    Args:
        op: The operator.
        folder: Where the file that registers it lies.

    Raises:
        MojoaccelError: MA210, torch does not know the operator, or its Mojo function is missing.
    """
    file, _, function = op.mojo.partition(":")
    path = (folder / file).resolve()
    if not function.isidentifier() or not path.stem.isidentifier() or path.stem in TAKEN:
        message = f"{op.name}: {op.mojo!r} is not of the form file.mojo:function"
        raise error("MA210", message, hint=f"the file's name is none of {', '.join(TAKEN)}")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as e:
        raise error("MA210", f"{op.name}: {path.name} cannot be read: {e.strerror or e}") from e
    if f"def {function}" not in text:
        raise error("MA210", f"{op.name}: {path.name} defines no function {function}")
    _give_shape(op)
    name = op.overload.removesuffix(".default").replace(".", "_")
    known = load_registry().get(name)
    if known is not None and known.aten != (op.overload,):
        raise error("MA210", f"{op.name}: another operator is called {name}")
    lower = _Lowering(path.stem, function, (f"{path.stem}.mojo", text))
    register(OpDef(name, (op.overload,), Kernel(lower)))
    return path


def _give_shape(op: CustomOp) -> None:
    torch = importlib.import_module("torch")
    space, name, overload = op.overload.split(".")
    found = getattr(getattr(getattr(torch.ops, space), name, None), overload, None)
    if found is None:
        message = f"torch knows no operator {op.name}"
        raise error("MA210", message, hint="define it with torch.library before OPS is read")
    if op.shape is not None:
        torch.library.register_fake(f"{space}::{name}", op.shape, allow_override=True)


@dataclass(frozen=True)
class _Lowering:
    """Schedules calls of one user function."""

    module: str
    function: str
    source: tuple[str, str]

    def __call__(self, ctx: KernelContext, node: Node) -> None:
        """Call the function on contiguous operands and results."""
        params: list[tuple[str, Param]] = []
        for key, value in node.attrs:
            if isinstance(value, Expr):
                raise ctx.reject(
                    node, f"{key} is a size known only at run time", "pass it as a tensor"
                )
            if isinstance(value, (bool, int, float)):
                params.append((key, value))
            elif value is not None:
                raise ctx.reject(node, f"{key} is {value!r}, neither a number nor a flag")
        operands = [ctx.contiguous(name) for name in node.inputs if name is not None]
        results = [ctx.new_buffer(v.name, v.type) for v in node.outputs]
        args = (*(_operand(v, "ptr") for v in operands), *(_operand(v, "out") for v in results))
        call = KernelCall(self.module, self.function, tuple(params), args)
        ctx.sources[self.source[0]] = self.source[1]
        ctx.append([call], [node], _work([*operands, *results]))
        ctx.define(node, *results)


def _operand(view: View, kind: str) -> Arg:
    sizes = (Arg("size", n) for n in view.shape)
    return Arg("struct", ("maccel.operand", "Operand", (Arg(kind, view), *sizes)))


def _work(views: Sequence[View]) -> Size:
    """Return the elements touched, times what an unknown function may cost for each."""
    total: Size = 0
    for view in views:
        total = total + size_prod(view.shape)
    return total * 8
