"""Packs matrices of weights into the panels that the Mojo kernels read."""

from __future__ import annotations

import numpy as np

PANEL_VECTORS = {64: (3, 4, 2), 32: (2,), 16: (3, 4, 2)}
"""Widths of a weight panel in vectors, by register bytes, the fastest first."""


def panel_widths(columns: int, lanes: int, simd_bytes: int, *, few_rows: bool = False) -> list[int]:
    """Returns the possible columns per panel, the one expected to be fastest first.

    A wide matrix prefers the fastest width; a narrow one another if that saves a sixteenth of its
    columns: 64 columns fit one panel of 4 AVX-512 vectors, but would pad two of 3 to 96. Widths
    that pad more than a quarter are left out, unless nothing else is possible.

    Args:
        columns: Columns of the matrix (output features).
        lanes: Elements of the accumulation type in a register.
        simd_bytes: Bytes in a register.
        few_rows: One or two rows will meet the matrix, which then only streams by: the widest
            panel does so best (784 x 512 from the L2 cache: 5.6 us with 4 vectors, 6.0 with 3).
    """
    vectors = PANEL_VECTORS.get(simd_bytes, (2,))
    if few_rows:
        vectors = tuple(sorted(vectors, reverse=True))
    widths = [v * lanes for v in vectors]
    slack = columns // 16
    order = sorted(widths, key=lambda nr: (max(0, -columns % nr - slack), widths.index(nr)))
    return [nr for nr in order if nr == order[0] or -columns % nr <= columns // 4]


AMX_PANEL = 32
"""Columns of a panel that AMX tiles multiply: two tiles (``PANEL`` of ``maccel.tiles``)."""

AMX_SCRATCH = 1 << 16
"""Scratch bytes per thread of the sums of AMX tiles (`tiles_scratch` of ``maccel.tile_grid``)."""


def fits_tiles(pairs: int) -> bool:
    """Whether AMX tiles multiply a reduction of `pairs`: it is whole tiles of 8 to 16 pairs."""
    return any(pairs % steps == 0 for steps in range(8, 17))


def pack_panels(weight_kn: np.ndarray, nr: int) -> np.ndarray:
    """Packs a matrix into panels of columns, the layout of ``maccel.linear``.

    The columns of one panel lie together for each row, so that a kernel that sweeps the reduction
    reads memory in order.

    Args:
        weight_kn: The matrix, ``[K, N]``. PyTorch's linear weight ``[N, K]`` is passed as ``w.T``.
        nr: Columns of a panel.

    Returns:
        A contiguous array ``[ceil(N / nr), K, nr]``: element ``[p, k, j]`` is
        ``weight_kn[k, p * nr + j]``, and zero where there is no such column.
    """
    k, n = weight_kn.shape
    full, rest = divmod(n, nr)
    packed = np.empty((full + bool(rest), k, nr), weight_kn.dtype)
    packed[:full] = weight_kn[:, : full * nr].reshape(k, full, nr).transpose(1, 0, 2)
    if rest:
        packed[full, :, :rest] = weight_kn[:, full * nr :]
        packed[full, :, rest:] = 0
    return packed


def pair_rows(panels: np.ndarray) -> np.ndarray:
    """Puts neighbours along the reduction side by side, for ``maccel.pairs``.

    Args:
        panels: ``[..., K, nr]``, K even.

    Returns:
        ``[..., K / 2, nr, 2]``: element ``[..., k, j, i]`` is ``panels[..., 2 * k + i, j]``.
    """
    *outer, k, nr = panels.shape
    return panels.reshape(*outer, k // 2, 2, nr).swapaxes(-1, -2)
