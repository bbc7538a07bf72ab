"""A paraboloid through the values about the best place: for sums of squares, as the offset of a spot on a detector."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import combinations, combinations_with_replacement

import numpy as np

from service.alignment.methods.port import Axis, Levelled, Point, logarithm

# The first places are so many widths about the start; half as far each time that the top was not where it was told.
FIRST = 0.5
# The top is believed so many steps away, and then looked at anew.
REACH = 6.0
MOST_ROUNDS = 8


class Paraboloid:
    """Measures about the best place, goes to the top of the paraboloid through all values, and looks whether it is.

    All axes at once, however they are coupled: (n + 1)(n + 2) / 2 measurements for n axes, and one at the top, where
    the value is a quadratic form of positions; more rounds where it is not. Fits `levelled` values.
    """

    def __init__(self, axes: Sequence[Axis], start: Point, levelled: Levelled = logarithm) -> None:
        self._axes, self._levelled = axes, levelled
        self._widths, self._tolerances = (np.array([getattr(a, name) for a in axes]) for name in ("width", "tolerance"))
        self._best = np.array(start, dtype=np.float64)
        self._lowest: float | None = None  # of what was measured
        self._believed = False
        self._steps = self._rounds()
        self._next: Point | None = next(self._steps, None)

    def ask(self) -> Point | None:
        return self._next

    def tell(self, at: Point, value: float, time_s: float) -> None:
        levelled = self._levelled(value)
        self._lowest = levelled if self._lowest is None else min(self._lowest, levelled)
        self._go_on(levelled)

    def refused(self) -> None:
        """A wall: no better than the worst that was measured."""
        self._go_on(0.0 if self._lowest is None else self._lowest)

    def failure(self) -> str:
        return "" if self._believed else f"no top of a paraboloid after {MOST_ROUNDS} rounds: give other widths"

    def best(self) -> Point:
        return self._best.copy()

    def _go_on(self, value: float) -> None:
        try:
            self._next = self._steps.send(value)
        except StopIteration:
            self._next = None

    def _rounds(self) -> Generator[Point, float, None]:
        step = FIRST * self._widths
        for _ in range(MOST_ROUNDS):
            places = [self._within(self._best + step * off) for off in _star(len(step))]
            values: list[float] = []
            for place in places:
                values.append((yield place))  # noqa: PERF401 - a comprehension cannot yield
            told = self._top(places, values, step)
            if told is None:
                self._best = places[int(np.argmax(values))]
                continue
            values.append((yield told))
            places.append(told)
            found = self._top(places, values, step)
            self._best = told if found is None else found
            if np.all(np.abs(self._best - told) <= self._tolerances):
                self._believed = True
                return
            step = step / 2.0

    def _top(self, places: Sequence[Point], values: Sequence[float], step: Point) -> Point | None:
        """Where the paraboloid of least squares is highest, within reach and bounds; None where it has no top."""
        off = (np.array(places) - places[0]) / step
        count = len(step)
        pairs = list(combinations_with_replacement(range(count), 2))
        terms = np.column_stack([np.ones(len(off)), off, *(off[:, i] * off[:, j] for i, j in pairs)])
        fit = np.linalg.lstsq(terms, np.asarray(values), rcond=None)[0]
        curved = np.zeros((count, count))
        for (i, j), curvature in zip(pairs, fit[1 + count :], strict=True):
            curved[i, j] += curvature
            curved[j, i] += curvature
        if np.linalg.eigvalsh(curved)[-1] >= 0.0:
            return None
        top = -np.linalg.solve(curved, fit[1 : 1 + count])
        return self._within(places[0] + step * np.clip(top, -REACH, REACH))

    def _within(self, point: Point) -> Point:
        return np.array([axis.within(float(at)) for axis, at in zip(self._axes, point, strict=True)])


def _star(count: int) -> list[Point]:
    """The middle, both sides of it along each axis, and once between each two: as many as a paraboloid has terms."""
    unit = np.eye(count)
    beside = [sign * unit[axis] for axis in range(count) for sign in (1.0, -1.0)]
    return [np.zeros(count), *beside, *(unit[i] + unit[j] for i, j in combinations(range(count), 2))]
