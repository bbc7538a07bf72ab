"""What looks for the best point: asked where to measure, told what was measured; moves nothing, knows no clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Point = NDArray[np.float64]
Levelled = Callable[[float], float]
"""What a method makes of a value before it looks at differences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis as a method sees it, in its own unit.

    `low`, `high`, which no proposal leaves; `width` of what is sought along it, at half height, about; `tolerance` to
    which the best point is wanted; `fringed` where lesser peaks stand beside the one that is sought; `drift` by which
    the best point may walk in a second.
    """

    name: str
    low: float
    high: float
    width: float
    tolerance: float
    fringed: bool = False
    drift: float = 0.0

    def within(self, position: float) -> float:
        return min(max(position, self.low), self.high)


def logarithm(counts: float) -> float:
    """What of counts changes evenly along the flanks of a peak; of no number below 0."""
    return math.log1p(max(counts, 0.0))


def unchanged(value: float) -> float:
    return value


class Method(Protocol):
    """One way to the largest value. Points are float64 (axes,), in the axes' units."""

    def ask(self) -> Point | None:
        """Return where to measure next; None when the best point is found."""
        ...

    def tell(self, at: Point, value: float, time_s: float) -> None:
        """Take what was measured, where the axes really stood and when; `value` is finite, larger is better."""
        ...

    def refused(self) -> None:
        """Take that the point asked for may not be gone to; the next `ask` proposes another."""
        ...

    def failure(self) -> str:
        """Return why the best point is not to be believed once `ask` returns None; "" where it is."""
        ...

    def best(self) -> Point:
        """Return the estimate of the best point."""
        ...


class Around:
    """A method around another one, which answers where nothing else is said."""

    def __init__(self, method: Method) -> None:
        self._method = method

    def ask(self) -> Point | None:
        return self._method.ask()

    def tell(self, at: Point, value: float, time_s: float) -> None:
        self._method.tell(at, value, time_s)

    def refused(self) -> None:
        self._method.refused()

    def failure(self) -> str:
        return self._method.failure()

    def best(self) -> Point:
        return self._method.best()
