"""Extremum seeking: no model of the peak, all axes at once, for ever if need be. See `models.extremum`."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np

from models import extremum
from service.alignment.methods.port import Axis, Levelled, Point, logarithm

# The range of the search in widths to each side of the start, and the swing at first in widths.
REACH, SWING = 5.0, 0.5
# The least swing, as a share of the tolerance.
LEAST = 0.7
GAIN = 1.5
# To follow: a swing that a change shows against, in widths, and a gain with which the centre does not go astray by the
# swings of all other axes: of 12 pairs, good for all 6 axes of drifting crystals (service.adapters.twin_drifting, seeds
# 1000 to 1004).
FOLLOWING, FOLLOWING_GAIN = 0.11, 0.3
# It has arrived when the centre, averaged over so many measurements, is where it was the same number before.
STOOD = 20


class Seeking:
    """Drives all axes at once up the value; ends when its centre stands, or never where it is to `follow`.

    Wants nothing known of the peak but widths, and many more measurements than the fit of one. What is driven up is
    `levelled` of the value.
    """

    def __init__(
        self, axes: Sequence[Axis], start: Point, follow: bool = False, seed: int = 0, gain: float | None = None,
        levelled: Levelled = logarithm,
    ) -> None:  # fmt: skip
        widths, tolerances = (np.array([getattr(axis, name) for axis in axes]) for name in ("width", "tolerance"))
        self._axes, self._tolerances, self._follow, self._levelled = axes, tolerances, follow, levelled
        # A range of so many widths for each axis alike: one swing, a share of the range, suits them all.
        swing = (FOLLOWING if follow else SWING) / (2.0 * REACH)
        least = LEAST * float(np.min(tolerances / widths)) / (2.0 * REACH)
        known = FOLLOWING_GAIN if follow else GAIN
        self._seeking = extremum.Seeking(
            low=start - REACH * widths, high=start + REACH * widths, swing=swing,
            least_swing=swing if follow else min(least, swing),
            gain=known if gain is None else gain, seed=seed,
        )  # fmt: skip
        self._state = extremum.init(self._seeking, start)
        self._centres: deque[Point] = deque(maxlen=2 * STOOD)

    def ask(self) -> Point | None:
        if not self._follow and self._stands():
            return None
        return self._within(extremum.propose(self._seeking, self._state))

    def tell(self, at: Point, value: float, time_s: float) -> None:
        self._go_on(-self._levelled(value))

    def refused(self) -> None:
        """A wall: worse than what was measured of late."""
        if self._state.step:
            self._go_on(self._state.mean + 2.0 * math.sqrt(self._state.largest))

    def failure(self) -> str:
        return ""

    def best(self) -> Point:
        return self._within(extremum.settled(self._seeking, self._state))

    def _go_on(self, cost: float) -> None:
        self._state = extremum.update(self._seeking, self._state, cost)
        self._centres.append(extremum.settled(self._seeking, self._state))

    def _stands(self) -> bool:
        if len(self._centres) < 2 * STOOD:
            return False
        centres = np.array(self._centres)
        moved = centres[:STOOD].mean(axis=0) - centres[STOOD:].mean(axis=0)
        return bool(np.all(np.abs(moved) <= self._tolerances))

    def _within(self, point: Point) -> Point:
        return np.array([axis.within(float(at)) for axis, at in zip(self._axes, point, strict=True)])
