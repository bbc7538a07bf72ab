"""One axis after another: the scans that people do, and searches by golden section and parabola."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import numpy as np

from service.alignment.methods.port import Axis, Levelled, Point, logarithm

Search = Generator[float, float, float]
"""Yields positions of one axis, is sent the values there, returns the best position."""
OneAxis = Callable[[Axis, float, float], Search]
"""one_axis(axis, position now, first reach) -> Search."""

# A scan goes so many widths to each side, with so many steps a width; the second time over, half as far.
REACH, STEPS = 2.5, 4
# The golden section of an interval, and the share of it within which a parabola is not trusted to go on.
GOLDEN = (3.0 - 5.0**0.5) / 2.0
MOST_ROUNDS = 6


class Lines:
    """Searches along each axis in turn, round after round, until none moves the best point by its tolerance."""

    def __init__(self, axes: Sequence[Axis], start: Point, one_axis: OneAxis) -> None:
        self._axes, self._one_axis = axes, one_axis
        self._best = np.array(start, dtype=np.float64)
        self._steps = self._all()
        self._next: Point | None = next(self._steps, None)
        self._lowest: float | None = None  # of what was measured
        self._owed = False  # an answer of the search, which the value at the start will be

    def ask(self) -> Point | None:
        return self._next

    def tell(self, at: Point, value: float, time_s: float) -> None:
        self._lowest = value if self._lowest is None else min(self._lowest, value)
        self._owed = False
        self._go_on(value)

    def refused(self) -> None:
        """A wall: no better than the worst that was measured, or than the start where nothing was."""
        if self._lowest is None and not self._owed:
            self._owed, self._next = True, self._best.copy()
            return
        self._go_on(0.0 if self._lowest is None else self._lowest)

    def _go_on(self, value: float) -> None:
        try:
            self._next = self._steps.send(value)
        except StopIteration:
            self._next = None

    def failure(self) -> str:
        return ""

    def best(self) -> Point:
        return self._best.copy()

    def _all(self) -> Generator[Point, float, None]:
        for turn in range(MOST_ROUNDS):
            before = self._best.copy()
            for number, axis in enumerate(self._axes):
                search = self._one_axis(axis, float(self._best[number]), REACH * axis.width / 2.0**turn)
                self._best[number] = yield from self._along(number, search)
            if all(abs(self._best - before) <= [axis.tolerance for axis in self._axes]):
                return

    def _along(self, number: int, search: Search) -> Generator[Point, float, float]:
        try:
            position = next(search)
            while True:
                there = self._best.copy()
                there[number] = position
                position = search.send((yield there))
        except StopIteration as done:
            return float(done.value)


def scan(axis: Axis, position: float, reach: float) -> Search:
    """Count at even steps and go to the middle of what is above half of the most."""
    low, high = max(axis.low, position - reach), min(axis.high, position + reach)
    places = np.linspace(low, high, 2 * round(REACH * STEPS) + 1)
    values = np.empty(len(places))
    for number, place in enumerate(places):
        values[number] = yield float(place)
    above = np.maximum(values - (values.min() + values.max()) / 2.0, 0.0)
    return float(np.average(places, weights=above)) if above.any() else position


def golden(axis: Axis, position: float, reach: float) -> Search:
    """Close in on the best place by the golden section, until it is known to the tolerance (Kiefer 1953)."""
    low, high = max(axis.low, position - reach), min(axis.high, position + reach)
    left, right = low + GOLDEN * (high - low), high - GOLDEN * (high - low)
    at_left, at_right = (yield left), (yield right)
    while high - low > 2.0 * axis.tolerance:
        if at_left > at_right:
            high, right, at_right = right, left, at_left
            left = low + GOLDEN * (high - low)
            at_left = yield left
        else:
            low, left, at_left = left, right, at_right
            right = high - GOLDEN * (high - low)
            at_right = yield right
    return (low + high) / 2.0


def parabola(axis: Axis, position: float, reach: float, levelled: Levelled = logarithm) -> Search:
    """Walk until the best of three places lies between the others, then go to the top of their parabola."""
    step = min(reach, axis.width) / 2.0
    places: list[float] = []
    values: list[float] = []
    for place in (position - step, position, position + step):
        places.append(place)
        values.append(levelled((yield axis.within(place))))
    while (best := int(np.argmax(values))) in (0, len(places) - 1):
        further = places[best] + (step if best else -step)
        if not axis.low <= further <= axis.high or abs(further - position) > 2.0 * reach:
            return axis.within(places[best])
        places.insert(best and best + 1, further)
        values.insert(best and best + 1, levelled((yield further)))
    return _top(places[best - 1 : best + 2], values[best - 1 : best + 2])


def _top(places: Sequence[float], values: Sequence[float]) -> float:
    curved, slope = np.polyfit(np.asarray(places) - places[1], values, 2)[:2]
    top = places[1] - slope / (2.0 * curved) if curved < 0.0 else places[1]
    return float(np.clip(top, places[0], places[2]))
