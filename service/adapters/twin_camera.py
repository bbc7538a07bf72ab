"""The twin's detector on its arm: the spot of a still crystal runs over the frame as the axes of the detector move."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from service.alignment.objective import combined
from service.alignment.plan import PlannedAxis
from service.alignment.term import Term
from service.devices.goniometer import VirtualAxis
from service.records import Exposure, Light
from service.settings import AxisSettings

SHAPE, TARGET = (256, 256), (131.0, 120.5)
PX_PER_DEG, CAMERA_DEG = 159.0, 24.0  # 55 um pixels at 0.5 m; the camera is turned about the beam
SPOT_PX, HEIGHT, BACKGROUND = 4.0, 200.0, 0.5
ALIGNED = {"delta": 32.3, "gamma": 12.7}
AWAY_DEG = 0.4  # how far the axes begin from there, at most
EXPOSURE_S = 0.1


class TwinCamera:
    """A Beamline of two axes of a detector, degrees, whose value is less the squared distance of the spot from TARGET,
    px; NaN where there is none. Noise is Poisson's, drawn with `seed`.
    """

    def __init__(self, start: dict[str, float], seed: int = 0) -> None:
        self._random = np.random.default_rng((seed, 5))
        self._now_s = 0.0
        self.axes = {
            name: VirtualAxis(
                name, AxisSettings(position=at, velocity=1.0, low_limit=-10.0, high_limit=90.0), self.now_s
            )
            for name, at in start.items()
        }
        self._term = {"spot": Term(attribute="camera", measure="centring", target=TARGET)}

    def now_s(self) -> float:
        return self._now_s

    def rest(self, seconds: float) -> None:
        self._now_s += max(seconds, 0.0)

    def light(self) -> Light:
        return Light(beam=True, shutter=True)

    def expose(self) -> Exposure:
        """Take a frame."""
        self._now_s += EXPOSURE_S
        found = combined(self._term, [{"camera": self.frame()}])
        return Exposure(value=found.value, taken_s=self._now_s)

    def centre(self) -> NDArray[np.float64]:
        """(row, column) where the spot is: delta turns about the horizontal axis, gamma before it."""
        delta, gamma = (self.axes[name].true_position() - ALIGNED[name] for name in ("delta", "gamma"))
        angle, shrunk = math.radians(CAMERA_DEG), math.cos(math.radians(ALIGNED["delta"]))
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        return np.asarray(np.array(TARGET) + PX_PER_DEG * turn @ np.array([delta, -shrunk * gamma]))

    def off_px(self) -> float:
        """How far the spot truly is from TARGET."""
        return float(np.hypot(*(self.centre() - TARGET)))

    def frame(self) -> NDArray[np.uint32]:
        """A frame of SHAPE, uint32 [row, column], with a hot pixel and a gap."""
        row, column = self.centre()
        y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
        spot = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2.0 * SPOT_PX**2))
        frame: NDArray[np.uint32] = self._random.poisson(HEIGHT * spot + BACKGROUND).astype(np.uint32)
        frame[40, 40], frame[100:103] = 5000, np.iinfo(np.uint32).max
        return frame


def twin_camera(seed: int) -> TwinCamera:
    """The twin's detector with the spot somewhere on it."""
    random = np.random.default_rng((seed, 6))
    return TwinCamera({name: at + random.uniform(-AWAY_DEG, AWAY_DEG) for name, at in ALIGNED.items()}, seed)


def detector_axes() -> dict[str, PlannedAxis]:
    """What the axes of the detector may do."""
    return {
        name: PlannedAxis(low=at - 2.0, high=at + 2.0, width=0.4, tolerance=0.002, largest_step=1.0)
        for name, at in ALIGNED.items()
    }
