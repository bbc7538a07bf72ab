"""Gaps that nobody announced: lines and blocks of pixels that count nothing between bright ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Counts = NDArray[np.float32]

# Pixels side by side that are judged together: few enough for a block, more than the ends of a speckle.
STRETCH = 8
# Between bright fringes, summed over a rocking curve, at least this share of the dimmer one is left.
LEAST_SHARE = 0.1
# Poisson chance of a stretch without a count: one false alarm in a hundred crops of 512 x 512.
DARK_CHANCE = 1e-8


def dark_lines(counts: Counts, mask: Mask) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows and columns of a crop where some stretch of pixels is dark amid bright neighbours.

    `counts` float32 and `mask` bool [rocking, row, column]. A stretch of `STRETCH` good pixels along a line is dark
    where it has no count in any frame, though the nearest stretches with counts on both sides leave that to less than
    `DARK_CHANCE`. Low counts around a pattern fade before they end, so that their edge is not dark in this sense.
    """
    total = (counts * mask).sum(axis=0, dtype=np.float64)
    seen = np.asarray(mask.any(axis=0))
    return _dark_rows(total, seen), _dark_rows(total.T, seen.T)


def _dark_rows(total: NDArray[np.float64], seen: Mask) -> NDArray[np.intp]:
    """Rows with a dark stretch; `total` counts and `seen` [row, column]."""
    if total.shape[1] < STRETCH:
        return np.zeros(0, dtype=np.intp)
    stretches = np.lib.stride_tricks.sliding_window_view(total, STRETCH, axis=1).sum(axis=-1)
    good = np.lib.stride_tricks.sliding_window_view(seen, STRETCH, axis=1).all(axis=-1)
    expected = LEAST_SHARE * np.minimum(_last_lit(stretches), _last_lit(stretches[::-1])[::-1])
    return np.flatnonzero((good & (stretches == 0) & (expected > -np.log(DARK_CHANCE))).any(axis=1))


def _last_lit(stretches: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each stretch the nearest counts at or above it in its column, zero where there are none."""
    rows = np.where(stretches > 0, np.arange(len(stretches))[:, None], 0)
    return np.asarray(np.take_along_axis(stretches, np.maximum.accumulate(rows, axis=0), axis=0))
