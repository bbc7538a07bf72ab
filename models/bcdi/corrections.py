"""What is wrong with the pixels of a detector: dark, flat, hot and saturated ones.

Nothing here changes a count. A pixel that cannot be trusted is masked; what can be described is a term of the model,
counts ~ Poisson(scale * |F|^2 + background), so that the counts stay Poisson distributed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

Mask = NDArray[np.bool_]
Counts = NDArray[np.float32]

# A hot pixel stands this far above its neighbours. Two samples a fringe leave a neighbour of the sharpest speckle
# with sinc^2(1/2) = 0.41 of it, so that no speckle comes near.
HOT_FACTOR = 4.0
# Poisson chance of the excess: one false pixel in twenty detectors of 2070 x 2167.
HOT_CHANCE = 1e-8
# So few are never that much of an excess, whatever is around.
FEWEST_HOT = 8.0
# The second largest of the eight neighbours stands for the surroundings, so that pairs of hot pixels are found. With
# the fourth, fringes of a facet along a row would be called hot in a scan that never leaves the peak.
HOT_RANK = -2
# Fewer frames than this show no persistence.
HOT_FRAMES = 4
# A pixel with more dark counts a frame above the detector's median than this drowns the fringes around it.
DARK_EXCESS = 1.0
# Excess over the dark image's own spread, in its standard deviations.
DARK_SIGMAS = 6.0
# Below this share of the median efficiency the flat field itself is noise.
DEAD_EFFICIENCY = 0.1
# Counts repeat by chance below this, so that a plateau says nothing.
PLATEAU_COUNTS = 1000.0
# Voxels at exactly the maximum that make a plateau: chance repeats it once or twice.
PLATEAU_VOXELS = 4


def find_hot_pixels(counts: Counts, mask: Mask) -> Mask:
    """Return bool [row, column], True where a pixel is hot: isolated in space, and counting where the crystal is dark.

    `counts` float32 and `mask` bool [rocking, row, column]. The frames are ordered by brightness and only the dimmer
    half is looked at, without each pixel's largest value, so neither the Bragg peak nor a single cosmic ray counts as
    hot. Fewer than four frames show no persistence: then no pixel is called hot.
    """
    if len(counts) < HOT_FRAMES:
        return np.zeros(counts.shape[1:], dtype=bool)
    dim = _dimmer_half(counts, mask)
    level, largest = np.zeros(counts.shape[1:]), np.zeros(counts.shape[1:], np.float32)
    for frame in dim:
        quiet = counts[frame] * mask[frame]
        level += quiet
        np.maximum(largest, quiet, out=largest)
    return find_isolated_pixels(level - largest)


def find_isolated_pixels(counts: NDArray[np.float64]) -> Mask:
    """Return bool [row, column], True where one pixel of a frame, counts float64, stands out of all about it.

    A hot pixel or a cosmic ray; no spot that two pixels or more across resolve.
    """
    hot = np.zeros(counts.shape, dtype=bool)
    rows, columns = _candidates(counts)
    level = counts[rows, columns]
    around = _surroundings(counts, rows, columns)
    by_chance = special.pdtrc(level - 1.0, around + 1.0)  # of `level` or more where about `around` are expected
    hot[rows, columns] = (level > HOT_FACTOR * around) & (by_chance < HOT_CHANCE)
    return hot


def dark_outliers(dark: Counts) -> Mask:
    """Return bool [row, column], True where the dark image (counts a frame) stands out of the detector's level."""
    level = np.median(dark)
    spread = 1.4826 * np.median(np.abs(dark - level))  # the median deviation of a Gaussian, as its sigma
    return np.asarray(dark > level + max(DARK_EXCESS, DARK_SIGMAS * spread), dtype=bool)


def efficiency(flat: Counts) -> tuple[Counts, Mask]:
    """Return relative efficiency, float32 [row, column] with median 1, and True where the flat field is usable.

    `flat` may be in any unit (counts of a white field). Unusable pixels get efficiency 1; the caller masks them.
    """
    finite = np.isfinite(flat) & (flat > 0)
    if not finite.any():
        raise ValueError("flat field has no pixel above zero: give another one, or none")
    relative = flat / np.median(flat[finite])
    usable = finite & (relative >= DEAD_EFFICIENCY)
    return np.where(usable, relative, 1.0).astype(np.float32), usable


def saturation_level(counts: Counts, mask: Mask) -> float | None:
    """Return the plateau on which the counts end, None if they do not.

    Poisson counts above a thousand almost never share their maximum; a detector that overflows does.
    """
    top = float(counts.max(initial=0.0, where=mask))
    if top < PLATEAU_COUNTS:
        return None
    return top if np.count_nonzero((counts == top) & mask) >= PLATEAU_VOXELS else None


def _dimmer_half(counts: Counts, mask: Mask) -> NDArray[np.intp]:
    # The square root keeps one noisy hot pixel from outweighing the crystal.
    brightness = [float(np.sqrt(frame * good).sum()) for frame, good in zip(counts, mask, strict=True)]
    return np.sort(np.argsort(brightness)[: max(HOT_FRAMES, len(counts) // 2)])


def _candidates(counts: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of pixels that stand out of at least one neighbour along both axes: few, and found quickly."""
    padded = np.pad(counts, 1, mode="reflect")
    upright = np.minimum(padded[:-2, 1:-1], padded[2:, 1:-1])
    level = np.minimum(padded[1:-1, :-2], padded[1:-1, 2:])
    rows, columns = np.nonzero((counts > HOT_FACTOR * np.maximum(upright, level)) & (counts > FEWEST_HOT))
    return rows, columns


def _surroundings(
    counts: NDArray[np.float64], rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> NDArray[np.float64]:
    padded = np.pad(counts, 1, mode="reflect")
    ring = [(row, column) for row in range(3) for column in range(3) if (row, column) != (1, 1)]
    about = np.array([padded[rows + row, columns + column] for row, column in ring])
    return np.asarray(np.sort(about, axis=0)[HOT_RANK])
