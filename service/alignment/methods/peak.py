"""A peak of about known widths, fitted to all counts: the fewest measurements. See `models.peak`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from models import peak
from service.alignment.methods.port import Axis, Point

# After a refusal the next proposal goes only this share of the way from the best point.
SHORTER = 0.5
# A peak is one that rises so many deviations of the background above it.
SIGMAS = 5.0
# What follows measures no farther than this from the best point, in widths, so that the crystal stays in the beam, only
# when the place is not known to so many tolerances, and remembers so many measurements for each axis.
FOLLOWED, LOOSELY, REMEMBERED = 0.08, 2.0, 12


def no_peak(most: float, background: float) -> str:
    """Return why the largest value that was measured is no peak's; "" where it is."""
    threshold = background + max(SIGMAS * math.sqrt(background), SIGMAS)
    return "" if most > threshold else f"no peak: the most was {most:.6g}, expected above {threshold:.6g}"


class PeakFit:
    """Finds a peak of counts whose widths are about known along every axis; `background` counts without it.

    Ends once the place is known to the axes' tolerances; `follow` goes on for ever instead: it stays at the best point,
    and looks close beside it once that may have walked.
    """

    def __init__(
        self, axes: Sequence[Axis], start: Point, background: float = 1.0, follow: bool = False, seed: int = 0
    ) -> None:
        self._widths = np.array([axis.width for axis in axes])
        self._peak = peak.Peak(
            low=np.array([axis.low for axis in axes]) / self._widths,
            high=np.array([axis.high for axis in axes]) / self._widths,
            widths=np.ones(len(axes)),
            tolerances=np.array([axis.tolerance for axis in axes]) / self._widths,
            background=background,
            drift=np.array([axis.drift for axis in axes]) / self._widths,
            fringed=tuple(number for number, axis in enumerate(axes) if axis.fringed),
            seed=seed,
        )
        self._follow = follow
        self._most, self._background = 0.0, background
        self._share, self._state = 1.0, peak.init(self._peak, start / self._widths)

    def ask(self) -> Point | None:
        found = peak.found(self._peak, self._state)
        if found and not self._follow:
            return None
        best = peak.settled(self._peak, self._state)
        if found:
            self._stay_near()
            return np.asarray(best * self._widths)
        there = best + self._share * (peak.propose(self._peak, self._state) - best)
        return np.asarray(there * self._widths)

    def tell(self, at: Point, value: float, time_s: float) -> None:
        self._share, self._most = 1.0, max(self._most, value)
        self._state = peak.update(self._peak, self._state, at / self._widths, max(value, 0.0), time_s)

    def refused(self) -> None:
        self._share *= SHORTER
        self._peak = replace(self._peak, seed=self._peak.seed + 1)

    def failure(self) -> str:
        return no_peak(self._most, self._background)

    def best(self) -> Point:
        return np.asarray(peak.settled(self._peak, self._state) * self._widths)

    def _stay_near(self) -> None:
        """Once found it is followed: lesser peaks beside it need not be looked for again."""
        if self._peak.memory is None:
            memory, tolerances = REMEMBERED * len(self._widths), LOOSELY * np.asarray(self._peak.tolerances)
            self._peak = replace(self._peak, fringed=(), around=FOLLOWED, memory=memory, tolerances=tolerances)
