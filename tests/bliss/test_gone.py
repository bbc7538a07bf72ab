"""What an alignment needs goes in its middle: the axes stand, the session lives, and one line says what to do."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bliss.conftest import Lab, stands
from tests.helpers.streams import until
from tests.helpers.workers import READY_S, Sender, Worker, messages, running, worker_settings

pytestmark = [pytest.mark.bliss, pytest.mark.usefixtures("standing")]

GONE = "RuntimeError: Beacon's Redis does not answer"


def test_after_a_restart_of_beacon_the_session_goes_on(lab: Lab) -> None:
    told = _beacon_gone(lab, lab.end_beacon)
    assert told["moved"] == pytest.approx(0.25, abs=1e-4)
    assert told["afterwards"].startswith("RuntimeError: exhausted: 3 exposures"), told["afterwards"]


def test_where_redis_lost_all_the_session_moves_and_says_what_counting_wants(lab: Lab) -> None:
    told = _beacon_gone(lab, lab.kill_beacon)
    assert told["moved"] == pytest.approx(0.25, abs=1e-4)
    assert "leave the session and start it again" in told["afterwards"]
    with lab.session("scan.py") as session:  # which helps
        assert max(session.told()["values"]["rehearsal_controller:rehearsal"]) > 1000.0


def _beacon_gone(lab: Lab, go: Callable[[], None]) -> dict[str, Any]:
    """What a session tells in whose alignment's middle Beacon went, and came back after its end."""
    axes = [lab.device(f"goniometer/{name}") for name in ("theta", "chi")]
    with lab.session("beacon.py") as session:
        session.wait_for("moving\n")
        go()
        session.wait_for("ended\n")
        standing = all(stands(axis) for axis in axes)
        lab.restart_beacon()
        told = session.told()
    assert standing
    assert lab.device("alignment/1").phase == "ended"
    assert told["how"].startswith(GONE)
    assert told["how"].endswith("; axes stopped"), told["how"]
    assert told["meanwhile"].startswith(GONE)
    assert all("\n" not in told[name] for name in ("how", "meanwhile", "afterwards"))
    return told


def test_a_worker_that_is_killed_leaves_counters_without_value_and_ends_the_loop(lab: Lab, tmp_path: Path) -> None:
    with (
        contextlib.closing(Sender()) as sender,
        running(Worker(worker_settings(tmp_path, sender.endpoint), tmp_path / "worker.log")) as worker,
    ):
        figures = lab.reconstruction_of(worker.settings)
        until(lambda: figures.workerAnswers, READY_S)
        sender.send_all(messages(1, "one", frames=12))
        until(lambda: figures.sequence == 1, READY_S)
        with lab.session("worker.py", figures.dev_name()) as session:
            session.wait_for("moving\n")
            worker.process.kill()
            worker.process.wait()
            told = session.told()
    assert told["before"] == {"fluxCounts": pytest.approx(figures.fluxCounts), "sequence": 1.0}
    assert all(map(math.isnan, told["after"].values()))
    assert told["outcome"] == "lost"
    assert "fluxCounts has no value" in told["reason"]
    assert not told["moving"]
    assert stands(lab.device("goniometer/theta"))
    assert "silent" in told["status"]
