"""Where the crystal is: the part of a support that holds enough amplitude for its phase to mean something."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, label

# Share of the largest amplitude; 0.3 is usual in Bragg CDI (cdiutils, PyNX tutorials), below it the phase is noise.
ISOSURFACE = 0.3
# The largest amplitude is read at this percentile of the support: one hot voxel must not shrink the crystal.
TOP_PERCENT = 99.0


def isosurface(
    object_: NDArray[np.complex64], support: NDArray[np.bool_], share: float = ISOSURFACE
) -> NDArray[np.bool_]:
    """Largest connected piece of `support` above `share` of the largest amplitude, its holes filled; bool [z, y, x].

    `object_` complex64 and `support` bool [z, y, x]. A support from shrink-wrapping is loose on purpose: phase
    retrieval wants the air, displacement and strain do not. Raises ValueError where the support is empty.
    """
    if not support.any():
        raise ValueError("the support is empty: no crystal in it")
    amplitude = np.abs(object_)
    top = np.percentile(amplitude[support], TOP_PERCENT)
    pieces, _ = label(support & (amplitude >= share * top) & (amplitude > 0.0))
    sizes = np.bincount(pieces.ravel())
    if len(sizes) < 2:
        raise ValueError("the object is zero everywhere in its support")
    crystal: NDArray[np.bool_] = binary_fill_holes(pieces == 1 + sizes[1:].argmax())
    return crystal
