"""The twin's goniometer, counters and shutter on a clock of their own, which runs as fast as it is asked to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from models.simulate.goniometer import Goniometer, Offset, fluorescence_hz, offset, reflected_hz
from service.devices.goniometer import VirtualAxis
from service.errors import DeviceError
from service.records import Exposure, Light
from service.settings import AxisSettings

# What a loop spends around each move and each exposure: orders, settling, reading out.
SETTLING_S, READOUT_S = 0.1, 0.05


class Trouble(StrEnum):
    """What the twin's counters can be told to suffer from."""

    NONE = "none"
    LOST = "lost"  # no result comes
    STALE = "stale"  # results are those of a minute ago
    NAN = "nan"  # the value is none
    NO_BEAM = "no beam"
    SHUTTER = "shutter"  # it is closed


STALE_S = 60.0
COUNTERS = {"reflection": reflected_hz, "fluorescence": fluorescence_hz}
PATIENCE_S = 5.0  # how long a result that does not come is waited for


class TwinBeamline:
    """A Beamline that counts the reflection, for `exposure_s` each time. Noise is Poisson's, drawn with `seed`."""

    def __init__(
        self, goniometer: Goniometer, axes: Mapping[str, AxisSettings], exposure_s: float = 0.1, seed: int = 0
    ) -> None:
        self._goniometer, self._exposure_s = goniometer, exposure_s
        self._random = np.random.default_rng(seed)
        self._now_s = 0.0
        self.axes: dict[str, VirtualAxis] = {
            name: VirtualAxis(name, settings, self.now_s) for name, settings in axes.items()
        }
        self.trouble = Trouble.NONE

    @property
    def background_hz(self) -> float:
        return self._goniometer.background_hz

    def now_s(self) -> float:
        return self._now_s

    def rest(self, seconds: float) -> None:
        self._now_s += max(seconds, 0.0)

    def light(self) -> Light:
        return Light(beam=self.trouble is not Trouble.NO_BEAM, shutter=self.trouble is not Trouble.SHUTTER)

    def expose(self) -> Exposure:
        """Count the reflection; raise DeviceError where the detector is lost."""
        return self.counted("reflection", self._exposure_s)

    def counted(self, counter: str, exposure_s: float) -> Exposure:
        """Count the "reflection", or the "fluorescence" of the crystal in the beam, at any angle."""
        self._now_s += SETTLING_S
        taken_s = self._now_s
        if self.trouble is Trouble.LOST:
            self._now_s += PATIENCE_S
            raise DeviceError(f"the detector told nothing for {PATIENCE_S:g} s")
        light = self.light()
        dark = not (light.beam and light.shutter)
        counts = float(
            self._random.poisson(0.0 if dark else COUNTERS[counter](self._goniometer, self.off()) * exposure_s)
        )
        self._now_s += exposure_s + READOUT_S
        return Exposure(
            value=float("nan") if self.trouble is Trouble.NAN else counts,
            taken_s=taken_s - STALE_S * (self.trouble is Trouble.STALE),
            beam=light.beam,
            shutter=light.shutter,
        )

    def off(self) -> Offset:
        """How far the crystal truly is from the beam and the reflection now."""
        positions = {name: axis.true_position() for name, axis in self.axes.items()}
        return offset(self._goniometer, positions, self._now_s)

    def off_axis_m(self) -> float:
        """How far along the beam the crystal truly is from where it would stay in the beam as `eta` turns about 0."""
        return self._goniometer.crystal_m[2] + self.axes["z"].true_position() - self._goniometer.confusion_m


@dataclass(frozen=True, slots=True)
class Counting:
    """A twin's beamline that counts with another counter, for as long as is told."""

    twin: TwinBeamline
    counter: str
    exposure_s: float

    @property
    def axes(self) -> Mapping[str, VirtualAxis]:
        return self.twin.axes

    def now_s(self) -> float:
        return self.twin.now_s()

    def rest(self, seconds: float) -> None:
        self.twin.rest(seconds)

    def light(self) -> Light:
        return self.twin.light()

    def expose(self) -> Exposure:
        return self.twin.counted(self.counter, self.exposure_s)
