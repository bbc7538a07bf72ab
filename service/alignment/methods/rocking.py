"""A rocking curve: counts at even steps along one axis, always from below; its best point is the middle of a fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models import peak
from service.alignment.methods.peak import no_peak
from service.alignment.methods.port import Axis, Point
from service.errors import SettingsError

# A peak is as many deviations high, and places lie so many widths apart at most.
SURE, COARSEST = 3.0, 0.6


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
        (low, high), curve = self._span, self._curve()
        if not low < curve.place < high:
            return f"the peak's middle is {curve.place:.6g}, beyond the scan, {low:.6g} to {high:.6g}"
        least = SURE * curve.deviations[2]
        return "" if curve.height > least else f"no peak: its height is {curve.height:.6g}, expected above {least:.6g}"

    def best(self) -> Point:
        return np.array([self._axis.within(self._curve().place)])

    def _curve(self) -> peak.Curve:
        return peak.along_one(self._at, self._counts, self._axis.width, self._background)


def rocking(axes: Sequence[Axis], start: Point, background: float, reach: float, points: int) -> Rocking:
    """Along one axis, `reach` widths to each side of the start. Raises SettingsError for more axes."""
    if len(axes) != 1:
        raise SettingsError(f"a rocking curve runs along 1 axis, not along {len(axes)}")
    axis, way = axes[0], reach * axes[0].width
    apart = 2.0 * reach / (points - 1)
    if apart > COARSEST:
        raise SettingsError(f"{points} places lie {apart:.3g} widths apart, expected {COARSEST:g} at most: take more")
    ends = axis.within(float(start[0]) - way), axis.within(float(start[0]) + way)
    return Rocking(axis, np.linspace(*ends, points).tolist(), background)
