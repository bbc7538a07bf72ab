"""A photon counting detector with its faults: gaps, dead and hot pixels, a background, a counter that overflows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
FrameShape = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """What a frame passes through; all arrays [row, column].

    `gaps` and `dead` bool, True where nothing is counted; `hot_counts` float32, counts a frame that a pixel adds by
    itself; `background_counts` a frame in every pixel; `saturation_counts` at which the counter stops.
    """

    gaps: Mask
    dead: Mask
    hot_counts: NDArray[np.float32]
    background_counts: float
    saturation_counts: float

    @property
    def announced_mask(self) -> Mask:
        """What such a detector tells about itself, True is good: gaps and dead pixels, not the hot ones."""
        return ~(self.gaps | self.dead)

    @property
    def true_mask(self) -> Mask:
        """True where a pixel counts photons and nothing else."""
        return self.announced_mask & ~(self.hot_counts > 0)


def perfect_detector(shape: FrameShape) -> Detector:
    """A detector that only counts."""
    nothing = np.zeros(shape, dtype=bool)
    return Detector(
        gaps=nothing,
        dead=nothing,
        hot_counts=np.zeros(shape, dtype=np.float32),
        background_counts=0.0,
        saturation_counts=np.inf,
    )


def random_detector(
    rng: np.random.Generator,
    shape: FrameShape,
    *,
    gap_rows: slice = slice(0, 0),
    gap_columns: slice = slice(0, 0),
    dead: int = 20,
    hot: int = 12,
    hot_counts: tuple[float, float] = (5.0, 2000.0),
    background_counts: float = 0.01,
    saturation_counts: float = 2.0**32 - 1,
) -> Detector:
    """Draw `dead` and `hot` pixels outside the gap lines `gap_rows` and `gap_columns`.

    The counts a frame of hot pixels are drawn log-uniformly from `hot_counts`.
    """
    gaps = np.zeros(shape, dtype=bool)
    gaps[gap_rows] = True
    gaps[:, gap_columns] = True
    free = np.flatnonzero(~gaps)
    if dead + hot > len(free):
        raise ValueError(f"{dead} dead and {hot} hot pixels do not fit into {len(free)} pixels outside the gaps")
    drawn = rng.choice(free, dead + hot, replace=False)
    is_dead, rates = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=np.float32)
    is_dead.flat[drawn[:dead]] = True
    rates.flat[drawn[dead:]] = np.exp(rng.uniform(math.log(hot_counts[0]), math.log(hot_counts[1]), hot))
    return Detector(
        gaps=gaps,
        dead=is_dead,
        hot_counts=rates,
        background_counts=background_counts,
        saturation_counts=saturation_counts,
    )


def expose(rng: np.random.Generator, expected: NDArray[np.float32], detector: Detector) -> NDArray[np.uint32]:
    """Draw the counts of one frame or of a volume, uint32 [..., row, column], from expected photons float32."""
    rate = (expected + detector.background_counts + detector.hot_counts) * detector.announced_mask
    counts = rng.poisson(rate)
    return np.minimum(counts, min(detector.saturation_counts, 2.0**32 - 1)).astype(np.uint32)
