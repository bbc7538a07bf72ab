"""Braggloop in a real Bliss session: counters in a scan, align() on the session's axes, and what ends it early."""

from __future__ import annotations

import json
import math
import os
import signal

import pytest
import tango

from models.simulate.goniometer import offset
from service.adapters.twin_scene import BEAM_M, ROCKING_DEG, aligned, near, where_aligned
from tests.bliss.conftest import Lab, stands
from tests.helpers.streams import until

pytestmark = [pytest.mark.bliss, pytest.mark.usefixtures("standing")]

PEAK = {"theta": 0.31, "chi": 89.6}  # of `rehearsal` in conftest
WITHIN = {"theta": 0.02, "chi": 0.05}  # a tenth of the widths
MU_PEAK = 0.31


def test_a_scan_reads_every_number_of_both_devices_once_a_point(lab: Lab) -> None:
    until(lambda: not lab.device("reconstruction/1").workerAnswers)  # that of another test has ended a moment ago
    with lab.session("scan.py") as session:
        told = session.told()
    values, points = told["values"], told["points"]
    for name, asked in told["asked"].items():
        reads = [line for line in asked if "read_attributes" in line]
        assert len(reads) == points, f"{name} was read {len(reads)} times at {points} points"
    assert len(values["axis:theta"]) == points
    assert all(math.isnan(value) for value in values["reconstruction:rFactor"]), "there is no worker"
    assert len(set(values["alignment:exposures"])) == 1
    assert max(values["rehearsal_controller:rehearsal"]) > 1000.0
    counted = {name for name in values if name.startswith(("reconstruction:", "alignment:"))}
    assert counted >= {"reconstruction:resolution", "reconstruction:defectProbability", "reconstruction:latency"}
    assert "reconstruction:lastFile" not in values
    assert (told["units"]["resolution"], told["units"]["latency"]) == ("nm", "s")
    assert "rFactor" in told["info"]["reconstruction"]
    assert "align() moves x, y, eta" in told["info"]["braggloop"]
    assert "none yet" in told["counter"]


def test_align_brings_the_sessions_axes_to_the_peak(lab: Lab) -> None:
    with lab.session("align.py") as session:
        told = session.told()
    for result in told["found"]:
        assert result["outcome"] == "aligned", result
        assert result["at"] == {name: pytest.approx(place, abs=WITHIN[name]) for name, place in PEAK.items()}
        assert result["exposures"] < 40
    for name in ("theta", "chi"):
        assert stands(lab.device(f"goniometer/{name}"))
    assert told["alone"]["at"] == {"chi": pytest.approx(PEAK["chi"], abs=0.1)}
    assert told["kept"] == pytest.approx(0.5, abs=1e-6), "it was not to be moved"
    assert told["restored"] == {"theta": pytest.approx(0.5, abs=1e-6), "chi": pytest.approx(90.0, abs=1e-6)}
    assert told["wide"].startswith("ValueError: theta: limits")
    assert told["strange"] == "ValueError: settings of chi, which is not aligned"
    assert told["wrong"].startswith("ValueError: restore='home'")
    assert "method" in told["unknown"]
    assert told["roi"].startswith("ValueError: no counter $mu_peak.regions.roi1: ")
    assert "no counter $mu_peak.regions.roi1" in told["info"]
    assert told["limited"]["outcome"] == "failed"
    assert "would exceed" in told["limited"]["said"]
    for line in (told["limited"]["said"], told["unknown"]):
        assert "\n" not in line
    assert told["status"].startswith("rehearsing:")
    assert "nobody asked for defects" in told["defects"]


def test_align_brings_the_crystal_of_the_twin_into_the_beam(lab: Lab) -> None:
    goniometer = near(0).goniometer  # what VirtualCounter sees with the seed of its settings
    place, away = where_aligned(goniometer), {"x": 0.6 * BEAM_M, "y": 0.6 * BEAM_M, "eta": 0.6 * ROCKING_DEG}
    signs = ((1, 1, 1), (-1, 1, -1), (1, -1, -1))
    starts = [
        {axis: at + sign * away[axis] for (axis, at), sign in zip(place.items(), some, strict=True)} for some in signs
    ]
    with lab.session("crystal.py", json.dumps(starts)) as session:
        told = session.told()
    for result in told["found"]:
        assert result["outcome"] == "aligned", result
        assert aligned(offset(goniometer, result["positions"], result["ended_s"] - lab.began_s)), result


def test_ctrl_c_stops_the_axes_and_leaves_one_line(lab: Lab) -> None:
    with lab.session("slow.py") as session:
        session.wait_for("moving\n")
        os.kill(session.process.pid, signal.SIGINT)
        *lines, last = session.end()
    assert '"how": "Ctrl-C"' in last
    assert '"moving": false' in last
    assert len(lines) == 1, lines
    assert lines[0].startswith("rehearsing: stopped by Ctrl-C; axes stopped at theta")
    _the_axes_stand_off_the_peak(lab)
    alignment = lab.device("alignment/1")
    assert alignment.outcome == "aborted"


def test_a_stop_from_elsewhere_is_obeyed_while_axes_move(lab: Lab) -> None:
    with lab.session("slow.py") as session:
        session.wait_for("moving\n")
        lab.device("alignment/1").Stop()
        told = session.told()
    assert told["how"] == ""
    assert told["result"].startswith("stopped: Stop")
    _the_axes_stand_off_the_peak(lab)


def test_a_session_that_is_killed_ends_its_loop(lab: Lab) -> None:
    with lab.session("slow.py") as session:
        session.wait_for("moving\n")
        session.process.kill()
        alignment = lab.device("alignment/1")
        until(lambda: alignment.phase == "ended", 30.0)
    assert "heartbeat" in alignment.reason
    alignment.Reset()


def test_a_device_server_that_is_killed_stops_the_axes(lab: Lab) -> None:
    with lab.session("slow.py", "mu", "mu_peak") as session:
        session.wait_for("moving\n")
        lab.kill_devices()
        told = session.told()
    lab.restart_devices()
    assert "; axes stopped at mu" in told["how"]
    assert "braggloop/alignment/1" in told["how"]
    assert "\n" not in told["how"]
    assert not told["moving"]
    assert abs(told["at"]["mu"] - MU_PEAK) > 0.1
    assert math.isnan(told["value"])


def _the_axes_stand_off_the_peak(lab: Lab) -> None:
    axes = {name: lab.device(f"goniometer/{name}") for name in PEAK}
    assert all(axis.state() is tango.DevState.ON for axis in axes.values())
    assert all(stands(axis) for axis in axes.values())
    assert any(abs(axis.position - PEAK[name]) > WITHIN[name] for name, axis in axes.items())
