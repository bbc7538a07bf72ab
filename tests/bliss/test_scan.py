"""Scans with FrameStreamer as their detector, watched by Braggloop; alignments as scans."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest
import tango

from service.commands.children import Children
from tests.bliss.conftest import Lab
from tests.helpers.streams import until

pytestmark = [pytest.mark.bliss, pytest.mark.usefixtures("standing")]

SAME = 0.05  # share by which the figures of a scan that ended early may differ


@pytest.fixture(scope="module")
def worker(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with Children(tmp_path_factory.mktemp("worker")) as children:
        lab.start_worker(children)
        yield


@pytest.mark.usefixtures("worker")
def test_a_scan_of_the_detector_is_reconstructed_and_the_next_ends_early(lab: Lab) -> None:
    with lab.session("watched.py") as session:
        told = session.told()
    points, whole, early = told["points"], told["told"], told["early"]
    assert told["sent"] == [float(number) for number in range(1, points + 1)]
    passed = int(np.argmax(told["counts"]))
    assert told["at"][passed] == pytest.approx(0.0, abs=0.03), "where the crystal reflects"
    assert max(told["counts"]) > 100.0 * told["counts"][0]
    assert told["title"].startswith("ascan theta -0.5")
    assert (whole["seriesStatus"], whole["resolution"].split()[1]) == ("done", "nm")
    assert told["values"]["explained"] == pytest.approx(float(whole["explained"]), rel=1e-4)
    assert told["values"]["resolution"] == pytest.approx(float(whole["resolution"].split()[0]), rel=1e-4)

    (length,) = set(told["lengths"].values())
    assert passed < length < points
    assert told["end_reason"] == "SUCCESS"
    assert early["ended"].startswith("explained ")
    assert early["ended"].endswith(f"after {length} of {points} points")
    assert early["seriesStatus"] == "incomplete"
    assert early["resolution"] == pytest.approx(float(whole["resolution"].split()[0]), rel=SAME)
    assert early["explained"] == pytest.approx(float(whole["explained"]), rel=SAME)
    assert early["resolution@units"] == "nm"
    assert early["lastFile"].endswith(".h5")
    assert told["inverted_again"]["explained"] == f"{early['explained']:.6g}"
    assert "explained > 0.8" in told["info"][0]
    assert "positions of theta, chi" in told["info"][1]

    refused = told["refused"]
    assert refused["ran"].startswith("ValueError: this scan has run")
    assert "'sharpness' is no figure of Reconstruction" in refused["until"]
    assert "'resolution about 20'" in refused["condition"]
    assert refused["on_hold"].startswith("ValueError: on_hold='wait'")
    assert "no series of that scan is known" in refused["unknown"]


@pytest.mark.usefixtures("worker")
def test_a_defect_ends_a_scan_or_pauses_it_until_a_person_says_so(lab: Lab) -> None:
    with lab.session("held.py", "held") as session:
        told = session.told()
    ended, paused, closed, doubted = (told[name] for name in ("ended", "paused", "closed", "doubted"))
    assert {scan["reason"] for scan in told.values()} == {"SUCCESS"}
    assert ended["ended"].startswith("defect edge, probability 0.95 after ")
    assert ended["points"] < 100
    assert (paused["paused"], paused["ended"], paused["points"]) == (1, "after all 100 points", 100)
    assert closed["ended"] == f"series closed by the worker in the pause, after {closed['points']} of 100 points"
    assert (closed["paused"], closed["status"]) == (1, "incomplete")
    assert closed["points"] < 100
    assert doubted["ended"] == "after all 100 points", "a doubtful result ends nothing"


@pytest.mark.usefixtures("worker")
def test_ctrl_c_gives_the_series_up(lab: Lab) -> None:
    with lab.session("held.py", "interrupted") as session:
        session.wait_for("counting\n")
        os.kill(session.process.pid, signal.SIGINT)
        told = session.told()
    assert told["how"] in ("KeyboardInterrupt", "ScanAbort")
    assert (told["reason"], told["ended"]) == ("USER_ABORT", "given up")
    assert (told["trigger"], told["state"]) == ("internal", "STANDBY")
    assert lab.device("goniometer/theta").state() is tango.DevState.ON
    reconstruction = lab.device("reconstruction/1")
    until(lambda: reconstruction.seriesUniqueId == lab.device("streamer/1").seriesUniqueId)
    assert reconstruction.seriesStatus == "aborted"


@pytest.mark.usefixtures("worker")
def test_frames_that_come_from_elsewhere_are_watched_too(lab: Lab) -> None:
    with lab.session("held.py", "elsewhere") as session:
        told = session.told()
    assert "frames: series" in told["busy"]
    assert "frames.abort()" in told["busy"]
    assert told["stays"], "what is refused moves nothing"
    assert told["idle"].startswith("RuntimeError: frames: braggloop/streamer/1: Trigger: ")
    assert (told["status"], told["ended"], told["points"]) == ("done", "after all 30 points", 30)
    assert told["of_another"] == {"ended": "unwatched", "status": "", "points": 3, "reason": "SUCCESS"}
    assert "no series of that scan is known" in told["unknown"]


@pytest.mark.usefixtures("worker")
def test_ctrl_c_ends_the_waiting_for_a_result_and_keeps_all_points(lab: Lab) -> None:
    with lab.session("held.py", "waited for") as session:
        session.wait_for("waits for the result")
        os.kill(session.process.pid, signal.SIGINT)
        told = session.told()
    assert told["how"] in ("KeyboardInterrupt", "ScanAbort")
    assert (told["reason"], told["ended"], told["points"]) == ("USER_ABORT", "after all 3 points", 3)


@pytest.mark.usefixtures("worker")
def test_what_cannot_be_is_refused_in_one_line_before_axes_move(lab: Lab) -> None:
    with lab.session("refused.py") as session:
        told = session.told()
    assert told["fault"].startswith("RuntimeError: frames: FAULT: ")
    assert told["fault"].endswith("that is frames.abort()")
    assert told["after_fault"] == "STANDBY"
    assert "sampling mode of counts would trigger several frames a point" in told["mode"]
    assert told["stays"], "what is refused moves nothing"
    assert "Announce: frames" in told["failed"]
    assert told["after_failure"] == {"triggerMode": "internal", "loop": False}
    assert (told["looping"], told["series_of_loop"], told["state"]) == (4, True, "STANDBY")
    assert told["after_loop"] == {"triggerMode": "internal", "loop": True}

    positions = {unit: known["positions"] for unit, known in told["announced"].items()}
    assert positions["deg"]["theta"] == pytest.approx(np.linspace(0.1, 0.2, 4))
    assert positions["mdeg"]["theta"] == pytest.approx(np.linspace(1e-4, 2e-4, 4))
    assert "chi" in positions["px"]
    assert "theta" not in {*positions["px"], *positions["None"]}, "a unit that is not known is not guessed"

    assert "ValueError: until and on_hold end or pause a scan between points" in told["until"]
    assert told["until"] == told["on_hold"]
    assert told["figures_alone"] == "nothing was refused"
    assert "'filledCounts' is no figure of Reconstruction" in told["unread"]
    assert told["silent"] == "RuntimeError: no result: the worker has been silent"
    assert all("watched already" in refused for refused in told["twice"]["again"])
    assert (told["twice"]["awaited"], told["twice"]["points"]) == (1, 4)
    assert told["looking"] == ["braggloop: division by zero; the scan goes on"], "said once"


def test_an_alignment_is_one_scan_with_a_point_for_each_exposure(lab: Lab) -> None:
    with lab.session("points.py") as session:
        told = session.told()
    values = told["values"]
    counts = values["rehearsal_controller:rehearsal"]
    assert len(values["axis:theta"]) == len(values["axis:chi"]) == len(counts) == told["exposures"] + 1, (
        "and one at the end"
    )
    assert max(counts[:-1]) == told["best_value"]
    assert counts[-1] == told["counted"] > 0.9 * told["peak"]
    assert (told["reason"], told["known"]["outcome"]) == ("SUCCESS", "aligned")
    assert told["title"] == "align theta chi rehearsal"
    assert told["plots"][0]["kind"] == "scatter-plot"
    assert told["lost"]["outcome"] == "aligned", told["lost"]
    assert told["lost"]["points"] > 3
