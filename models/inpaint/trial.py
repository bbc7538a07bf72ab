"""Whether the inpainter understands a pattern: a gap like its own is put where the counts are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.engine.port import Engine
from models.inpaint.predict import counted
from models.light import Light
from models.misfit import mean_square

Counts = NDArray[np.float32]
Mask = NDArray[np.bool_]

# The gap is moved by one of these, px, along rows, columns or both, as a cross must be.
SHIFTS = (4, 6, 8, 12, 16, 20, 24)
WAYS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1))
# Voxels this near to the real gap, px, are not judged: there the two are one wide gap, as where arms of a cross meet.
MARGIN = 4
# Share of the gap that must be judged for the test to say anything.
LEAST_JUDGED = 0.25


def trial(counts: Counts, seen: Mask, filled: Mask, engine: Engine, light: Light) -> float:
    """Return the mean square of (counted - told) / (standard deviation told), 1 where the network is as good as it
    says.

    `counts` float32, 0 where not `seen` bool, `filled` bool where a gap was filled, all [z, y, x]; without a guide,
    which would take too long. NaN where the gap fits nowhere else or lies in the dark.
    """
    moved = moved_gap(filled & seen.any(axis=(1, 2), keepdims=True), seen)
    if moved is None:
        return float("nan")
    asked, judged = moved
    left = seen & ~asked
    told, spread = counted(np.where(left, counts, np.float32(0.0)), left, asked, engine, light, guided=False)
    return mean_square(counts[judged], told[judged], np.maximum(spread[judged], 1.0))


def moved_gap(gap: Mask, seen: Mask) -> tuple[Mask, Mask] | None:
    """Return seen voxels that lie like those of `gap` a little aside, and those of them that are far enough from it, as
    many as can be; None where there is no room for them.
    """
    flat = np.asarray(gap.any(axis=0))
    near = ndimage.binary_dilation(flat, iterations=MARGIN)
    steps = [(rows * shift, columns * shift) for shift in SHIFTS for rows, columns in WAYS]
    rows, columns = max(steps, key=lambda step: np.count_nonzero(_shifted(flat, *step) & ~near))
    asked = _shifted(gap, rows, columns) & seen
    judged = asked & ~near
    return (asked, judged) if np.count_nonzero(judged) > LEAST_JUDGED * np.count_nonzero(gap) else None


def _shifted(mask: Mask, rows: int, columns: int) -> Mask:
    """Return a mask [..., row, column] moved, False where it comes from beyond."""
    moved = np.zeros_like(mask)
    (to_row, from_row), (to_column, from_column) = _parts(rows), _parts(columns)
    moved[..., to_row, to_column] = mask[..., from_row, from_column]
    return moved


def _parts(by: int) -> tuple[slice, slice]:
    """Where a line moved by some voxels goes to, and where it comes from."""
    ahead, behind = slice(max(by, 0), min(by, 0) or None), slice(max(-by, 0), min(-by, 0) or None)
    return ahead, behind
