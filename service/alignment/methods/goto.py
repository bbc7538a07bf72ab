"""Nothing is looked for: the best point is told."""

from __future__ import annotations

from service.alignment.methods.port import Point


class Goto:
    """Goes there, without a measurement."""

    def __init__(self, there: Point) -> None:
        self._there = there

    def ask(self) -> Point | None:
        return None

    def tell(self, at: Point, value: float, time_s: float) -> None:
        pass

    def refused(self) -> None:
        pass

    def failure(self) -> str:
        return ""

    def best(self) -> Point:
        return self._there.copy()
