"""Prints one fused group as a task function; equal groups share one function."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mojoaccel.emit import syntax
from mojoaccel.emit.closure import ClosurePrinter
from mojoaccel.ir.dims import Size, free_dims
from mojoaccel.ir.plan import Arg, FusionGroup, KernelCall, Param, View
from mojoaccel.ops.lazy import IOTA

CLOSURE_NAMES = {"load": "operand", "store": "epilogue", "body": "body", "touch": "ahead"}


@dataclass
class GroupFunction:
    """A printed task function and what its caller must pass.

    Attributes:
        lines: Function body and head, the name written as ``{name}``.
        pointers: Views whose addresses are passed, in argument order.
        dims: Dynamic dims passed after the pointers, in order.
        status: Whether the address of the status word is passed last.
        imports: (module, name) pairs that the text needs.
    """

    lines: list[str] = field(default_factory=list)
    pointers: list[View] = field(default_factory=list)
    dims: list[str] = field(default_factory=list)
    status: bool = False
    imports: set[tuple[str, str]] = field(default_factory=set)

    @property
    def key(self) -> str:
        """Text that is equal for groups that can share one function."""
        return "\n".join(self.lines)


@dataclass
class GroupPrinter:
    """Prints a `FusionGroup` as a `GroupFunction`."""

    group: FusionGroup
    names: dict[tuple[str, str], str] = field(default_factory=dict)
    views: list[View] = field(default_factory=list)
    used_dims: set[str] = field(default_factory=set)
    imports: set[tuple[str, str]] = field(default_factory=set)
    written: set[tuple[str, str]] = field(default_factory=set)

    def print(self) -> GroupFunction:
        """Return the function."""
        self.imports |= {("maccel.types", "Args"), ("maccel.team", "Team")}
        body: list[str] = []
        for number, call in enumerate(self.group.calls):
            if number:
                body.append("team.barrier()")
            body.extend(self._call(number, call))
        text = "\n".join(body)
        for name in sorted(set(re.findall(r"\b(B?F(?:64|32|16)|[IU](?:64|32|16|8)|Mask)\[", text))):
            self.imports.add(("maccel.types", name))
        status = "status" in text.replace("_status", "")
        dims = sorted(self.used_dims)
        head = ['def {name}(args: Args, pool: Args, tid: Int) abi("C"):']
        lines = [f'"""{self._summary()}"""', "var team = Team(pool, tid)"]
        for index, view in enumerate(self.views):
            self.imports.add(("maccel.types", "arg_ptr"))
            name = self.names[self._key(view)]
            lines.append(f"var {name} = arg_ptr[{syntax.dtype(view.dtype)}](args, {index})")
        for index, dim in enumerate(dims):
            self.imports.add(("maccel.types", "arg_int"))
            lines.append(f"var {syntax.dim_name(dim)} = arg_int(args, {index + len(self.views)})")
        if status:
            self.imports.add(("maccel.types", "arg_ptr"))
            lines.append(f"var status = arg_ptr[DType.int64](args, {len(self.views) + len(dims)})")
        body = [line for k, line in enumerate(body) if line or not k or body[k - 1]]
        return GroupFunction(
            head + [w for line in lines + body for w in syntax.wrap("    " + line if line else "")],
            self.views,
            dims,
            status,
            self.imports,
        )

    def _summary(self) -> str:
        ops = ", ".join(dict.fromkeys(self.group.ops))
        return f"{ops[:1].upper()}{ops[1:]}."

    def _key(self, view: View) -> tuple[str, str]:
        return (view.buffer, str(view.offset))

    def _pointer(self, view: View, prefix: str = "x") -> str:
        assert view.buffer != IOTA
        key = self._key(view)
        if key not in self.names:
            count = sum(n.startswith(prefix) for n in self.names.values())
            self.names[key] = f"{prefix}{count}"
            self.views.append(view)
        return self.names[key]

    def _size(self, value: Size) -> str:
        self.used_dims |= free_dims(value)
        return syntax.size(value)

    def _call(self, number: int, call: KernelCall) -> list[str]:
        lines: list[str] = []
        args = ["team"]
        counts: dict[str, int] = {}
        for arg in call.args:
            if arg.kind != "closure":
                args.append(self._argument(arg))
                continue
            closure = arg.value
            counts[closure.kind] = counts.get(closure.kind, 0) + 1
            name = CLOSURE_NAMES[closure.kind]
            name += str(number) if len(self.group.calls) > 1 else ""
            if counts[closure.kind] > 1:
                name += f"_{counts[closure.kind]}"
            for view in closure.outputs:
                self._pointer(view, "y")
            printer = ClosurePrinter(closure, self._pointer, self.imports, self.used_dims)
            lines.extend(["", *printer.print(name), ""])
            args.append(name)
        self.imports.add((call.module, call.function))
        params = ", ".join(f"{k}={self._param(v)}" for k, v in call.params)
        lines.extend(self._call_lines(call.function, params, ", ".join(args)))
        return lines

    def _call_lines(self, function: str, params: str, args: str) -> list[str]:
        """Print a call; a list of parameters longer than a line gets one line each."""
        head = f"{function}[{params}]" if params else function
        if len(head) + 5 <= syntax.LINE_LENGTH:
            return [f"{head}({args})"]
        listed = [f"    {p}," for p in params.split(", ")]
        last = syntax.wrap(f"    ]({args})")
        return [f"{function}[", *listed, *(line.removeprefix("    ") for line in last)]

    def _argument(self, arg: Arg) -> str:
        if arg.kind in ("ptr", "out"):
            return self._pointer(arg.value, "x" if arg.kind == "ptr" else "y")
        if arg.kind == "size":
            return self._size(arg.value)
        if arg.kind == "float":
            return syntax.number(float(arg.value))
        if arg.kind == "status":
            return "status"
        assert arg.kind == "struct"
        module, name, fields = arg.value
        self.imports.add((module, name))
        return f"{name}({', '.join(self._argument(f) for f in fields)})"

    def _param(self, value: Param) -> str:
        if isinstance(value, str) and ":" in value:  # a Mojo type, as module:Name
            module, name = value.split(":")
            self.imports.add((module, name))
            return name
        return syntax.param(value)
