"""How wide a rocking curve is."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEWEST_POINTS = 5
# The background is the median of this share of the values, the lowest ones.
LOWEST = 0.25


def full_width(positions: ArrayLike, values: ArrayLike) -> float:
    """Return the full width at half height of a curve of one peak, in the unit of `positions`.

    Both (points,), in any order. Half height is between the background and the largest value; from there outwards, the
    first crossing to each side is interpolated linearly, so that fringes do not count. NaN where that does not tell a
    width: a value that is not finite, fewer than five points, no peak, or a side that the curve does not reach down.
    Raises ValueError where shapes differ.
    """
    at, height = np.asarray(positions, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if at.ndim != 1 or at.shape != height.shape:
        raise ValueError(f"got positions of shape {at.shape} and values of shape {height.shape}, expected (points,)")
    if len(at) < FEWEST_POINTS or not np.all(np.isfinite(at) & np.isfinite(height)):
        return math.nan
    order = np.argsort(at, kind="stable")
    at, height = at[order], height[order]
    background = float(np.median(np.sort(height)[: math.ceil(LOWEST * len(height))]))
    half, top = (background + float(height.max())) / 2.0, int(np.argmax(height))
    right = _crossing(at[top:], height[top:], half)
    left = _crossing(at[top::-1], height[top::-1], half)
    width = right - left
    return width if width > 0.0 else math.nan


def _crossing(at: NDArray[np.float64], height: NDArray[np.float64], half: float) -> float:
    """Where a curve that begins above `half` first falls below it; NaN where it does not."""
    below = np.flatnonzero(height < half)
    if not len(below):
        return math.nan
    there = int(below[0])
    share = (height[there - 1] - half) / (height[there - 1] - height[there])
    return float(at[there - 1] + share * (at[there] - at[there - 1]))
