"""How far counts are off what a network told of them, in the deviations that it told."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

# Counts from which noise is nearly normal.
BRIGHT = 10.0
# Squares of deviations count up to this: a single hot pixel says nothing of the network.
LARGEST_SQUARE = 25.0
# Fewer voxels than this say nothing either.
FEWEST = 50


def mean_square(counts: NDArray[np.float32], told: NDArray[np.float32], variance: NDArray[np.float32]) -> float:
    """Return the mean of (counts - told)^2 / variance, about 1 where both are right, NaN in the dark.

    All float32 [voxels]. Voxels are chosen by what was told: those bright by their counts have fluctuated upwards.
    """
    bright = told >= BRIGHT
    if np.count_nonzero(bright) < FEWEST:
        return math.nan
    square = (counts - told)[bright] ** 2 / variance[bright]
    return float(np.minimum(square, LARGEST_SQUARE).mean(dtype=np.float64))
