"""Prints closures: the load, store and body functions that kernels call for each vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mojoaccel.emit import syntax
from mojoaccel.errors import error
from mojoaccel.ir.dims import Size, size_prod
from mojoaccel.ir.plan import Closure, ScalarOp, View
from mojoaccel.ir.types import BF16, BOOL, F16, F32, F64, DType
from mojoaccel.ops.lazy import IOTA

COORD_NAMES = {
    1: ("i",),
    2: ("row", "col"),
    3: ("outer", "row", "col"),
    4: ("b", "h", "i", "j"),
}


@dataclass
class ClosurePrinter:
    """Prints one closure.

    Attributes:
        closure: What to print.
        pointer: Gives the variable that points at a view's first element.
        imports: Receives (module, name) pairs that the text needs.
        dims: Receives the names of dynamic dims that the text uses.
    """

    closure: Closure
    pointer: Callable[[View], str]
    imports: set[tuple[str, str]]
    dims: set[str]
    lines: list[str] = field(default_factory=list)
    uniform: set[str] = field(default_factory=set)

    def print(self, name: str) -> list[str]:
        """Return the lines of ``def name[w: Int](...)``, unindented."""
        c = self.closure
        self.views = [*c.operands, *c.outputs]
        self.coords = COORD_NAMES.get(len(c.coords)) or tuple(f"i{k}" for k in range(len(c.coords)))
        self.vector = c.vector_coord % len(c.coords) if c.coords else 0
        self._split_coords()
        params = ", ".join(f"{n}: Int" for n in self.coords)
        head = {
            "load": f"def {name}[w: Int]({params}) {{imm}} -> {self._value_type()}:",
            "store": f"def {name}[w: Int]({params}, value: {self._value_type()}) {{imm}}:",
        }.get(c.kind, f"def {name}[w: Int]({params}) {{imm}}:")
        for op in c.body.ops:
            step = self._step(op)  # may print lines of its own first
            self.lines.append(f"var {op.name} = {step}")
            if self._is_uniform(op):
                self.uniform.add(op.name)
        if c.kind == "load":
            self.lines.append(f"return {c.body.results[0]}")
        elif c.kind == "touch":
            self.lines.extend(dict.fromkeys(line for v in self.views for line in self._touch(v)))
        else:
            for view, result in zip(c.outputs, c.body.results, strict=True):
                self.lines.append(self._store(view, result))
        text = [line for line in self.splits if self._used(line)] + self.lines or ["pass"]
        return ["@always_inline", head, *("    " + line for line in text)]

    # -- coordinates ------------------------------------------------------------------------

    def _split_coords(self) -> None:
        """Find, for each coordinate, the runs of axes that all views walk as one."""
        self.splits: list[str] = []
        self.runs: list[tuple[str, int, bool]] = []  # (variable, innermost axis, vectorised)
        shape = self.closure.domain
        for number, (name, axes) in enumerate(zip(self.coords, self.closure.coords, strict=True)):
            runs: list[list[int]] = []
            for axis in axes:
                if shape[axis] == 1:
                    continue
                last = runs[-1][-1] if runs else -1
                if runs and all(
                    v.strides[last] == v.strides[axis] * shape[axis] for v in self.views
                ):
                    runs[-1].append(axis)
                else:
                    runs.append([axis])
            vectorised = number == self.vector
            self._name_runs(name, runs, vectorised)

    def _name_runs(self, name: str, runs: list[list[int]], vectorised: bool) -> None:
        shape = self.closure.domain
        if len(runs) == 1:
            self.runs.append((name, runs[0][-1], vectorised))
            return
        rest = name
        if vectorised and runs:
            rest = syntax.identifier(f"{name}s")  # not the keyword `is`
            self.splits.append(f"var {rest} = {self._memory('span')}[w]({name})")
        names = [f"{name}_{k}" for k in range(len(runs))]
        lines = []
        for k in range(len(runs) - 1, -1, -1):
            extent = size_prod(shape[a] for a in runs[k])
            if k == 0:
                lines.append(f"var {names[k]} = {rest}")
            else:
                n = self._scalar_or_vector(extent, vectorised)
                lines.append(f"var {names[k]} = {rest} % {n}")
                lines.append(f"var {names[k]}q = {rest} // {n}")
                rest = f"{names[k]}q"
        self.splits.extend(lines)
        self.runs.extend((n, run[-1], vectorised) for n, run in zip(names, runs, strict=True))
        if vectorised:
            self.scattered = True

    scattered: bool = False
    """Whether the vector's lanes do not walk the operands at equal distances."""

    def _scalar_or_vector(self, value: Size, vector: bool) -> str:
        text = self._size(value)
        return f"I64[w]({text})" if vector else _paren(text)

    def _used(self, line: str) -> bool:
        name = line.split(" ")[1]
        everything = "\n".join([*self.splits, *self.lines])
        return everything.replace(f"var {name} =", "").count(name) > 0

    def _size(self, value: Size) -> str:
        if not isinstance(value, int):
            from mojoaccel.ir.dims import free_dims

            self.dims |= free_dims(value)
        return syntax.size(value)

    def _address(self, view: View) -> tuple[str, Size | None]:
        """Return the scalar offset of the vector's first lane and its stride along the lanes.

        The stride is None when lanes do not lie at equal distances (a scattered vector).
        """
        terms: list[str] = []
        step: Size = 0
        for name, axis, vectorised in self.runs:
            stride = view.strides[axis]
            if vectorised and not self.scattered:
                step = stride
            if vectorised and self.scattered:
                continue
            terms.append(self._product(stride, name))
        text = " + ".join(t for t in terms if t) or "0"
        if self.scattered and any(v and view.strides[a] != 0 for _, a, v in self.runs):
            return text, None
        return text, step

    def _product(self, stride: Size, name: str) -> str:
        self._size(stride)
        return syntax.product(stride, name)

    def _lane_offsets(self, view: View) -> str:
        """Return the vector of offsets of a scattered view."""
        base, _ = self._address(view)
        parts = [f"I64[w]({base})"]
        for name, axis, vectorised in self.runs:
            if vectorised and view.strides[axis] != 0:
                parts.append(f"{name} * I64[w]({self._size(view.strides[axis])})")
        return " + ".join(parts)

    # -- steps ------------------------------------------------------------------------------

    def _memory(self, name: str) -> str:
        self.imports.add(("maccel.memory", name))
        return name

    def _load(self, op: ScalarOp) -> str:
        view = self.closure.operands[op.args[0]]
        if view.buffer == IOTA:
            return self._iota(view)
        base, step = self._address(view)
        p = self.pointer(view)
        if step is None:
            return f"{self._reader('gather', view)}[w]({p}, {self._lane_offsets(view)})"
        if step in (0, 1):
            return f"{self._reader('load' if step else 'splat', view)}[w]({p}, {base})"
        return f"{self._reader('load_strided', view)}[w]({p}, {base}, {self._size(step)})"

    def _reader(self, function: str, view: View) -> str:
        """Return the function that reads a view; bool bytes become masks."""
        return self._memory(f"{function}_mask" if view.dtype == BOOL else function)

    def _iota(self, view: View) -> str:
        base, step = self._address(view)
        if view.offset != 0:
            base = f"{self._size(view.offset)} + {base}"
        if step is None:
            return f"{self._lane_offsets(view)} + I64[w]({self._size(view.offset)})"
        if step == 0:
            return f"I64[w]({base})"
        return f"{self._memory('span')}[w]({base}, {self._size(step)})"

    def _gather(self, op: ScalarOp) -> str:
        view = self.closure.operands[op.args[0]]
        base, step = self._address(view)
        indices = [self._index(op.name, k, *triple) for k, triple in enumerate(op.args[1:])]
        p = self.pointer(view)
        if all(triple[0] in self.uniform for triple in op.args[1:]) and step in (0, 1):
            # One position for the whole vector: a row of a table, read as neighbours.
            parts = [base, *(f"Int({i}[0]){self._times(s)}" for i, s in indices)]
            function = self._reader("load" if step == 1 else "splat", view)
            return f"{function}[w]({p}, {' + '.join(x for x in parts if x != '0') or '0'})"
        if step is None:
            start = self._lane_offsets(view)
        elif step == 0:
            start = "" if base == "0" else f"I64[w]({base})"
        else:
            start = f"{self._memory('span')}[w]({base}, {self._size(step)})"
        factors = [i if s == 1 else f"{i} * I64[w]({self._size(s)})" for i, s in indices]
        self.lines.append(f"var {op.name}_at = {' + '.join(x for x in [start, *factors] if x)}")
        return f"{self._reader('gather', view)}[w]({p}, {op.name}_at)"

    def _index(
        self, name: str, number: int, index: str, stride: Size, extent: Size | None
    ) -> tuple[str, Size]:
        """Print the checked index of one axis; return its name and how far a step moves."""
        if extent is None:
            return index, stride
        label = f"{name}_{number}"
        self.lines.append(f"var {label} = {self._checked('wrap_index', index, extent)}")
        return label, stride

    def _checked(self, function: str, index: str, extent: Size) -> str:
        return f"{self._memory(function)}[w]({index}, {self._size(extent)}, status)"

    def _times(self, stride: Size) -> str:
        return "" if stride == 1 else f" * {_paren(self._size(stride))}"

    def _is_uniform(self, op: ScalarOp) -> bool:
        """Whether a step has the same value in every lane of a vector."""
        if op.function == "const":
            return True
        if op.function == "arg":
            return False
        if op.function in ("load", "gather"):
            _, step = self._address(self.closure.operands[op.args[0]])
            inputs = [t[0] for t in op.args[1:]]
            return step == 0 and all(i in self.uniform for i in inputs)
        return all(a in self.uniform for a in op.args if isinstance(a, str))

    def _step(self, op: ScalarOp) -> str:
        special: dict[str, Callable[[ScalarOp], str]] = {
            "load": self._load,
            "gather": self._gather,
            "arg": lambda _: "value",
            "const": lambda o: self._constant(o.args[0], o.dtype),
            "cast": lambda o: self._cast(o.args[0], o.dtype),
            "wrap": lambda o: self._checked("wrap_index", *o.args),
            "check": lambda o: self._checked("check_index", *o.args),
            "select": lambda o: f"{o.args[0]}.select({o.args[1]}, {o.args[2]})",
            "ne": lambda o: self._differs(o.args[0], o.args[1], self._dtype(o.args[0])),
            "neg": lambda o: f"-{o.args[0]}",
            "not_": lambda o: f"~{o.args[0]}",
        }
        if op.function in special:
            return special[op.function](op)
        if op.function in syntax.INFIX:
            return f"{op.args[0]} {syntax.INFIX[op.function]} {op.args[1]}"
        if op.function in syntax.METHODS:
            return f"{op.args[0]}.{op.function}({op.args[1]})"
        self.imports.add(("maccel.math", op.function))
        return f"{op.function}({', '.join(op.args)})"

    def _constant(self, value: object, d: DType) -> str:
        if not isinstance(value, (int, float)):
            self._size(value)  # type: ignore[arg-type]
        text = syntax.constant(value, d)
        for name in ("neg_inf", "inf", "nan"):
            if f"({name}[" in text:
                self.imports.add(("std.utils.numerics", name))
        return text

    def _cast(self, name: str, to: DType) -> str:
        source = self._dtype(name)
        if to == BOOL:
            return self._differs(name, "0", source)
        if source == to:
            return name
        return self._converted(name, source, to)

    def _converted(self, name: str, source: DType, to: DType) -> str:
        """Print a conversion; 16 bits of what was float64 are rounded by functions of ours."""
        if to == BF16 and any(op.dtype == F64 for op in self.closure.body.ops):
            single = name if source == F32 else f"{name}.cast[{syntax.dtype(F32)}]()"
            return f"{self._memory('narrow_bf16')}({single})"
        if (
            source == F64
            and to in (F16, F32)
            and any(op.dtype == F16 for op in self.closure.body.ops)
        ):
            self.imports.add(("maccel.math", "narrow"))
            return f"narrow[{syntax.dtype(to)}]({name})"
        return name + syntax.conversion(source, to)

    def _differs(self, x: str, y: str, dtype: DType) -> str:
        """Print x != y; SIMD.ne is false for NaN, PyTorch's is true."""
        return f"~{x}.eq({y})" if dtype.is_float else f"{x}.ne({y})"

    def _dtype(self, name: str) -> DType:
        return next(op.dtype for op in self.closure.body.ops if op.name == name)

    def _store(self, view: View, result: str) -> str:
        source = self._dtype(result)
        value = result
        if source == BOOL:
            value = f"{result}.cast[DType.uint8]()"
        elif source != view.dtype:
            value = self._converted(result, source, view.dtype)
        base, step = self._address(view)
        p = self.pointer(view)
        if step is None:
            return f"{self._memory('scatter')}({p}, {self._lane_offsets(view)}, {value})"
        if step == 1:
            return f"{self._memory('store')}({p}, {base}, {value})"
        if step == 0:  # one element: the vector coordinate has size 1
            return f"{p}[unsafe_offset={base}] = {value}[0]"
        return f"{self._memory('store_strided')}({p}, {base}, {self._size(step)}, {value})"

    def _touch(self, view: View) -> list[str]:
        """Print a prefetch; what is the same for all rows is in the cache anyway."""
        base, step = self._address(view)
        rows = [axis for _, axis, vectorised in self.runs if not vectorised]
        if view.buffer == IOTA or step != 1 or all(view.strides[axis] == 0 for axis in rows):
            return []
        written = "_to_write" if view in self.closure.outputs else ""
        return [f"{self._memory('touch' + written)}({self.pointer(view)}, {base})"]

    def _value_type(self) -> str:
        """Return the type of what a load returns or a store is given."""
        if self.closure.kind == "load":
            return syntax.simd(self._dtype(self.closure.body.results[0]))
        found = [op.dtype for op in self.closure.body.ops if op.function == "arg"]
        if not found and self.closure.kind == "store":
            raise error("MA401", "a store closure does not use the kernel's value")
        return syntax.simd(found[0]) if found else ""


def _paren(text: str) -> str:
    return text if text.replace("_", "").isalnum() else f"({text})"


__all__: Sequence[str] = ("ClosurePrinter",)
