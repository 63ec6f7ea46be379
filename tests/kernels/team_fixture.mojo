"""Teams and buffers for kernel tests: threads are played one after the other."""

from std.ffi import external_call

from maccel.amx import has_amx
from maccel.libc import request_amx
from maccel.team import POOL_SCRATCH, POOL_SCRATCH_BYTES, POOL_TEAM_SIZE, Team
from maccel.types import Args, Ptr


def buffer[dt: DType](count: Int) -> Ptr[dt]:
    """Allocates `count` elements (64-byte aligned, never freed: the test process ends).
    """
    var bytes = (count * 8 + 4096) // 64 * 64
    var address = external_call["aligned_alloc", Int](Int(64), bytes)
    return Ptr[dt](unsafe_from_address=address)


def filled[dt: DType](count: Int, seed: Int) -> Ptr[dt]:
    """Allocates `count` small multiples of 1/16: products and sums of them are exact.
    """
    var data = buffer[dt](count)
    var state = seed * 2654435761 + 12345
    for i in range(count):
        state = (state * 1103515245 + 12345) % 2147483648
        data[unsafe_offset=i] = Scalar[dt](
            Float64((state >> 16) % 33 - 16) / 16.0
        )
    return data


def tiles_permitted() -> Bool:
    """Returns false, and says so, if the target has AMX and the system refuses it.
    """
    comptime if has_amx():
        if not request_amx():
            print("skipped: the system does not let this process use AMX")
            return False
    return True


def control_block(size: Int, scratch_bytes: Int) -> Args:
    """Builds a pool control block for kernels without barriers."""
    var block = buffer[DType.int64](128)
    for i in range(128):
        block[unsafe_offset=i] = 0
    block[unsafe_offset=POOL_TEAM_SIZE] = Int64(size)
    block[unsafe_offset=POOL_SCRATCH] = Int64(
        Int(buffer[DType.int64](size * scratch_bytes // 8))
    )
    block[unsafe_offset=POOL_SCRATCH_BYTES] = Int64(scratch_bytes)
    return block
