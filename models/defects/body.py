"""Where the crystal is in a complex object, dark lines through it included."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_fill_holes, label

# A crystal ends at this share of an amplitude that only few of its voxels exceed; those are told from this share of all
# voxels, so that no single one decides.
INSIDE, FULL_PERCENTILE, BRIGHTEST = 0.25, 90.0, 1e-3
# A dislocation is dark; gaps as narrow as that are crystal.
DARK_VOXELS = 3


def body_of(object_: NDArray[np.complex64], support: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """Return where the crystal is, bool [z, y, x]: the largest bright piece, of its `support` where that is known,
    closed. A support alone reaches into the dim rim, where phases are noise.
    """
    bright = _bright(np.abs(object_))
    if support is not None:
        bright &= support
    pieces, count = label(bright)
    if count > 1:
        bright = pieces == np.bincount(pieces.reshape(-1))[1:].argmax() + 1
    closed = binary_closing(np.pad(bright, DARK_VOXELS), np.ones((3, 3, 3), bool), iterations=DARK_VOXELS)
    return np.asarray(closed[(slice(DARK_VOXELS, -DARK_VOXELS),) * 3], bool)


def hole_share(object_: NDArray[np.complex64]) -> float:
    """Return the dark share of what the crystal encloses: about 0 but for hollow ones."""
    bright = _bright(np.abs(object_))
    whole = binary_fill_holes(bright)
    return float((whole & ~bright).sum() / max(int(whole.sum()), 1))


def _bright(amplitude: NDArray[np.floating]) -> NDArray[np.bool_]:
    few = max(1, int(BRIGHTEST * amplitude.size))
    lit = amplitude[amplitude > 0.5 * np.partition(amplitude, -few, axis=None)[-few]]
    return np.asarray(amplitude > (INSIDE * np.percentile(lit, FULL_PERCENTILE) if lit.size else np.inf), bool)
