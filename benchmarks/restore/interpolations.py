"""What gaps are filled with elsewhere: interpolations of the logarithm of the counts, frame by frame.

All of them take counts float32 and a mask bool [z, y, x] that is the same in all frames, and return counts with the
hidden voxels filled.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CloughTocher2DInterpolator, LinearNDInterpolator, NearestNDInterpolator
from scipy.ndimage import binary_dilation
from skimage.restoration import inpaint_biharmonic

Counts = NDArray[np.float32]
Mask = NDArray[np.bool_]
# Pixels around a gap that an interpolation looks at: more do not change it, but cost.
AROUND = 3


def nearest(counts: Counts, mask: Mask) -> Counts:
    return _interpolated(NearestNDInterpolator, counts, mask)


def linear(counts: Counts, mask: Mask) -> Counts:
    return _interpolated(LinearNDInterpolator, counts, mask)


def cubic(counts: Counts, mask: Mask) -> Counts:
    """Clough and Tocher's cubic on triangles, Delaunay as in `linear`."""
    return _interpolated(CloughTocher2DInterpolator, counts, mask)


def biharmonic(counts: Counts, mask: Mask) -> Counts:
    hidden = ~mask[0]
    frames = np.moveaxis(np.log1p(np.where(mask, counts, 0.0)), 0, -1)
    filled = inpaint_biharmonic(frames, hidden, channel_axis=-1)
    return _put(counts, mask, np.moveaxis(filled, -1, 0)[:, hidden])


def _interpolated(kind: Callable[..., Callable[..., NDArray[np.float64]]], counts: Counts, mask: Mask) -> Counts:
    hidden = ~mask[0]
    near = _dilated(hidden) & ~hidden
    known = np.log1p(counts[:, near]).T.astype(np.float64)
    inside = np.argwhere(hidden)
    found = kind(np.argwhere(near), known)(inside)
    outside = ~np.isfinite(found).all(axis=1)  # a gap at the edge of the frame has nothing beyond
    if outside.any():
        found[outside] = NearestNDInterpolator(np.argwhere(near), known)(inside[outside])
    return _put(counts, mask, found.T)


def _dilated(hidden: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(binary_dilation(hidden, np.ones((2 * AROUND + 1,) * 2, bool)))


def _put(counts: Counts, mask: Mask, logarithms: NDArray[np.float64]) -> Counts:
    filled = np.where(mask, counts, np.float32(0.0))
    filled[:, ~mask[0]] = np.expm1(np.maximum(logarithms, 0.0))
    return filled
