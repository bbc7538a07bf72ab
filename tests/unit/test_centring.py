"""A reflection is brought to a pixel of the detector by the detector's own axes, from what the detector shows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from service.alignment.drive import Driver
from service.alignment.loop import Loop
from service.alignment.methods.choose import chosen
from service.alignment.objective import combined
from service.alignment.plan import AlignmentSettings
from service.alignment.progress import Outcome
from service.alignment.term import Term
from service.devices.goniometer import VirtualAxis
from service.records import Exposure, Light
from service.settings import AxisSettings, parse_section

SHAPE, TARGET = (256, 256), (131.0, 120.5)
PX_PER_DEG, CAMERA_DEG = 159.0, 24.0  # 55 um pixels at 0.5 m; the camera is turned about the beam
SPOT_PX, HEIGHT, BACKGROUND = 4.0, 200.0, 0.5
ALIGNED = {"delta": 32.3, "gamma": 12.7}
AXIS = {"width": 0.4, "tolerance": 0.002, "largest_step": 1.0}


class Camera:
    """A Beamline of two detector axes: the spot of a still crystal runs over the frame as they move."""

    def __init__(self, start: dict[str, float]) -> None:
        self._random = np.random.default_rng(5)
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
        self._now_s += 0.1
        found = combined(self._term, [{"camera": self.frame()}])
        return Exposure(value=found.value, taken_s=self._now_s)

    def centre(self) -> NDArray[np.float64]:
        """(row, column) where the spot is: delta turns about the horizontal axis, gamma before it."""
        delta, gamma = (self.axes[name].true_position() - ALIGNED[name] for name in ("delta", "gamma"))
        angle, shrunk = math.radians(CAMERA_DEG), math.cos(math.radians(ALIGNED["delta"]))
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        return np.array(TARGET) + PX_PER_DEG * turn @ np.array([delta, -shrunk * gamma])

    def frame(self) -> NDArray[np.uint32]:
        row, column = self.centre()
        y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
        spot = np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2.0 * SPOT_PX**2))
        frame = self._random.poisson(HEIGHT * spot + BACKGROUND).astype(np.uint32)
        frame[40, 40], frame[100:103] = 5000, np.iinfo(np.uint32).max  # a hot pixel, a gap
        return frame


def settings(method: str = "paraboloid") -> AlignmentSettings:
    return parse_section(
        AlignmentSettings,
        {
            "axes": {name: {"low": at - 2.0, "high": at + 2.0, **AXIS} for name, at in ALIGNED.items()},
            "devices": {name: f"test/motor/{name}" for name in ALIGNED},
            "objective": {"spot": {"attribute": "test/camera/1/image", "measure": "centring", "target": TARGET}},
            "method": method,
        },
    )


@pytest.mark.parametrize("away", [(0.25, -0.3), (-0.4, 0.1), (0.02, 0.01)])
@pytest.mark.parametrize(("method", "most"), [("parabola", 30), ("paraboloid", 14)])
def test_a_spot_is_brought_to_its_pixel(away: tuple[float, float], method: str, most: int) -> None:
    camera = Camera({name: at + off for (name, at), off in zip(ALIGNED.items(), away, strict=True)})
    progress = Driver(Loop(settings(method).plan(), chosen), camera).align("a test", 600.0)
    assert progress.outcome is Outcome.ALIGNED
    assert np.hypot(*(camera.centre() - TARGET)) < 0.3
    assert progress.exposures <= most


def test_without_a_spot_nothing_moves() -> None:
    camera = Camera({"delta": 33.7, "gamma": 12.7})  # the spot is off the detector
    progress = Driver(Loop(settings().plan(), chosen), camera).align("a test", 600.0)
    assert (progress.outcome, progress.moves) == (Outcome.LOST, 1)
    assert "the value is nan" in progress.reason
