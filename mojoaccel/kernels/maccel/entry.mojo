"""The C interface of every compiled model, less its names: open, run, explain, close.

An emitted module gives `session_run` four functions: `bind` checks inputs and reads the dynamic
dims, `describe` gives the output shapes, `reserve` the memory needed, `forward` runs the fused
groups.
"""

from maccel.amx import has_amx
from maccel.libc import (
    Bytes,
    allocate,
    processor_count,
    release,
    request_amx,
)
from maccel.pool import MAX_THREADS, pool_create, pool_destroy, pool_refresh
from maccel.session import (
    ARENA,
    BAD_INDEX,
    ERROR,
    INPUTS,
    MAX_OUTPUTS,
    MAX_STATES,
    NO_MEMORY,
    NO_TILES,
    OK,
    OUTPUTS,
    OWNED,
    POOL,
    PROFILE,
    SCRATCH,
    SESSION_BYTES,
    STATES,
    STATE_LOST,
    STATUS,
    Session,
    THREADS,
    WEIGHTS,
    WEIGHT_BYTES,
    WITH_MEMORY,
)
from maccel.types import Args
from maccel.weights import map_weights, populate_weights

comptime Step = def(Session) thin -> None
"""One of the functions that an emitted module gives to `session_run`."""


def session_open(
    folder: Bytes,
    threads: Int32,
    result: Args,
    weight_bytes: Int,
    read_begin: Int,
    read_end: Int,
) -> Int32:
    """Opens a session on an artifact's folder.

    Args:
        folder: Path of the artifact, zero-terminated.
        threads: Threads to use; 0 or less is one per processor this process may use.
        result: Receives the session's handle.
        weight_bytes: Size that weights.bin must have; 0 for a model without weights.
        read_begin: First byte of the weights that every run reads.
        read_end: One past the last.

    Returns:
        OK, NO_WEIGHTS, WRONG_WEIGHTS, NO_MEMORY, or NO_TILES where the system refuses AMX.
    """
    comptime if has_amx():
        if not request_amx():
            return NO_TILES
    var address = allocate(SESSION_BYTES)
    if address == 0:
        return NO_MEMORY
    var words = Args(unsafe_from_address=address)
    if weight_bytes > 0:
        var failed = map_weights(
            folder, weight_bytes, words.unsafe_offset(WEIGHTS)
        )
        if failed != OK:
            release(address, SESSION_BYTES)
            return failed
        words[unsafe_offset=WEIGHT_BYTES] = Int64(weight_bytes)
    var count = Int(threads) if threads > 0 else processor_count()
    count = min(count, MAX_THREADS)
    words[unsafe_offset=THREADS] = Int64(count)
    var pool = Int(pool_create(count))
    words[unsafe_offset=POOL] = Int64(pool)
    if pool == 0:
        release(Int(words[unsafe_offset=WEIGHTS]), weight_bytes)
        release(address, SESSION_BYTES)
        return NO_MEMORY
    populate_weights(
        Args(unsafe_from_address=pool),
        Int(words[unsafe_offset=WEIGHTS]),
        read_begin,
        read_end,
    )
    Session(words).profile().open()
    result[unsafe_offset=0] = Int64(address)
    return OK


def session_shapes[
    bind: Step, describe: Step
](handle: Args, inputs: Args, outputs: Args) -> Int32:
    """Fills in the shapes of the outputs without running."""
    var s = Session(handle)
    s.acquire()
    var code = prepare[bind, describe](s, inputs, outputs, 0)
    s.give_back()
    return code


def prepare[
    bind: Step, describe: Step
](s: Session, inputs: Args, outputs: Args, with_memory: Int64) -> Int32:
    """Checks the inputs and describes the outputs; missing outputs get memory if asked for.
    """
    s.words[unsafe_offset=ERROR] = 0
    s.words[unsafe_offset=INPUTS] = Int64(Int(inputs))
    s.words[unsafe_offset=OUTPUTS] = Int64(Int(outputs))
    s.words[unsafe_offset=WITH_MEMORY] = with_memory
    bind(s)
    if s.words[unsafe_offset=ERROR] == 0:
        describe(s)
    return Int32(s.words[unsafe_offset=ERROR])


def session_run[
    bind: Step, describe: Step, reserve: Step, forward: Step
](handle: Args, inputs: Args, outputs: Args) -> Int32:
    """Runs the model once.

    Args:
        handle: The session.
        inputs: Array of `maccel_tensor`, one per input, filled in by the caller.
        outputs: Array of `maccel_tensor`; data 0 asks for memory of the session.

    Returns:
        0, or the code of the first error (see `maccel_last_error`).
    """
    var s = Session(handle)
    s.acquire()
    s.words[unsafe_offset=STATUS] = 0
    var code = prepare[bind, describe](s, inputs, outputs, 1)
    if code == OK:
        pool_refresh(Args(unsafe_from_address=Int(s.words[unsafe_offset=POOL])))
        reserve(s)
        if s.words[unsafe_offset=STATE_LOST] != 0:
            s.fail(Int(NO_MEMORY), -1, -1, 0, 0)
        code = Int32(s.words[unsafe_offset=ERROR])
    if code == OK:
        s.profile().clear()
        forward(s)
        if s.words[unsafe_offset=STATUS] != 0:
            s.fail(
                Int(BAD_INDEX), -1, -1, 0, Int(s.words[unsafe_offset=STATUS])
            )
            code = BAD_INDEX
    s.give_back()
    return code


def session_error(handle: Args, result: Args) -> Int32:
    """Copies the last error: code, index, axis, expected, got."""
    for i in range(5):
        result[unsafe_offset=i] = handle[unsafe_offset=ERROR + i]
    return Int32(handle[unsafe_offset=ERROR])


def session_profile(handle: Args, result: Args) -> Int32:
    """Gives the address of the last run's times in nanoseconds, one per launch, and their number.
    """
    result[unsafe_offset=0] = handle[unsafe_offset=PROFILE]
    return Int32(handle[unsafe_offset=PROFILE + 1])


def session_state(handle: Args, index: Int, count: Int, result: Args) -> Int32:
    """Gives the address of a state and the bytes reserved for it; status 1 if there is none.
    """
    if index < 0 or index >= count:
        return 1
    var word = handle.unsafe_offset(STATES + 2 * index)
    result[unsafe_offset=0] = word[unsafe_offset=0]
    result[unsafe_offset=1] = word[unsafe_offset=1]
    return 0


def session_close(handle: Args):
    """Stops the threads and frees everything the session owns."""
    var s = Session(handle)
    s.profile().close()
    pool_destroy(Args(unsafe_from_address=Int(s.words[unsafe_offset=POOL])))
    release(
        Int(s.words[unsafe_offset=WEIGHTS]),
        Int(s.words[unsafe_offset=WEIGHT_BYTES]),
    )
    for word in [ARENA, SCRATCH]:
        release(
            Int(s.words[unsafe_offset=word]),
            Int(s.words[unsafe_offset=word + 1]),
        )
    for i in range(MAX_STATES):
        release(
            Int(s.words[unsafe_offset=STATES + 2 * i]),
            Int(s.words[unsafe_offset=STATES + 2 * i + 1]),
        )
    for i in range(MAX_OUTPUTS):
        release(
            Int(s.words[unsafe_offset=OWNED + 2 * i]),
            Int(s.words[unsafe_offset=OWNED + 2 * i + 1]),
        )
    release(Int(handle), SESSION_BYTES)
