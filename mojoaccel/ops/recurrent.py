"""LSTM, GRU and plain RNN.

The input projections of a layer are one matrix product, its time loop one kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mojoaccel.ir.dims import Size
from mojoaccel.ir.graph import Node
from mojoaccel.ir.plan import Arg, KernelCall, Param, View
from mojoaccel.ir.types import BOOL, I64, DType, TensorType
from mojoaccel.ops.indexing import window
from mojoaccel.ops.lazy import Held, Lazy, is_contiguous
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.matmul import accumulate_dtype, add_bias, linear, makes_pairs, rows_of
from mojoaccel.ops.registry import Foreign, Kernel, OpDef, PointwiseContext


@dataclass(frozen=True)
class Direction:
    """One layer in one direction.

    Attributes:
        node: The operator.
        index: Position of its states: layer * directions + direction.
        reverse: Whether it runs from the last step to the first.
        batch_axis: Axis of the batch in inputs and outputs; the other outer one is time.
        w_ih: Input weights ``[gates * hidden, input]``.
        w_hh: Recurrent weights ``[gates * hidden, hidden or projected]``.
        b_ih: Bias of the input projection, if any.
        b_hh: Bias of the recurrent product, if any.
        w_hr: Projection ``[projected, hidden]``, if any.
    """

    node: Node
    index: int
    reverse: bool
    batch_axis: int
    w_ih: str
    w_hh: str
    b_ih: str | None = None
    b_hh: str | None = None
    w_hr: str | None = None


States = tuple[tuple[View, View], ...]
"""(initial, final) of the hidden state and, for an LSTM, of the cell."""

PAIRED: dict[bool, tuple[tuple[str, Param], ...]] = {False: (), True: (("pairs", True),)}

Runner = Callable[[KernelContext, Direction, str, View, States], None]
"""Schedules one direction: its input's name, where its output goes, its states."""


def lower_layers(ctx: KernelContext, node: Node, states: int, run: Runner) -> None:
    """Schedule every layer and direction of a recurrent operator.

    Args:
        ctx: The schedule.
        node: The operator; its operands are the input, the initial states and the weights.
        states: Number of state tensors (2 for LSTM, else 1).
        run: Schedules one layer in one direction.
    """
    source, *rest = (str(name) for name in node.inputs)
    initial = [ctx.contiguous(name) for name in rest[:states]]
    params = rest[states:]
    layers = int(node.attr("num_layers"))
    directions = 2 if node.attr("bidirectional") else 1
    per = len(params) // (layers * directions)
    final = [ctx.new_buffer(o.name, o.type) for o in node.outputs[1:]]
    width = ctx.type(rest[0]).shape[2]
    t = TensorType(node.output.type.dtype, (*node.output.type.shape[:2], width * directions))
    for layer in range(layers):
        last = layer == layers - 1
        name = node.output.name if last else f"{node.output.name}_layer{layer}"
        y = ctx.new_buffer(name, t)
        for direction in range(directions):
            index = layer * directions + direction
            part = read_direction(node, params[index * per : (index + 1) * per], index, direction)
            if not ctx.is_weight(part.w_ih) or not ctx.is_weight(part.w_hh):
                raise ctx.reject(node, "weights computed at run time")
            pairs = zip(initial, final, strict=True)
            own = tuple((row(a, index), row(b, index)) for a, b in pairs)
            run(ctx, part, source, y, own)
        ctx.types[name] = t
        ctx.held[name] = y
        source = name
    for value, view in zip(node.outputs[1:], final, strict=True):
        ctx.held[value.name] = view


def read_direction(node: Node, params: Sequence[str], index: int, direction: int) -> Direction:
    """Name the weights of one direction; their order is PyTorch's."""
    batch_axis = 0 if node.attr("batch_first") else 1
    w_ih, w_hh, *more = params
    b_ih, b_hh = more[:2] if node.attr("has_biases") else (None, None)
    w_hr = more[-1] if len(more) in (1, 3) else None
    return Direction(node, index, direction == 1, batch_axis, w_ih, w_hh, b_ih, b_hh, w_hr)


def row(view: View, index: int) -> View:
    """Return one [batch, hidden] slice of a state tensor."""
    cut = window(view, 0, index, 1)
    return replace(cut, shape=cut.shape[1:], strides=cut.strides[1:])


def project_input(
    ctx: KernelContext, part: Direction, source: str, y: View, biases: Sequence[Held]
) -> View:
    """Schedule x @ w_ih.T plus biases for all steps and return where it lies."""
    projected = linear(ctx, part.node, source, part.w_ih, transposed=True)
    for bias in biases:
        projected = add_bias(ctx, projected, part.node, bias)
    t = TensorType(y.dtype, (*y.shape[:2], ctx.type(part.w_ih).shape[0]))
    label = f"{y.buffer}_gates{int(part.reverse)}"
    ctx.types[label] = t
    gates = ctx.new_buffer(label, t)
    ctx.store(projected, gates)
    assert rows_of(gates) and is_contiguous(gates)
    return gates


def biases_of(ctx: KernelContext, part: Direction) -> list[Held]:
    """Return both biases, or none."""
    return [ctx.get(b) for b in (part.b_ih, part.b_hh) if b is not None]


def sequence_of(part: Direction, gates: View, y: View, width: int) -> tuple[Arg, Size, Size]:
    """Return the kernel's `Sequence` of projections and outputs, the steps and the batch."""
    out = window(y, 2, int(part.reverse) * width, width)
    time, batch = 1 - part.batch_axis, part.batch_axis
    steps, rows = y.shape[time], y.shape[batch]
    fields = (
        Arg("size", steps),
        Arg("size", rows),
        Arg("ptr", gates),
        Arg("size", gates.strides[time]),
        Arg("size", gates.strides[batch]),
        Arg("out", out),
        Arg("size", out.strides[time]),
        Arg("size", out.strides[batch]),
    )
    return Arg("struct", ("maccel.recurrent", "Sequence", fields)), steps, rows


def packed(ctx: KernelContext, name: str, gates: int, acc: DType, *, pairs: bool = False) -> View:
    """Return recurrent weights packed by panels of units, steps two by two for `pairs`."""
    rows, depth = (int(str(n)) for n in ctx.type(name).shape)
    lanes = ctx.lanes(acc)
    panels = -(-(rows // gates) // lanes)
    params = {"gates": gates, "lanes": lanes}
    if pairs:
        return ctx.weight(name, "recurrent_pairs", params, (panels, depth // 2, gates, lanes, 2))
    return ctx.weight(name, "recurrent", params, (panels, depth, gates, lanes))


def takes_pairs(ctx: KernelContext, part: Direction) -> bool:
    """Whether the recurrent product multiplies pairs of bfloat16."""
    t = ctx.type(part.w_hh)
    return part.w_hr is None and makes_pairs(ctx, t.dtype, int(str(t.shape[1])))


def state_scratch(batch: Size, hidden: int, states: int, acc: DType, *, pairs: bool) -> Size:
    """Return the scratch bytes of a layer: its states, and one of them in bfloat16 for pairs."""
    return batch * (hidden * (states * acc.size + (2 if pairs else 0)))


def state_args(states: States) -> list[Arg]:
    """Return the initial states, then the final ones."""
    return [
        *(Arg("ptr", first) for first, _ in states),
        *(Arg("out", last) for _, last in states),
    ]


def run_lstm(ctx: KernelContext, part: Direction, source: str, y: View, states: States) -> None:
    """Schedule one direction of an LSTM layer."""
    acc = accumulate_dtype(y.dtype)
    gates = project_input(ctx, part, source, y, biases_of(ctx, part))
    rows, width = (int(str(n)) for n in ctx.type(part.w_hh).shape)
    hidden = rows // 4
    sequence, steps, batch = sequence_of(part, gates, y, width)
    pairs = takes_pairs(ctx, part)
    weights = [Arg("ptr", packed(ctx, part.w_hh, 4, acc, pairs=pairs))]
    params: list[tuple[str, Param]] = [("acc", acc), ("hidden", hidden)]
    work: Size = steps * batch * (rows * width)
    if part.w_hr is None:
        module, function = "maccel.recurrent", "lstm_layer"
        params += [("reverse", part.reverse), ("has_initial", True), *PAIRED[pairs]]
        scratch = state_scratch(batch, hidden, 3, acc, pairs=pairs)
    else:
        module, function = "maccel.recurrent_projected", "lstm_projected_layer"
        params += [("projected", width), ("reverse", part.reverse)]
        weights.append(Arg("ptr", packed(ctx, part.w_hr, 1, acc)))
        work = work + steps * batch * (hidden * width)
        scratch = batch * (2 * (hidden + width) * acc.size)
    args = (sequence, *weights, *state_args(states))
    call = KernelCall(module, function, tuple(params), args, scratch=scratch, flops=work * 2)
    ctx.append([call], [part.node], work // 16)


def run_gru(ctx: KernelContext, part: Direction, source: str, y: View, states: States) -> None:
    """Schedule one direction of a GRU layer.

    The recurrent bias of the new gate is applied inside the cell, those of the other two gates
    with the input projection.
    """
    acc = accumulate_dtype(y.dtype)
    rows, hidden = (int(str(n)) for n in ctx.type(part.w_hh).shape)
    biases: list[Held] = []
    if part.b_ih is not None and part.b_hh is not None:
        biases = [ctx.get(part.b_ih), reset_and_update(ctx, part, hidden)]
        bias_n = window(ctx.contiguous(part.b_hh), 0, 2 * hidden, hidden)
    else:
        label = f"{y.buffer}_bias{int(part.reverse)}"
        t = TensorType(ctx.type(part.w_hh).dtype, (hidden,))
        bias_n = ctx.new_buffer(label, t)
        ctx.store(ctx.pointwise(part.node, [], lambda p: p.const(0), t), bias_n)
    gates = project_input(ctx, part, source, y, biases)
    sequence, steps, batch = sequence_of(part, gates, y, hidden)
    work: Size = steps * batch * (rows * hidden)
    pairs = takes_pairs(ctx, part)
    args = (
        sequence,
        Arg("ptr", packed(ctx, part.w_hh, 3, acc, pairs=pairs)),
        Arg("ptr", bias_n),
        *state_args(states),
    )
    params: tuple[tuple[str, Param], ...] = (
        ("acc", acc),
        ("hidden", hidden),
        ("reverse", part.reverse),
        ("has_initial", True),
        *PAIRED[pairs],
    )
    scratch = state_scratch(batch, hidden, 2, acc, pairs=pairs)
    call = KernelCall(
        "maccel.recurrent", "gru_layer", params, args, scratch=scratch, flops=work * 2
    )
    ctx.append([call], [part.node], work // 16)


def reset_and_update(ctx: KernelContext, part: Direction, hidden: int) -> Lazy:
    """Return the recurrent bias with zeros in place of the new gate's part."""

    def keep(p: PointwiseContext) -> str:
        inside = p.call("lt", p.body.index(0), p.body.const(2 * hidden, I64), dtype=BOOL)
        return p.call("select", inside, p.operand(0), p.const(0), dtype=p.dtype)

    assert part.b_hh is not None
    return ctx.pointwise(part.node, [ctx.get(part.b_hh)], keep, ctx.type(part.b_hh))


def run_rnn(ctx: KernelContext, part: Direction, source: str, y: View, states: States) -> None:
    """Schedule one direction of a plain recurrent layer, by tanh or relu."""
    acc = accumulate_dtype(y.dtype)
    gates = project_input(ctx, part, source, y, biases_of(ctx, part))
    hidden = int(str(ctx.type(part.w_hh).shape[1]))
    sequence, steps, batch = sequence_of(part, gates, y, hidden)
    pairs = takes_pairs(ctx, part)
    work: Size = steps * batch * (hidden * hidden)
    params: tuple[tuple[str, Param], ...] = (
        ("acc", acc),
        ("hidden", hidden),
        ("reverse", part.reverse),
        ("has_initial", True),
        ("rectify", part.node.op == "rnn_relu"),
        *PAIRED[pairs],
    )
    weights = packed(ctx, part.w_hh, 1, acc, pairs=pairs)
    args = (sequence, Arg("ptr", weights), *state_args(states))
    scratch = state_scratch(batch, hidden, 2, acc, pairs=pairs)
    call = KernelCall(
        "maccel.recurrent", "rnn_layer", params, args, scratch=scratch, flops=work * 2
    )
    ctx.append([call], [part.node], work // 16)


def recurrent(states: int, run: Runner) -> Kernel:
    """Return the lowering of a recurrent operator with so many state tensors."""
    return Kernel(lambda ctx, node: lower_layers(ctx, node, states, run))


_PACKED = Foreign(
    "its sequences are packed, their lengths known only at run time",
    "pass the padded tensor instead of a PackedSequence",
)

OPS = (
    OpDef("lstm", ("aten.lstm.input",), recurrent(2, run_lstm)),
    OpDef("gru", ("aten.gru.input",), recurrent(1, run_gru)),
    OpDef("rnn_tanh", ("aten.rnn_tanh.input",), recurrent(1, run_rnn)),
    OpDef("rnn_relu", ("aten.rnn_relu.input",), recurrent(1, run_rnn)),
    *(
        OpDef(f"{name}_packed", (f"aten.{name}.data",), _PACKED)
        for name in ("lstm", "gru", "rnn_tanh", "rnn_relu")
    ),
)
