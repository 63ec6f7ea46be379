"""Prints the end of a module: input checks, shapes, memory needs and the C entry points."""

from __future__ import annotations

import json

from mojoaccel.emit import syntax
from mojoaccel.emit.sizes import SizeLocals
from mojoaccel.errors import error
from mojoaccel.ir.dims import Size, evaluate, free_dims
from mojoaccel.ir.plan import Plan
from mojoaccel.ir.types import TensorType

MAX_DIMS, MAX_OUTPUTS, MAX_STATES, MAX_RANK = 96, 1024, 2048, 8
"""What a session's block and ``maccel_tensor`` have room for."""


def _dims(plan: Plan, sizes: list[Size]) -> list[str]:
    used = set().union(*(free_dims(s) for s in sizes)) if sizes else set()
    return [
        f"    var {syntax.dim_name(d.name)} = s.dim({i})"
        for i, d in enumerate(plan.dims)
        if d.name in used
    ]


def session_functions(
    plan: Plan, offsets: dict[str, int], imports: set[tuple[str, str]]
) -> list[str]:
    """Print `bind`, `describe` and `reserve`."""
    imports.add(("maccel.session", "Session"))
    return [*_bind(plan), *_describe(plan), *_reserve(plan), *_states(plan, offsets)]


def _bind(plan: Plan) -> list[str]:
    lines = [
        "",
        "",
        "def bind(s: Session):",
        '    """Checks the inputs and reads the dynamic dims."""',
    ]
    body: list[str] = []
    bound: set[str] = set()
    derived: list[tuple[int, int, Size]] = []
    for index, value in enumerate(plan.inputs):
        body.append(f"    s.expect_input({index}, {value.type.dtype.code}, {value.type.rank})")
        for axis, size in enumerate(value.type.shape):
            number = next((i for i, d in enumerate(plan.dims) if str(size) == d.name), None)
            if number is None or str(size) in bound:
                derived.append((index, axis, size))
                continue
            bound.add(str(size))
            body.append(f"    s.bind_dim({_place(plan, number, index, axis)})")
    for index, axis, size in list(derived):
        (name,) = free_dims(size) - bound if len(free_dims(size) - bound) == 1 else ("",)
        if name:
            bound.add(name)
            derived.remove((index, axis, size))
            number = next(i for i, d in enumerate(plan.dims) if name == d.name)
            plus, once = (evaluate(size, {name: n}) for n in (0, 1))
            where = _place(plan, number, index, axis)
            body.append(f"    s.bind_multiple({where}, {once - plus}, {plus})")
    body.extend(_dims(plan, [size for _, _, size in derived]))
    body.extend(
        f"    s.expect_size({index}, {axis}, {syntax.size(size)})" for index, axis, size in derived
    )
    return [*lines, *(body or ["    pass"])]


def _place(plan: Plan, number: int, index: int, axis: int) -> str:
    """Print the arguments that bind a dim: its number, input, axis, and its range."""
    dim = plan.dims[number]
    return f"{number}, {index}, {axis}, {dim.min}, {-1 if dim.max is None else dim.max}"


def _describe(plan: Plan) -> list[str]:
    lines = ["", "", "def describe(s: Session):", '    """Gives the shapes of the outputs."""']
    sizes: list[Size] = [s for v in plan.outputs for s in v.type.shape]
    lines.extend(_dims(plan, sizes))
    for index, value in enumerate(plan.outputs):
        shape = [syntax.size(s) for s in value.type.shape]
        nbytes = syntax.size(value.type.numel * value.type.dtype.size)
        args = ", ".join([str(index), str(value.type.dtype.code), nbytes, *shape])
        lines.extend(syntax.wrap(f"    s.describe_output({args})"))
    return lines if plan.outputs else [*lines, "    pass"]


def _reserve(plan: Plan) -> list[str]:
    memory = plan.memory
    lines = ["", "", "def reserve(s: Session):", '    """Makes room for temporaries."""']
    lines.extend(_dims(plan, [memory.size, memory.scratch]))
    sizes = SizeLocals()
    arena, scratch = sizes.size(memory.size), sizes.size(memory.scratch)
    return [*lines, *sizes.lines, *syntax.wrap(f"    s.reserve({arena}, {scratch})")]


def _states(plan: Plan, offsets: dict[str, int]) -> list[str]:
    if not plan.states:
        return []
    lines = ["", "", "def reset(s: Session):", '    """Gives every state its initial value."""']
    for index, (name, _) in enumerate(plan.states):
        buffer = plan.buffers[name]
        nbytes = syntax.size(buffer.numel * buffer.dtype.size)
        lines.append(f"    s.init_state({index}, {nbytes}, {offsets[name]})")
    return lines


def _tensor_json(name: str, t: TensorType) -> dict[str, object]:
    shape = [s if isinstance(s, int) else str(s) for s in t.shape]
    return {"name": name, "dtype": t.dtype.torch, "shape": shape}


def signature_text(plan: Plan) -> str:
    """Return the model's signature as JSON, as `maccel_signature` gives it to C callers."""
    return json.dumps(
        {
            "inputs": [_tensor_json(v.name, v.type) for v in plan.inputs],
            "outputs": [_tensor_json(v.name, v.type) for v in plan.outputs],
            "dims": {d.name: [d.min, d.max] for d in plan.dims},
        },
        separators=(",", ":"),
    )


def check_limits(plan: Plan) -> None:
    """Make sure that a session's block (`kernels/maccel/session.mojo`) has room for the model.

    Raises:
        MojoaccelError: MA302, it has too many dims, outputs or states.
    """
    for what, count, most in (
        ("dynamic dims", len(plan.dims), MAX_DIMS),
        ("outputs", len(plan.outputs), MAX_OUTPUTS),
        ("states", len(plan.states), MAX_STATES),
    ):
        if count > most:
            raise error("MA302", f"the model has {count} {what}; {most} are possible")
    for value in (*plan.inputs, *plan.outputs):
        if value.type.rank > MAX_RANK:
            message = f"{value.name} has {value.type.rank} dimensions; {MAX_RANK} are possible"
            raise error("MA302", message)


ENTRY_POINTS = '''

@export("maccel_abi_version")
def maccel_abi_version() abi("C") -> Int32:
    """Returns the version of this C interface."""
    return 1


@export("maccel_signature")
def maccel_signature() abi("C") -> Bytes:
    """Returns the signature as JSON text."""
    return Bytes(unsafe_from_address=Int(SIGNATURE.ptr()))


@export("maccel_open")
def maccel_open(folder: Bytes, threads: Int32, result: Args) abi("C") -> Int32:
    """Opens a session on the artifact in `folder`."""
    {open}


@export("maccel_output_shapes")
def maccel_output_shapes(
    session: Args, inputs: Args, outputs: Args
) abi("C") -> Int32:
    """Fills in the shapes of the outputs for the given inputs."""
    return session_shapes[bind, describe](session, inputs, outputs)


@export("maccel_run")
def maccel_run(session: Args, inputs: Args, outputs: Args) abi("C") -> Int32:
    """Runs the model once."""
    return session_run[bind, describe, reserve, forward](
        session, inputs, outputs
    )


@export("maccel_reset")
def maccel_reset(session: Args) abi("C") -> Int32:
    """Gives every state its initial value again."""
    {reset}


@export("maccel_state")
def maccel_state(session: Args, index: Int32, result: Args) abi("C") -> Int32:
    """Gives address and bytes of a state, which hold until the session closes."""
    return session_state(session, Int(index), {states}, result)


@export("maccel_last_error")
def maccel_last_error(session: Args, result: Args) abi("C") -> Int32:
    """Copies code, index, axis, expected and got of the last error."""
    return session_error(session, result)


@export("maccel_profile")
def maccel_profile(session: Args, times: Args) abi("C") -> Int32:
    """Tells how long each fused group took in the last run, if this was built to know."""
    return session_profile(session, times)


@export("maccel_close")
def maccel_close(session: Args) abi("C"):
    """Frees a session."""
    session_close(session)
'''


def always_read(plan: Plan, offsets: dict[str, int]) -> tuple[int, int]:
    """Return the bytes of weights.bin from the first to the last weight of any product.

    Tables that are only looked up are mostly used first, so they lie before.
    """
    ends = {
        n: o + int(str(plan.buffers[n].numel)) * plan.buffers[n].dtype.size
        for n, o in offsets.items()
    }
    calls = [c for g in plan.groups for c in g.calls if c.flops != 0]
    read = {a.value.buffer for c in calls for a in c.args if a.kind == "ptr"} & ends.keys()
    if not read:
        return 0, 0
    return min(offsets[n] for n in read), max(ends[n] for n in read)


def entry_points(
    plan: Plan, offsets: dict[str, int], weight_bytes: int, imports: set[tuple[str, str]]
) -> list[str]:
    """Print the exported C functions.

    Raises:
        MojoaccelError: MA302, the model has more dims, outputs or states than a session holds.
    """
    check_limits(plan)
    names = ["close", "error", "open", "profile", "run", "shapes", "state"]
    imports |= {("maccel.entry", f"session_{n}") for n in names}
    imports |= {("maccel.libc", "Bytes"), ("maccel.types", "Args")}
    begin, end = always_read(plan, offsets)
    call = f"session_open(folder, threads, result, {weight_bytes}, {begin}, {end})"
    opening = "\n".join(syntax.wrap(f"    return {call}")).lstrip()
    resetting = "return 0"
    if plan.states:
        opening = "\n    ".join(
            [
                "\n".join(syntax.wrap(f"    var status = {call}")).lstrip(),
                "if status == 0:",
                "    reset(Session(Args(unsafe_from_address=Int(result[unsafe_offset=0]))))",
                "return status",
            ]
        )
        resetting = "\n    ".join(
            ["var s = Session(session)", "s.acquire()", "reset(s)", "s.give_back()", "return 0"]
        )
    text = ENTRY_POINTS.replace("{open}", opening).replace("{reset}", resetting)
    text = text.replace("{states}", str(len(plan.states)))
    signature = signature_text(plan)
    pieces = [signature[i : i + 64] for i in range(0, len(signature), 64)]
    pieces = [p.replace("\\", "\\\\").replace("'", "\\'") for p in pieces]
    quoted = [f"    '{p}'" if '"' in p else f'    "{p}"' for p in pieces]
    literal = ["", "", "comptime SIGNATURE = (", *quoted, ")"]
    return [*literal, *text.split("\n")]
