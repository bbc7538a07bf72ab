"""A method that would go on for ever, until so many measurements or so much time; then its best point is taken."""

from __future__ import annotations

import math

from service.alignment.methods.port import Around, Method, Point


class Until(Around):
    """Ends `method` after so many `exposures` (None: any number), or `seconds` after the first."""

    def __init__(self, method: Method, exposures: int | None, seconds: float) -> None:
        super().__init__(method)
        self._seconds = seconds
        self._left = math.inf if exposures is None else exposures
        self._begun_s: float | None = None
        self._over = False

    def ask(self) -> Point | None:
        return None if self._over or self._left <= 0 else self._method.ask()

    def tell(self, at: Point, value: float, time_s: float) -> None:
        self._begun_s = time_s if self._begun_s is None else self._begun_s
        self._left -= 1
        self._over = time_s - self._begun_s >= self._seconds
        super().tell(at, value, time_s)
