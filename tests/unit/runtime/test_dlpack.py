"""Arrays of other libraries are read where they are, through DLPack."""

from __future__ import annotations

from typing import Any

import numpy as np

from mojoaccel.runtime.tensors import address_of, read_operand


class Foreign:
    """An array that speaks DLPack and nothing else."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


def test_memory_of_another_library_is_not_copied() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = read_operand(Foreign(array))
    assert (found.shape, found.dtype) == ((3, 4), "float32")
    assert found.address == address_of(array)


def test_strided_memory_is_copied_dense() -> None:
    array = np.arange(12, dtype=np.int64).reshape(3, 4).T
    found = read_operand(Foreign(array))
    assert found.shape == (4, 3) and found.address != address_of(array)
    np.testing.assert_array_equal(found.owner, array)
