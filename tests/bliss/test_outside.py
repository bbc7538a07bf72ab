"""A Bliss axis as an actuator from outside, through Bliss's own Tango server, where no session runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tango

from tests.bliss.conftest import Lab, Session
from tests.helpers.peak_device import CENTRE, WIDTH
from tests.helpers.streams import until

pytestmark = pytest.mark.bliss

AXIS = "bliss/BlissAxisManager_outside/omega"
COUNTER = "braggloop/counter/omega"
PLAN = f"""
[alignment]
value = "{COUNTER}/counts"
settle_s = 0.05
dead_man_s = 3.0
[alignment.devices]
omega = "{AXIS}"
[alignment.axes.omega]
low = -1.5
high = 1.5
width = {WIDTH}
tolerance = 0.01
largest_step = 0.5
"""
FAST, SLOW = 2.0, 0.05
READY = "Ready to accept request"


@pytest.fixture(scope="module")
def servers(lab: Lab) -> Iterator[None]:
    """Bliss's axes and a counter over one of them."""
    lab.put("BlissAxisManager/outside", "BlissAxisManager", "bliss/BlissAxisManager/outside")
    with lab.program("BlissAxisManager", "outside") as axes:
        axes.wait_for(READY)
        lab.put("PeakCounter/lab", "PeakCounter", COUNTER, Axis=AXIS)
        with lab.module("tests.helpers.peak_device", "lab") as counter:
            counter.wait_for(READY)
            yield


@pytest.fixture
def omega(lab: Lab, servers: None) -> Any:
    """The axis, away from the peak."""
    axis = lab.device_named(AXIS)
    axis.Velocity, axis.Position = FAST, 0.0
    until(lambda: axis.state() is tango.DevState.ON)
    return axis


def test_braggloop_align_brings_it_to_the_peak(lab: Lab, omega: Any, tmp_path: Path) -> None:
    with _aligning(lab, tmp_path) as align:
        align.end()
    assert omega.Position == pytest.approx(CENTRE, abs=0.02)


@pytest.mark.parametrize("command", ["Stop", "Abort"])
def test_the_device_stops_it_in_mid_move(lab: Lab, omega: Any, command: str) -> None:
    alignment = lab.device("alignment/1")
    alignment.Configure(PLAN)
    alignment.Arm(["test", "60"])
    omega.Velocity = SLOW
    alignment.Start()
    until(lambda: omega.state() is tango.DevState.MOVING, 10.0)
    alignment.command_inout(command)
    until(lambda: alignment.phase == "ended", 10.0)
    assert _stands_off_the_peak(omega)
    assert alignment.outcome == {"Stop": "stopped", "Abort": "aborted"}[command]


def test_it_stands_after_the_alignment_was_killed(lab: Lab, omega: Any, tmp_path: Path) -> None:
    omega.Velocity = SLOW
    with _aligning(lab, tmp_path) as align:
        until(lambda: omega.state() is tango.DevState.MOVING, 60.0)
        align.process.kill()
        until(lambda: omega.state() is tango.DevState.ON, 3.0)
    assert _stands_off_the_peak(omega)


def test_limits_are_those_of_bliss(omega: Any) -> None:
    with pytest.raises(tango.DevFailed, match="would exceed"):
        omega.Position = 3.0


def _aligning(lab: Lab, folder: Path) -> Session:
    file = folder / "align.toml"
    file.write_text(PLAN)
    return lab.module("service.cli", "align", "--settings", str(file), "--out", str(folder), "--by", "test")


def _stands_off_the_peak(axis: Any) -> bool:
    before = axis.Position
    time.sleep(0.3)
    return bool(axis.state() is tango.DevState.ON and axis.Position == before and abs(before - CENTRE) > 0.02)
