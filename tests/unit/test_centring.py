"""A reflection is brought to a pixel of the detector by the detector's own axes, from what the detector shows."""

from __future__ import annotations

import pytest

from service.adapters.twin_camera import ALIGNED, TARGET, TwinCamera
from service.alignment.drive import Driver
from service.alignment.loop import Loop
from service.alignment.methods.choose import chosen
from service.alignment.plan import AlignmentSettings
from service.alignment.progress import Outcome
from service.settings import parse_section

AXIS = {"width": 0.4, "tolerance": 0.002, "largest_step": 1.0}


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
    camera = TwinCamera({name: at + off for (name, at), off in zip(ALIGNED.items(), away, strict=True)})
    progress = Driver(Loop(settings(method).plan(), chosen), camera).align("a test", 600.0)
    assert progress.outcome is Outcome.ALIGNED
    assert camera.off_px() < 0.3
    assert progress.exposures <= most


def test_without_a_spot_nothing_moves() -> None:
    camera = TwinCamera({"delta": 33.7, "gamma": 12.7})  # the spot is off the detector
    progress = Driver(Loop(settings().plan(), chosen), camera).align("a test", 600.0)
    assert (progress.outcome, progress.moves) == (Outcome.LOST, 1)
    assert "the value is nan" in progress.reason
