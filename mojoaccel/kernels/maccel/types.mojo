"""The few types that every kernel shares."""

comptime Ptr[dt: DType] = Pointer[Scalar[dt], MutUntrackedOrigin]
"""A raw pointer to elements of `dt`; the caller owns the memory."""

comptime Args = Pointer[Int64, MutUntrackedOrigin]
"""A task's argument block: addresses, sizes and strides as 64-bit integers."""


@always_inline
def arg_ptr[dt: DType](args: Args, index: Int) -> Ptr[dt]:
    """Reads argument `index` as the address of elements of `dt`."""
    return Ptr[dt](unsafe_from_address=Int(args[unsafe_offset=index]))


@always_inline
def arg_int(args: Args, index: Int) -> Int:
    """Reads argument `index` as a size or stride."""
    return Int(args[unsafe_offset=index])


comptime F64[w: Int] = SIMD[DType.float64, w]
comptime F32[w: Int] = SIMD[DType.float32, w]
comptime F16[w: Int] = SIMD[DType.float16, w]
comptime BF16[w: Int] = SIMD[DType.bfloat16, w]
comptime I64[w: Int] = SIMD[DType.int64, w]
comptime I32[w: Int] = SIMD[DType.int32, w]
comptime I16[w: Int] = SIMD[DType.int16, w]
comptime I8[w: Int] = SIMD[DType.int8, w]
comptime U8[w: Int] = SIMD[DType.uint8, w]
comptime U16[w: Int] = SIMD[DType.uint16, w]
comptime U32[w: Int] = SIMD[DType.uint32, w]
comptime U64[w: Int] = SIMD[DType.uint64, w]
comptime Mask[w: Int] = SIMD[DType.bool, w]
