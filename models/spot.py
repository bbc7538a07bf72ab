"""Where the spot of a Bragg peak is on a detector: one frame, as a live detector gives it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.bcdi.corrections import find_isolated_pixels

Mask = NDArray[np.bool_]
Frame = NDArray[Any]
Counts = NDArray[np.float64]

# A spot is looked for in boxes of this edge, px.
BOX = 5
# A box shows a spot where it stands so many deviations above the others: among some million boxes none does by chance.
SIGMAS, LEAST_COUNTS = 8.0, 10.0
# The centre is that of what lies above this share of the spot's height: without background and fringes.
CORE = 0.3
# The median deviation of a Gaussian, as its sigma.
SIGMA_PER_MAD = 1.4826


def counting_pixels(frame: Frame) -> Mask:
    """Return bool [row, column], True where a frame holds counts.

    Not those that are negative or not finite, nor, of integers, the largest number: so detectors mark gaps, dead pixels
    and overflow. Raises ValueError where it is no frame.
    """
    if frame.ndim != 2 or not frame.size or frame.dtype.kind not in "iuf":
        raise ValueError(f"got {frame.dtype} of shape {frame.shape}, expected a frame [row, column] of numbers")
    if frame.dtype.kind == "f":
        return np.asarray(np.isfinite(frame) & (frame >= 0))
    return np.asarray((frame >= 0) & (frame < np.iinfo(frame.dtype).max))


def spot_centre(frame: Frame) -> tuple[float, float]:
    """Return the centre of mass (row, column) of the brightest spot of a frame [row, column], px; NaN where none is.

    Hot pixels and those that do not count are left out; the background is the median's. A counter that stops short of
    the largest number flattens the top and leaves the centre. A gap over the spot draws the centre to its seen side.
    Raises ValueError where it is no frame.
    """
    good = counting_pixels(frame)
    counts = np.where(good, frame, 0).astype(np.float64)
    good &= ~find_isolated_pixels(counts)
    smooth = _boxes(counts, good)
    seen = smooth[good]
    if not len(seen):
        return math.nan, math.nan
    level = float(np.median(seen))
    spread = max(SIGMA_PER_MAD * float(np.median(np.abs(seen - level))), math.sqrt(level) / BOX)
    top = np.unravel_index(int(np.argmax(smooth)), smooth.shape)
    height = float(smooth[top]) - level
    if height <= SIGMAS * spread + LEAST_COUNTS / BOX**2:
        return math.nan, math.nan
    above = np.maximum(smooth - level - CORE * height, 0.0)
    labels, _ = ndimage.label(above > 0.0)
    row, column = ndimage.center_of_mass(above * (labels == labels[top]))
    return float(row), float(column)


def _boxes(counts: Counts, good: Mask) -> Counts:
    """Mean counts of the good pixels in the box about each pixel, 0 where less than half of it is good."""
    weight = ndimage.uniform_filter(good.astype(np.float64), BOX, mode="constant")
    summed = ndimage.uniform_filter(counts * good, BOX, mode="constant")
    return np.where(weight >= 0.5, summed / np.maximum(weight, 0.5), 0.0)
