"""Graphs that dynamo captured: what they write and share, and the part of them to compile.

The compiler takes functions: tensors in, new tensors out. A captured graph may also write into its
inputs and return views of them. `effects_of` finds that out by running the graph on fake tensors;
`functional_part` leaves the writing out of the graph and returns what was to be written instead.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from mojoaccel.errors import MojoaccelError, error

Axes = dict[int, Any]
"""Axis -> torch.export's Dim."""


@dataclass(frozen=True)
class View:
    """An output that shares its memory with an input or with another output.

    Attributes:
        of_input: Whether `index` counts inputs.
        index: Of the tensor whose memory it is.
        size: Its sizes.
        stride: Its strides, in elements.
        offset: Of its first element from that tensor's first, in elements.
    """

    of_input: bool
    index: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    def of(self, base: Tensor) -> Tensor:
        """Return the view of the tensor whose memory it is."""
        at = base.storage_offset() + self.offset
        if (self.size, self.stride, self.offset) == (tuple(base.shape), base.stride(), 0):
            return base
        return base.as_strided(self.size, self.stride, at)


@dataclass(frozen=True)
class Effects:
    """What a graph does beside computing new tensors, for inputs of certain shapes.

    Attributes:
        written: Inputs that it writes into.
        outputs: For each output: "new" (a tensor of its own), a `View`, or a constant.
    """

    written: tuple[int, ...]
    outputs: tuple[Any, ...]

    @property
    def computed(self) -> list[int]:
        """The outputs that are tensors of their own."""
        return [i for i, o in enumerate(self.outputs) if isinstance(o, str)]

    @property
    def same_for_all_shapes(self) -> bool:
        """Whether nothing of this depends on the inputs' shapes."""
        return all(o == "new" or o is None for o in self.outputs)


def effects_of(graph: fx.GraphModule, args: Sequence[Any]) -> Effects:
    """Run a graph on fake copies of its inputs, and look at what became of them.

    Raises:
        MojoaccelError: MA204 sizes depend on values, MA202 inputs or outputs share memory in a way
            that cannot be compiled.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with torch.inference_mode(False), torch.no_grad(), mode:
        given = [imitation(a) if is_tensor(a) else a for a in args]
        before = [(a._version, layout(a)) if is_tensor(a) else None for a in given]
        try:
            results = list(graph.forward(*given))
        except Exception as e:
            message = f"the graph has no sizes of its own: {type(e).__name__}: {e}"
            raise error("MA204", message) from e
    written = []
    for index, was in enumerate(before):
        if was is None:
            continue
        if layout(given[index]) != was[1]:
            raise error("MA202", "the graph changes the shape of an input in place")
        if given[index]._version != was[0]:
            written.append(index)
    refuse_shared(written, args)
    return Effects(tuple(written), tuple(sharing(results, given)))


def imitation(tensor: Tensor) -> Tensor:
    """Make an empty tensor of the same layout, with memory of its own.

    Raises:
        MojoaccelError: MA202, the tensor is sparse or on another device.
    """
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise error("MA202", f"an input is {tensor.layout} on {tensor.device}")
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)


def refuse_shared(written: Sequence[int], args: Sequence[Any]) -> None:
    """Refuse inputs that share memory while one of them is written.

    Raises:
        MojoaccelError: MA202.
    """
    for index in written:
        others = [a for i, a in enumerate(args) if i != index and is_tensor(a)]
        address = args[index].untyped_storage().data_ptr()
        if any(a.untyped_storage().data_ptr() == address for a in others):
            raise error("MA202", "the graph writes into memory that two inputs share")


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor."""
    return isinstance(value, Tensor)


def layout(tensor: Tensor) -> tuple[Any, ...]:
    """Return sizes, strides and offset."""
    return tuple(tensor.shape), tensor.stride(), tensor.storage_offset()


def sharing(results: Sequence[Any], given: Sequence[Any]) -> list[Any]:
    """Return what every output is: "new", a `View`, or a constant."""
    found: list[Any] = []
    inputs = {memory(a): i for i, a in reversed(list(enumerate(given))) if is_tensor(a)}
    largest: dict[int, int] = {}
    for index, result in enumerate(results):
        if is_tensor(result) and memory(result) not in inputs:
            best = largest.setdefault(memory(result), index)
            if result.numel() > results[best].numel():
                largest[memory(result)] = index
    for index, result in enumerate(results):
        if not is_tensor(result):
            found.append(result)
        elif memory(result) in inputs:
            place = inputs[memory(result)]
            found.append(view_of(True, place, result, given[place]))
        elif (place := largest[memory(result)]) == index:
            found.append("new")
        elif covers(results[place], result):
            found.append(view_of(False, place, result, results[place]))
        elif overlap(results[place], result):
            raise error("MA202", "two outputs of the graph overlap in memory")
        else:
            found.append("new")
    return found


def memory(tensor: Tensor) -> int:
    """Return what tells one tensor's memory from another's; fake ones have no address."""
    return int(tensor.untyped_storage()._cdata)


def view_of(of_input: bool, place: int, result: Tensor, base: Tensor) -> View:
    """Describe an output by the tensor whose memory it shares.

    Raises:
        MojoaccelError: MA202, it reads that memory as another type.
    """
    plain = result.dtype == base.dtype and result.is_conj() == base.is_conj()
    if not plain or result.is_neg() != base.is_neg():
        raise error("MA202", "an output of the graph reads an input's memory as another type")
    offset = int(result.storage_offset() - base.storage_offset())
    return View(of_input, place, tuple(result.shape), result.stride(), offset)


def covers(base: Tensor, view: Tensor) -> bool:
    """Whether a dense output fills all of the memory that another reads as the same type."""
    whole = base.numel() * base.element_size() == base.untyped_storage().nbytes()
    return base.is_contiguous() and whole and view.dtype == base.dtype


def overlap(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of the same memory have an element in common."""
    if one.dtype != other.dtype:
        return True
    count = one.untyped_storage().nbytes() // one.element_size()
    taken = torch.zeros(count, dtype=torch.bool)
    taken.as_strided(one.shape, one.stride(), one.storage_offset()).fill_(True)
    return bool(taken.as_strided(other.shape, other.stride(), other.storage_offset()).any())


@dataclass(frozen=True)
class Part:
    """The part of a graph to compile.

    Attributes:
        graph: Takes the tensors that vary, in order; weights are its own.
        places: Which of the graph's inputs it takes.
        axes: For each of them, the axes that vary.
    """

    graph: fx.GraphModule
    places: tuple[int, ...]
    axes: tuple[Axes, ...]


def functional_part(
    graph: fx.GraphModule,
    args: Sequence[Any],
    effects: Effects,
    weights: Mapping[int, str],
    fixed: bool = False,
) -> Part:
    """Make the graph that computes new outputs, and new values for what is written.

    Args:
        graph: As captured.
        args: Inputs of a call.
        effects: For those inputs.
        weights: Inputs that become constants of the graph, with their names.
        fixed: Take the sizes of this call for constants.
    """
    own = fx.GraphModule(graph, fx.Graph())
    returned: Any = own.graph.graph_copy(graph.graph, {})
    holders = [n for n in own.graph.nodes if n.op == "placeholder"]
    captured = [n.meta.get("example_value") for n in graph.graph.nodes if n.op == "placeholder"]
    if fixed:
        captured = list(args)
    places = [i for i, a in enumerate(args) if is_tensor(a) and i not in weights]
    first = next((n for n in own.graph.nodes if n.op != "placeholder"), None)
    with own.graph.inserting_before(first):
        for index, name in weights.items():
            own.register_buffer(name, args[index].detach())
            holders[index].replace_all_uses_with(own.graph.get_attr(name))
        copies = {i: copied(own.graph, holders[i]) for i in effects.written}
        replace_sizes(own.graph, holders, captured, places, args)
    results = [returned[i] for i in effects.computed] + list(copies.values())
    own.graph.output(tuple(results))
    # What no longer leads anywhere may still ask for sizes that rule out others.
    own.graph.eliminate_dead_code(lambda node: not is_view(node))
    for index, holder in enumerate(holders):
        if index not in places or not holder.users:
            own.graph.erase_node(holder)
    places = [i for i in places if holders[i].users]
    own.graph.lint()
    own.recompile()
    dims: dict[str, Any] = {}
    return Part(own.eval(), tuple(places), tuple(axes_of(captured[i], dims) for i in places))


VIEWS = frozenset(
    [
        "chunk",
        "detach",
        "diagonal",
        "expand",
        "flatten",
        "narrow",
        "permute",
        "reshape",
        "select",
        "split",
        "squeeze",
        "t",
        "transpose",
        "unflatten",
        "unsqueeze",
        "view",
    ]
)


def is_view(node: fx.Node) -> bool:
    """Whether a node only looks at a tensor, so that nothing changes if it goes."""
    return node.target is operator.getitem or (node.op == "call_method" and node.target in VIEWS)


def copied(graph: fx.Graph, holder: fx.Node) -> fx.Node:
    """Let a graph write into a copy of an input."""
    copy = graph.call_function(torch.ops.aten.clone.default, (holder,))
    holder.replace_all_uses_with(copy, delete_user_cb=lambda user: user is not copy)
    return copy


def replace_sizes(
    graph: fx.Graph,
    holders: Sequence[fx.Node],
    captured: Sequence[Any],
    places: Sequence[int],
    args: Sequence[Any],
) -> None:
    """Take inputs that are sizes off the shapes of tensors; others are constants of this call."""
    where: dict[str, tuple[int, int]] = {}
    for index in places:
        for axis, size in enumerate(getattr(captured[index], "shape", ())):
            if isinstance(size, torch.SymInt):
                where.setdefault(str(size.node.expr), (index, axis))
    for index, value in enumerate(args):
        if is_tensor(value):
            continue
        known = captured[index]
        expression = str(known.node.expr) if isinstance(known, torch.SymInt) else ""
        number: Any = value
        if expression in where and holders[index].users:
            source, axis = where[expression]
            number = graph.call_function(torch.ops.aten.sym_size.int, (holders[source], axis))
        holders[index].replace_all_uses_with(number)


def free_numbers(graph: fx.GraphModule, args: Sequence[Any]) -> tuple[int, ...]:
    """Return the inputs that are numbers, unless they are the size of an axis."""
    captured = [n.meta.get("example_value") for n in graph.graph.nodes if n.op == "placeholder"]
    sizes = {
        str(s.node.expr)
        for example in captured
        for s in getattr(example, "shape", ())
        if isinstance(s, torch.SymInt)
    }
    return tuple(
        i
        for i, (known, value) in enumerate(zip(captured, args, strict=True))
        if not is_tensor(value)
        and not (isinstance(known, torch.SymInt) and str(known.node.expr) in sizes)
    )


def axes_of(example: Any, dims: dict[str, Any]) -> Axes:
    """Return the symbolic axes of an input as torch.export's dims.

    Args:
        example: The fake tensor that dynamo traced with.
        dims: The dims made so far, by symbol.
    """
    found: Axes = {}
    for axis, size in enumerate(getattr(example, "shape", ())):
        if isinstance(size, torch.SymInt) and size.node.expr.is_Symbol:
            symbol = size.node.expr
            if str(symbol) not in dims:
                low, high = limits_of(size)
                dims[str(symbol)] = torch.export.Dim(str(symbol), min=low, max=high)
            found[axis] = dims[str(symbol)]
    return found


def limits_of(size: torch.SymInt) -> tuple[int, int | None]:
    """Return the sizes for which dynamo's guards let a graph run."""
    limits = size.node.shape_env.var_to_range.get(size.node.expr)
    if limits is None:
        return 2, None
    high = int(limits.upper) if limits.upper.is_Integer else None
    return max(1, int(limits.lower)), high if high is not None and high < 2**31 else None


def is_weight(value: Any, node: fx.Node) -> bool:
    """Whether an input is a parameter or buffer of a module whose changes PyTorch counts."""
    if not is_tensor(value) or value.is_inference():
        return False
    source = str(node.target)
    named = "_buffers_" in source or "_parameters_" in source
    return named or isinstance(value, nn.Parameter)


def explain_failure(problem: Exception) -> MojoaccelError:
    """Return a diagnostic for a failure of PyTorch's tracer."""
    if isinstance(problem, MojoaccelError):
        return problem
    return error("MA202", f"{type(problem).__name__}: {problem}")
