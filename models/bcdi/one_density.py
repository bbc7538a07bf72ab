"""Phase retrieval that also begins with crystals of one density, and takes what explains held-out voxels better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from models.bcdi.pattern import Filled
from models.bcdi.phasing import Phased, PhasingConfig, phase_retrieval
from models.bcdi.search import PhasingCancelled, rank
from models.bcdi.uniform import LEAST, cube_about, uniform_crystals
from models.light import in_even_light, light_of

# Random starts are so much of the work, told by `progress`; crystals of one density are told as one step.
RANDOM_SHARE, CRYSTALS_SHARE = 0.5, 0.4


def phase_retrieval_both_ways(
    counts: NDArray[np.float32],
    mask: NDArray[np.bool_],
    config: PhasingConfig,
    *,
    scale: NDArray[np.float32] | None = None,
    background: NDArray[np.float32] | None = None,
    filled: Filled | None = None,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Phased:
    """Invert a volume from random starts, and from the crystal of one density that explains it; return the better.

    Arguments and errors as of `phasing.phase_retrieval`, of which `held_out` must not be 0: those voxels, which neither
    way sees, decide. While crystals of one density are sought, `cancelled` is not asked. What the starts of the result
    agree on is what the likeliest of these crystals do, where they are better. Where a gap hides the peak's
    surroundings, random starts alone often end in a wrong crystal. Not for streaming.
    """
    if config.held_out == 0.0:
        raise ValueError("held_out is 0: nothing would decide between random starts and crystals of one density")
    told = progress or (lambda share: None)
    invert = partial(
        phase_retrieval, counts, mask, scale=scale, background=background, filled=filled, cancelled=cancelled
    )
    free = invert(config, progress=lambda share: told(RANDOM_SHARE * share))
    crystals = _crystals(counts, mask & np.isfinite(counts) & ~free.held_out, config, scale, background)
    begun = RANDOM_SHARE + CRYSTALS_SHARE
    told(begun)
    if cancelled is not None and cancelled():
        raise PhasingCancelled
    if crystals is None:
        told(1.0)
        return free
    even = invert(
        replace(config, keep=len(crystals)), start=crystals, progress=lambda share: told(begun + (1.0 - begun) * share)
    )
    return min(free, even, key=lambda found: rank(found.figures))


def _crystals(
    counts: NDArray[np.float32],
    seen: NDArray[np.bool_],
    config: PhasingConfig,
    scale: NDArray[np.float32] | None,
    background: NDArray[np.float32] | None,
) -> NDArray[np.complex64] | None:
    """Crystals of one density [n, z, y, x] that explain the central cube, or None where it holds too little."""
    cube = cube_about((n // 2 for n in counts.shape), counts.shape)
    even, _ = in_even_light(np.where(seen, counts, np.float32(0.0)), seen, light_of(counts.shape, scale, background))
    if min(even[cube].shape) < LEAST or not np.any(even[cube] > 0):
        return None
    return uniform_crystals(even[cube], seen[cube], config.seed, config.device).objects
