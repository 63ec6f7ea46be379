"""LSTM: input projections as one matrix product per layer, then the time loop as one kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mojoaccel.ir.dims import Size
from mojoaccel.ir.graph import Node
from mojoaccel.ir.plan import Arg, KernelCall, View
from mojoaccel.ir.types import TensorType
from mojoaccel.ops.indexing import window
from mojoaccel.ops.lazy import is_contiguous
from mojoaccel.ops.lowering import KernelContext
from mojoaccel.ops.matmul import accumulate_dtype, add_bias, linear, rows_of
from mojoaccel.ops.registry import Kernel, OpDef


def lower_lstm(ctx: KernelContext, node: Node) -> None:
    """``aten.lstm.input``: every layer and direction; projections (`proj_size`) are refused."""
    x, h0, c0, *params = node.inputs
    layers = int(node.attr("num_layers"))
    directions = 2 if node.attr("bidirectional") else 1
    per = 4 if node.attr("has_biases") else 2
    if len(params) != layers * directions * per:
        raise ctx.reject(node, "LSTM with projections")
    batch_axis = 0 if node.attr("batch_first") else 1
    hn = ctx.new_buffer(node.outputs[1].name, node.outputs[1].type)
    cn = ctx.new_buffer(node.outputs[2].name, node.outputs[2].type)
    initial = [ctx.contiguous(h0), ctx.contiguous(c0)]
    source = x
    for layer in range(layers):
        last = layer == layers - 1
        name = node.output.name if last else f"{node.output.name}_layer{layer}"
        t = layer_type(ctx, node, params, directions)
        y = ctx.new_buffer(name, t)
        for direction in range(directions):
            index = layer * directions + direction
            states = [row(v, index) for v in (*initial, hn, cn)]
            weights = params[index * per : (index + 1) * per]
            run_direction(ctx, node, source, weights, y, states, direction, batch_axis)
        ctx.types[name] = t
        ctx.held[name] = y
        source = name
    ctx.held[node.outputs[1].name] = hn
    ctx.held[node.outputs[2].name] = cn


def layer_type(
    ctx: KernelContext, node: Node, params: Sequence[str | None], directions: int
) -> TensorType:
    """Return the type of a layer's output."""
    hidden = ctx.type(params[1]).shape[1]
    outer = node.output.type.shape[:2]
    return TensorType(node.output.type.dtype, (*outer, hidden * directions))


def row(view: View, index: int) -> View:
    """Return one [batch, hidden] slice of a state tensor."""
    cut = window(view, 0, index, 1)
    return replace(cut, shape=cut.shape[1:], strides=cut.strides[1:])


def run_direction(
    ctx: KernelContext,
    node: Node,
    source: str | None,
    weights: Sequence[str | None],
    y: View,
    states: Sequence[View],
    direction: int,
    batch_axis: int,
) -> None:
    """Schedule one layer in one direction."""
    w_ih, w_hh, *biases = weights
    if not ctx.is_weight(w_ih) or not ctx.is_weight(w_hh):
        raise ctx.reject(node, "LSTM with weights computed at run time")
    assert w_hh is not None
    hidden = int(str(ctx.type(w_hh).shape[1]))
    projected = linear(ctx, node, source, w_ih, transposed=True)
    for bias in biases:
        projected = add_bias(ctx, projected, node, ctx.get(str(bias)))
    gates_type = TensorType(y.dtype, (*y.shape[:2], 4 * hidden))
    label = f"{y.buffer}_gates{direction}"
    ctx.types[label] = gates_type
    gates = ctx.new_buffer(label, gates_type)
    ctx.store(projected, gates)
    assert rows_of(gates) and is_contiguous(gates)
    acc = accumulate_dtype(y.dtype)
    lanes = ctx.lanes(acc)
    panels = -(-hidden // lanes)
    packed = ctx.weight(
        w_hh,
        "recurrent",
        {"gates": 4, "lanes": lanes},
        (panels, hidden, 4, lanes),
    )
    out = window(y, 2, direction * hidden, hidden)
    time_axis = 1 - batch_axis
    steps, batch = y.shape[time_axis], y.shape[batch_axis]
    fields = (
        Arg("size", steps),
        Arg("size", batch),
        Arg("ptr", gates),
        Arg("size", gates.strides[time_axis]),
        Arg("size", gates.strides[batch_axis]),
        Arg("out", out),
        Arg("size", out.strides[time_axis]),
        Arg("size", out.strides[batch_axis]),
    )
    h0, c0, hn, cn = states
    work: Size = steps * batch * (hidden * hidden * 4)
    call = KernelCall(
        "maccel.recurrent",
        "lstm_layer",
        (("acc", acc), ("hidden", hidden), ("reverse", direction == 1), ("has_initial", True)),
        (
            Arg("struct", ("maccel.recurrent", "Sequence", fields)),
            Arg("ptr", packed),
            Arg("ptr", h0),
            Arg("ptr", c0),
            Arg("out", hn),
            Arg("out", cn),
        ),
        scratch=batch * (3 * hidden * acc.size),
        flops=work * 2,
    )
    ctx.append([call], [node], work // 16)


OPS = (OpDef("lstm", ("aten.lstm.input",), Kernel(lower_lstm)),)
