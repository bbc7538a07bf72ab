"""Counts of a single frame or of several: shapes, and what is asked of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def as_volume(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape [z, y, x] of a volume that holds a frame or a volume of `shape`."""
    return shape if len(shape) == 3 else (1, *shape)


def require_counts(counts: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
    """Raise ValueError in one line where counts and mask are no frame or frames of which something is seen."""
    if counts.ndim not in (2, 3):
        raise ValueError(f"counts have shape {counts.shape}: expected [rocking, row, column] or [row, column]")
    if mask.shape != counts.shape:
        raise ValueError(f"mask has shape {mask.shape}, counts {counts.shape}: expected the same")
    if not mask.any():
        raise ValueError("all voxels are masked: nothing is seen")
    wrong = np.count_nonzero(~np.isfinite(counts[mask]))
    if wrong:
        raise ValueError(f"{wrong} voxels that the mask calls good are not finite: mask them")
