"""Where the crystal is in a complex object, dark lines through it included."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import (
    binary_closing,
    binary_fill_holes,
    distance_transform_edt,
    find_objects,
    gaussian_filter,
    label,
)

# A crystal ends at this share of an amplitude that only few of its voxels exceed; those are told from this share of all
# voxels, so that no single one decides.
INSIDE, FULL_PERCENTILE, BRIGHTEST = 0.25, 90.0, 1e-3
# A dislocation is dark; gaps as narrow as that are crystal.
DARK_VOXELS = 3
# What lies this share of its inner radius and deeper is its inside, looked at this coarsely.
DEEP, SMOOTHED = 0.35, 0.12


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


def darkest(object_: NDArray[np.complex64], body: NDArray[np.bool_]) -> float:
    """Return how dark the darkest place deep in a crystal is, as a share of its usual amplitude: about 1 but for hollow
    ones. `object_` complex64 and `body` bool [z, y, x]; seen as coarsely as SMOOTHED of its inner radius, so that
    lines, which are dark too, are not; 1 where the crystal is too small to have a depth.
    """
    whole = np.pad(binary_fill_holes(body), 1)
    if not whole.any():
        return 1.0
    box = find_objects(whole.astype(np.int8))[0]
    around = tuple(slice(part.start - 1, part.stop + 1) for part in box)
    depth = distance_transform_edt(whole[around])
    radius = float(depth.max())
    deep = depth > max(DEEP * radius, DARK_VOXELS)
    if not deep.any():
        return 1.0
    seen = gaussian_filter(np.pad(np.abs(object_), 1)[around], SMOOTHED * radius + 0.5)[deep]
    return float(seen.min() / np.median(seen))


def _bright(amplitude: NDArray[np.floating]) -> NDArray[np.bool_]:
    few = max(1, int(BRIGHTEST * amplitude.size))
    lit = amplitude[amplitude > 0.5 * np.partition(amplitude, -few, axis=None)[-few]]
    return np.asarray(amplitude > (INSIDE * np.percentile(lit, FULL_PERCENTILE) if lit.size else np.inf), bool)
