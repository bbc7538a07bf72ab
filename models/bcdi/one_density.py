"""Phase retrieval that also begins with crystals of one density, and takes what explains held-out voxels better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.bcdi.pattern import Filled
from models.bcdi.phasing import Phased, PhasingConfig, phase_retrieval
from models.bcdi.search import rank
from models.bcdi.uniform import uniform_crystals
from models.light import in_even_light, light_of

# Edges of the central cube in which crystals of one density are sought; fewer voxels than the least tell no crystal.
LARGEST, LEAST = 64, 16
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

    Arguments and errors as of `phasing.phase_retrieval`; neither way sees the held-out voxels. Where a gap hides the
    peak's surroundings, random starts alone often end in a wrong crystal. Not for streaming.
    """
    told = progress or (lambda share: None)
    free = phase_retrieval(
        counts, mask, config, scale=scale, background=background, filled=filled,
        progress=lambda share: told(RANDOM_SHARE * share), cancelled=cancelled,
    )  # fmt: skip
    crystal = _crystal(counts, mask & np.isfinite(counts) & ~free.held_out, config, scale, background)
    begun = RANDOM_SHARE + CRYSTALS_SHARE
    told(begun)
    if crystal is None:
        return free
    few = min(config.starts, config.keep)
    even = phase_retrieval(
        counts, mask, replace(config, starts=few, keep=few), scale=scale, background=background, start=crystal,
        filled=filled, progress=lambda share: told(begun + (1.0 - begun) * share), cancelled=cancelled,
    )  # fmt: skip
    return min(free, even, key=lambda found: rank(found.figures))


def _crystal(
    counts: NDArray[np.float32],
    seen: NDArray[np.bool_],
    config: PhasingConfig,
    scale: NDArray[np.float32] | None,
    background: NDArray[np.float32] | None,
) -> NDArray[np.complex64] | None:
    """The likeliest crystal of one density of the central cube, or None where nothing tells it."""
    cube = tuple(_middle(n) for n in counts.shape)
    even, _ = in_even_light(np.where(seen, counts, np.float32(0.0)), seen, light_of(counts.shape, scale, background))
    if min(even[cube].shape) < LEAST or not np.any(even[cube] > 0):
        return None
    likeliest: NDArray[np.complex64] = uniform_crystals(even[cube], seen[cube], config.seed, config.device).objects[0]
    return likeliest


def _middle(length: int) -> slice:
    """The indices about length // 2 of the largest even edge that is allowed."""
    half = min(LARGEST, length) // 2
    return slice(length // 2 - half, length // 2 + half)
