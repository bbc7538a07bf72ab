"""A rocking curve: counts at even steps along one axis, always from below; its best point is the middle of a fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models import peak
from service.alignment.methods.peak import no_peak
from service.alignment.methods.port import Axis, Point
from service.errors import SettingsError


class Rocking:
    """Counts at each of `places`, then takes the middle of the peak that is fitted to all."""

    def __init__(self, axis: Axis, places: Sequence[float], background: float) -> None:
        self._axis, self._places, self._background = axis, list(places), background
        self._span = self._places[0], self._places[-1]
        self._at: list[float] = []
        self._counts: list[float] = []

    def ask(self) -> Point | None:
        return np.array([self._places[0]]) if self._places else None

    def tell(self, at: Point, value: float, time_s: float) -> None:
        self._at.append(float(at[0]))
        self._counts.append(value)
        self._places = self._places[1:]

    def refused(self) -> None:
        self._places = self._places[1:]

    def failure(self) -> str:
        most = max(self._counts, default=0.0)
        if len(set(self._at)) < 2:
            return f"{len(set(self._at))} places may be gone to, expected 2 or more"
        nothing = no_peak(most, max(self._background, float(np.median(self._counts))))
        if nothing:
            return nothing
        low, high = self._span
        middle = self._curve().place
        return (
            ""
            if low < middle < high
            else f"the peak's middle is {middle:.6g}, beyond the scan, {low:.6g} to {high:.6g}"
        )

    def best(self) -> Point:
        return np.array([self._axis.within(self._curve().place)])

    def _curve(self) -> peak.Curve:
        return peak.along_one(self._at, self._counts, self._axis.width, self._background)


def rocking(axes: Sequence[Axis], start: Point, background: float, reach: float, points: int) -> Rocking:
    """Along one axis, `reach` widths to each side of the start. Raises SettingsError for more axes."""
    if len(axes) != 1:
        raise SettingsError(f"a rocking curve runs along 1 axis, not along {len(axes)}")
    axis, way = axes[0], reach * axes[0].width
    ends = axis.within(float(start[0]) - way), axis.within(float(start[0]) + way)
    return Rocking(axis, np.linspace(*ends, points).tolist(), background)
