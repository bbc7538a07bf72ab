"""Whether the inpainter understands a pattern: a gap like its own is put where the counts are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.engine.port import Engine
from models.inpaint.predict import Light, counted
from models.misfit import mean_square

Counts = NDArray[np.float32]
Mask = NDArray[np.bool_]

# The gap is moved by one of these, px, along rows, columns or both, as a cross must be; at most a share of it may fall
# on what is hidden.
SHIFTS = (4, 6, 8, 12, 16, 20, 24)
WAYS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1))
MOST_HIDDEN = 0.2


def trial(counts: Counts, seen: Mask, filled: Mask, engine: Engine, light: Light) -> float:
    """Return the mean square of (counted - told) / (standard deviation told), 1 where the network is as good as it
    says.

    `counts` float32, 0 where not `seen` bool, `filled` bool where a gap was filled, all [z, y, x]; without a guide,
    which would take too long. NaN where the gap fits nowhere else or lies in the dark.
    """
    asked = moved_gap(filled & seen.any(axis=(1, 2), keepdims=True), seen)
    if asked is None:
        return float("nan")
    left = seen & ~asked
    told, spread = counted(np.where(left, counts, np.float32(0.0)), left, asked, engine, light, guided=False)
    return mean_square(counts[asked], told[asked], np.maximum(spread[asked], 1.0))


def moved_gap(gap: Mask, seen: Mask) -> Mask | None:
    """Return seen voxels that lie like those of `gap` a little aside, None where there is no room for them."""
    for shift in SHIFTS:
        for rows, columns in WAYS:
            moved = _shifted(_shifted(gap, rows * shift, 1), columns * shift, 2)
            if np.count_nonzero(moved & ~seen) <= MOST_HIDDEN * np.count_nonzero(gap) and (moved & seen).any():
                return moved & seen
    return None


def _shifted(mask: Mask, by: int, axis: int) -> Mask:
    """Return the mask moved along an axis, False where it comes from beyond."""
    if not by:
        return mask
    moved = np.roll(mask, by, axis=axis)
    np.moveaxis(moved, axis, 0)[slice(0, by) if by > 0 else slice(by, None)] = False
    return moved
