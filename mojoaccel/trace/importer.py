"""Turns an exported program into an `ir.Graph`, driven by the ATen schemas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from mojoaccel.errors import Diagnostic, MojoaccelError, SourceLoc, error, gather
from mojoaccel.ir.dims import size_max
from mojoaccel.ir.graph import Attr, Node, Value, make_attrs
from mojoaccel.ir.types import BY_TORCH, TensorType
from mojoaccel.ops.registry import Foreign, OpDef, by_aten
from mojoaccel.trace.held import HeldSizes
from mojoaccel.trace.source import source_of
from mojoaccel.trace.strided import strided_source
from mojoaccel.trace.symbolic import SizeReader

NOTHING = frozenset(
    {
        "aten._assert_tensor_metadata.default",
        "aten._assert_scalar.default",
        "aten._assert_async.msg",
        "aten._linalg_check_errors.default",
        "aten.sym_constrain_range.default",
        "aten.sym_constrain_range_for_size.default",
    }
)
"""Calls that check and return nothing."""

SAME = frozenset(
    {
        "aten.alias.default",
        "aten.detach.default",
        "aten.detach_.default",
        "aten.detach_copy.default",
        "aten.lift_fresh_copy.default",
        "aten.lift_fresh.default",
        "aten.contiguous.default",
        "aten.dropout.default",
        "aten.clone.default",
    }
)
"""Calls that return their first operand, as far as values go."""

DROPPED = frozenset(
    {
        "device",
        "layout",
        "pin_memory",
        "memory_format",
        "non_blocking",
        "copy",
        "generator",
        "train",
    }
)
"""Arguments that do not change the values computed."""


AT_ITEM = {"aten.select.int": 2, "aten.select_scatter.default": 3}
"""Calls that may take their position from a tensor, and which argument it is."""


POSITIONS = {
    "aten.slice.Tensor": ("start", "end"),
    "aten.slice_copy.Tensor": ("start", "end"),
    "aten.slice_scatter.default": ("start", "end"),
    "aten.select.int": ("index",),
    "aten.select_copy.int": ("index",),
    "aten.select_scatter.default": ("index",),
}
"""Arguments that count from the end of a dim if they are negative."""


def overload_name(target: Any) -> str:
    """Return ``aten.add.Tensor`` for an operator overload."""
    return str(target)


@dataclass
class Importer:
    """Reads one FX graph.

    Attributes:
        program: The exported program, decomposed.
        sizes: Reads symbolic sizes.
        names: Name in the graph of every FX value read so far.
        nodes: The calls read so far.
        unsupported: Number of calls of each operator without a lowering.
        refused: Calls of forms that cannot be read.
        cuts: Results of those calls, which stand as inputs so that the rest can be checked.
    """

    program: Any
    sizes: SizeReader
    names: dict[str, str] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    unsupported: Counter[str] = field(default_factory=Counter)
    first_use: dict[str, SourceLoc | None] = field(default_factory=dict)
    refused: list[Diagnostic] = field(default_factory=list)
    cuts: list[Value] = field(default_factory=list)

    def value_type(self, tensor: Any) -> TensorType:
        """Return the type of a (fake) tensor."""
        name = str(tensor.dtype).removeprefix("torch.")
        if name not in BY_TORCH:
            raise error("MA302", f"dtype {name} is not supported")
        return TensorType(BY_TORCH[name], tuple(self.sizes.size(s) for s in tensor.shape))

    def define(self, fx_name: str, name: str, tensor: Any) -> Value:
        """Give an FX value its name in the graph."""
        kind = self.value_type(tensor)
        unique, count = name, 1
        while unique in self.taken:
            count += 1
            unique = f"{name}_{count}"
        self.taken.add(unique)
        self.names[fx_name] = unique
        return Value(unique, kind)

    def read_calls(self) -> None:
        """Import every call of the graph; collect what cannot be (`findings`)."""
        held = HeldSizes(self.sizes)
        for fx in self.program.graph.nodes:
            if fx.op != "call_function":
                continue
            try:
                held.follow(fx)
                self._call(fx)
            except MojoaccelError as problem:
                self.refused += [placed(d, fx) for d in problem.diagnostics]
                self._cut(fx)
            except KeyError:  # it reads a value that was lost with an earlier refusal
                if not (self.unsupported or self.refused):
                    raise

    def _cut(self, fx: Any) -> None:
        """Let the results of a call that was refused stand as inputs, where they have a type."""
        value = fx.meta.get("val")
        many = isinstance(value, (tuple, list))
        for index, item in enumerate(value if many else [value]):
            try:
                key = f"{fx.name}.{index}" if many else fx.name
                self.cuts.append(self.define(key, key.replace(".", "_"), item))
            except (MojoaccelError, AttributeError):  # no tensor, or of no type of ours
                continue

    def findings(self) -> list[Diagnostic]:
        """Return everything that cannot be compiled, as far as reading the calls tells."""
        return [*self._unsupported(), *gather(self.refused)]

    def _unsupported(self) -> list[Diagnostic]:
        total = len(self.unsupported)
        found = []
        for name, count in self.unsupported.most_common():
            record = by_aten().get(name)
            refusal = record.lowering if record is not None else None
            why, hint = (refusal.why, refusal.hint) if isinstance(refusal, Foreign) else ("", "")
            calls = f"{count} call{'s' if count > 1 else ''}"
            found.append(
                Diagnostic(
                    "MA203",
                    f"{name} is not supported ({calls})" + (f": {why}" if why else ""),
                    loc=self.first_use[name],
                    notes=(f"{total} unsupported operators in all",) if total > 1 else (),
                    hint=hint,
                )
            )
        return found

    def _call(self, fx: Any) -> None:
        value = fx.meta.get("val")
        name = overload_name(fx.target)
        if name == "with_effects":  # (token, call, its arguments): keeps a check in its place
            name = overload_name(fx.args[1])
        if name in NOTHING or _is_symbolic(value):
            return
        if name == "<built-in function getitem>":
            source, index = fx.args
            if not (self.unsupported or self.refused) or f"{source.name}.{index}" in self.names:
                self.names[fx.name] = self.names.get(f"{source.name}.{index}", "")
            return
        if name in SAME and _same_layout(fx):
            self.names[fx.name] = self.names[fx.args[0].name]
            return
        record = by_aten().get(name)
        if record is None or isinstance(record.lowering, Foreign):
            self.unsupported[name] += 1
            self.first_use.setdefault(name, source_of(fx))
            self._cut(fx)
            return
        if name in AT_ITEM and _is_item(fx.args[AT_ITEM[name]]):
            self._add_at_item(fx, value)
            return
        self._add(fx, record, value)

    def _add_at_item(self, fx: Any, value: Any) -> None:
        """Import a select (or select_scatter) at a position that a tensor holds, as an index.

        Python's ``x[i]`` takes a tensor without dimensions for a number.
        """
        source, *written = (self.names[a.name] for a in fx.args[:-2])
        dim, item = fx.args[-2:]
        rank = len(fx.args[0].meta["val"].shape)
        place = (*(None,) * (dim % rank), self.names[item.args[0].name])
        op, attrs = ("index_put", {"accumulate": False}) if written else ("index", {})
        output = self.define(fx.name, fx.name, value)
        inputs = (source, *place, *written)
        self.nodes.append(Node(op, inputs, make_attrs(attrs), (output,), source_of(fx), fx.name))

    def _add(self, fx: Any, record: OpDef, value: Any) -> None:
        inputs, attrs = self.read_arguments(fx, record)
        if record.name.startswith("as_strided"):
            base, offset = strided_source(fx, record.name)
            inputs[0] = self.names[base.name]
            attrs["storage_offset"] = self._attr(offset)
        values = value if isinstance(value, (tuple, list)) else [value]
        outputs = []
        for index, item in enumerate(values):
            if item is None:
                continue
            many = isinstance(value, (tuple, list))
            key = f"{fx.name}.{index}" if many else fx.name
            self._check_sized(fx, record.name, item)
            outputs.append(self.define(key, f"{fx.name}_{index}" if many else fx.name, item))
        self.nodes.append(
            Node(
                record.name,
                tuple(inputs),
                make_attrs(attrs),
                tuple(outputs),
                source_of(fx),
                fx.name,
            )
        )

    def _check_sized(self, fx: Any, op: str, tensor: Any) -> None:
        """Refuse a result whose size only the data tells.

        Raises:
            MojoaccelError: MA204, with the line that makes it.
        """
        sizes = [s.node.expr for s in tensor.shape if isinstance(s, torch.SymInt)]
        env = [s.node.shape_env for s in tensor.shape if isinstance(s, torch.SymInt)]
        unknown = sorted(
            str(symbol)
            for size, shapes in zip(sizes, env, strict=True)
            for symbol in size.free_symbols
            if shapes is not None
            and shapes.is_unbacked_symint(symbol)
            and str(symbol) not in self.sizes.learned
        )
        if unknown:
            hint = _KNOWN_SIZE.get(op, "")
            message = f"{op}: the size of its result depends on the data ({unknown[0]})"
            raise error("MA204", message, loc=source_of(fx), hint=hint)

    def read_arguments(self, fx: Any, record: OpDef) -> tuple[list[str | None], dict[str, Attr]]:
        """Split a call's arguments into tensor operands and attributes (see ops.registry)."""
        schema = fx.target._schema
        bound = bind_arguments(fx)
        canonical = tensor_arguments(record.aten[0])
        inputs = [i for wanted in canonical for i in self._operands(schema, bound, *wanted)]
        while len(inputs) > 1 and inputs[-1] is None and canonical[-1][0] not in bound:
            inputs.pop()
        for argument in schema.arguments:  # tensors that the canonical overload does not have
            if _is_operand(bound.get(argument.name)):
                inputs.append(self._operand(bound.pop(argument.name)))
        attrs = {k: self._attr(v) for k, v in bound.items() if k not in DROPPED}
        return inputs, {**attrs, **self._from_front(fx, attrs)}

    def _from_front(self, fx: Any, attrs: dict[str, Attr]) -> dict[str, Attr]:
        """Return positions of a slice or select that count from the end, from the front."""
        bound = bind_arguments(fx)
        found: dict[str, Attr] = {}
        for name in POSITIONS.get(overload_name(fx.target), ()):
            value = bound[name].meta["val"] if isinstance(bound[name], torch.fx.Node) else None
            if isinstance(value, torch.SymInt) and self.sizes.counts_from_end(value):
                shape = fx.args[0].meta["val"].shape
                place = self.sizes.size(shape[bound["dim"] % len(shape)]) + self.sizes.size(value)
                found[name] = place if name == "index" else size_max(place, 0)
        return found

    def _operands(
        self, schema: Any, bound: dict[str, Any], wanted: str, is_list: bool
    ) -> list[str | None]:
        """Take one canonical operand out of the bound arguments; a number stays an attribute."""
        name = wanted
        if name not in bound:  # an overload that spells its operands otherwise
            tensors = (a.name for a in schema.arguments if _is_tensor(a) and a.name in bound)
            name = next(tensors, wanted)
        argument = bound.pop(name, None)
        if is_list and isinstance(argument, (list, tuple)):
            return [self._operand(a) for a in argument]
        if _is_operand(argument):
            return [self._operand(argument)]
        if _is_item(argument):  # x * i.item(): the tensor serves as well
            return [self.names[argument.args[0].name]]
        if argument is not None:
            bound[name] = argument
        return [None]

    def _operand(self, argument: Any) -> str | None:
        return None if argument is None else self.names[argument.name]

    def _attr(self, value: Any) -> Attr:
        if isinstance(value, torch.fx.Node):
            value = value.meta["val"]
        if isinstance(value, torch.SymInt):
            return self.sizes.size(value)
        if isinstance(value, torch.dtype):
            return str(value).removeprefix("torch.")
        if isinstance(value, (list, tuple)):
            return tuple(self._attr(v) for v in value)
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, complex):  # `ops.complex_parts.read_number` reads it back
            return str(value)
        if isinstance(value, (torch.SymFloat, torch.SymBool)):
            raise error("MA202", f"an argument is a symbolic {type(value).__name__}")
        return str(value)


def placed(found: Diagnostic, fx: Any) -> Diagnostic:
    """Give a finding that has no place the call's."""
    if found.loc is not None:
        return found
    return replace(found, message=f"{overload_name(fx.target)}: {found.message}", loc=source_of(fx))


def bind_arguments(fx: Any) -> dict[str, Any]:
    """Return a call's arguments by schema name, defaults filled in."""
    bound: dict[str, Any] = {}
    for index, argument in enumerate(fx.target._schema.arguments):
        if index < len(fx.args):
            bound[argument.name] = fx.args[index]
        else:
            bound[argument.name] = fx.kwargs.get(argument.name, argument.default_value)
    return bound


def _is_item(argument: Any) -> bool:
    """Whether an argument is the number in a tensor without dimensions."""
    return isinstance(argument, torch.fx.Node) and str(argument.target) in (
        "aten._local_scalar_dense.default",
        "aten.item.default",
    )


_KNOWN_SIZE = {
    "index": "use torch.where, or multiply by the mask",
    "repeat_interleave": "pass output_size",
}
"""What makes the size of an operator's result known."""


def _is_operand(argument: Any) -> bool:
    return isinstance(argument, torch.fx.Node) and not _is_symbolic(argument.meta.get("val"))


def tensor_arguments(overload: str) -> Sequence[tuple[str, bool]]:
    """Return (name, is a list) of an overload's tensor arguments, in schema order."""
    space, name, variant = overload.split(".")
    schema = getattr(getattr(getattr(torch.ops, space), name), variant)._schema
    return [
        (a.name, "[]" in str(a.type) or "List" in str(a.type))
        for a in schema.arguments
        if _is_tensor(a)
    ]


def _is_tensor(argument: Any) -> bool:
    return "Tensor" in str(argument.type)


def _is_symbolic(value: Any) -> bool:
    return isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool, int, float, bool)) or (
        value is None
    )


def _same_layout(fx: Any) -> bool:
    source = fx.args[0].meta.get("val")
    value = fx.meta.get("val")
    return source is not None and source.dtype == value.dtype and source.shape == value.shape
