"""Latents as axes beside motors: one plan, one guard, one journal and one method move both."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.invert.directions import agreement
from service.errors import SettingsError
from service.ports import Actuator, Beamline
from service.records import Exposure, Light

Frame = NDArray[np.float32]
Seen = Callable[[Exposure], Frame]
"""seen(exposure) -> the frame [row, column] that was counted in it."""
Predicted = Callable[[Mapping[str, float]], Frame]
"""predicted(latents) -> the frame [row, column] of the crystal that they tell, in any unit."""


class LatentAxis:
    """A number that describes the crystal, as an Actuator between `low` and `high`: it is where it was sent at once."""

    def __init__(self, name: str, position: float, low: float, high: float) -> None:
        self._name, self._low, self._high = name, low, high
        self._position = self._inside(position)

    @property
    def name(self) -> str:
        return self._name

    @property
    def moving(self) -> bool:
        return False

    def read(self) -> float:
        return self._position

    def move(self, position: float) -> None:
        """Be at `position`; raise SettingsError beyond the bounds."""
        self._position = self._inside(position)

    def abort(self) -> None:
        """Nothing is under way."""

    def _inside(self, position: float) -> float:
        if not self._low <= position <= self._high:
            raise SettingsError(f"{self._name}: {position} is outside {self._low} to {self._high}; choose one inside")
        return position


class BesideLatents:
    """A Beamline with latents among its axes, whose value falls where the latents explain the frame badly, too.

    The value is that of `beamline` times the agreement of what was `seen` with what is `predicted`, so its logarithm is
    a sum: brightness tells of motors, agreement of latents, and neither unit matters. Where nothing was counted there
    is nothing to explain, and the value stays.
    """

    def __init__(self, beamline: Beamline, latents: Mapping[str, LatentAxis], seen: Seen, predicted: Predicted) -> None:
        self._beamline, self._latents = beamline, latents
        self._seen, self._predicted = seen, predicted

    @property
    def axes(self) -> Mapping[str, Actuator]:
        return {**self._beamline.axes, **self._latents}

    def now_s(self) -> float:
        return self._beamline.now_s()

    def rest(self, seconds: float) -> None:
        self._beamline.rest(seconds)

    def light(self) -> Light:
        return self._beamline.light()

    def expose(self) -> Exposure:
        """Measure once; raise DeviceError where the beamline does."""
        exposure = self._beamline.expose()
        if not (math.isfinite(exposure.value) and exposure.value > 0.0):
            return exposure
        predicted = self._predicted({name: axis.read() for name, axis in self._latents.items()})
        return replace(exposure, value=exposure.value * agreement(predicted, self._seen(exposure)))
