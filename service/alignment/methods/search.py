"""Coarse searches, from where there is no signal: a spiral over two axes, a sweep along one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from service.alignment.methods.port import Axis, Point
from service.errors import SettingsError

# Distance of turns and of points along them, and of a sweep's steps, in widths: no peak slips between.
PITCH, STEP = 0.8, 0.6
# Found: so many deviations of the background above it, and at least so many counts: among thousands of places that are
# empty none must seem to shine.
SIGMAS, LEAST = 5.0, 9.0
# A sweep goes on for so many steps after its best value, or fringes before the peak would be taken for it.
BEYOND = 15


class Search:
    """Goes through places until one shows counts clearly above `background`; takes the one that shows most.

    Goes on for `beyond` places after the best one. Never found: ends at the last place, and `best` is the start.
    """

    def __init__(self, start: Point, places: Iterator[Point], background: float, beyond: int) -> None:
        self._best, self._places, self._beyond = np.array(start, dtype=np.float64), places, beyond
        self._threshold = background + max(SIGMAS * math.sqrt(background), LEAST)
        self._most, self._seen, self._since = 0.0, 0.0, 0
        self._next = next(places, None)

    @property
    def found(self) -> bool:
        return self._most > self._threshold

    def ask(self) -> Point | None:
        return None if self.found and self._since >= self._beyond else self._next

    def tell(self, at: Point, value: float, time_s: float) -> None:
        self._since += 1
        self._seen = max(self._seen, value)
        if value > max(self._most, self._threshold):
            self._best, self._most, self._since = at, value, 0
        self._next = next(self._places, None)

    def refused(self) -> None:
        self._next = next(self._places, None)

    def failure(self) -> str:
        return (
            "" if self.found else f"nothing found: the most was {self._seen:.6g}, expected above {self._threshold:.6g}"
        )

    def best(self) -> Point:
        return self._best.copy()


def spiral(axes: Sequence[Axis], start: Point, background: float, reach: float) -> Search:
    """Over two axes outwards from the start, to `reach` widths. Raises SettingsError for another number of axes."""
    if len(axes) != 2:
        raise SettingsError(f"a spiral runs over 2 axes, not over {len(axes)}")
    return Search(start, _inside(axes, _spiral(axes, start, reach)), background, 0)


def sweep(axes: Sequence[Axis], start: Point, background: float, reach: float) -> Search:
    """Along one axis, up to `reach` widths above the start, then below. Raises SettingsError for more axes."""
    if len(axes) != 1:
        raise SettingsError(f"a sweep runs along 1 axis, not along {len(axes)}")
    steps = STEP * axes[0].width * np.arange(math.ceil(reach / STEP) + 1)
    both = np.concatenate([start[0] + steps, start[0] - steps[1:]])
    return Search(start, _inside(axes, (np.array([place]) for place in both)), background, BEYOND)


def _spiral(axes: Sequence[Axis], start: Point, reach: float) -> Iterator[Point]:
    """Points of an Archimedean spiral, PITCH apart."""
    widths = np.array([axis.width for axis in axes])
    angle = 0.0
    while (radius := PITCH * angle / math.tau) <= reach:
        yield start + widths * radius * np.array([math.cos(angle), math.sin(angle)])
        angle += PITCH / max(radius, PITCH / 2.0)


def _inside(axes: Sequence[Axis], places: Iterator[Point]) -> Iterator[Point]:
    return (place for place in places if all(a.low <= p <= a.high for a, p in zip(axes, place, strict=True)))
