from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.devices.monitor import FIGURES, HEALTH_PERIOD_S, SILENT_S, Monitor
from service.devices.monitor_status import MonitorStatus
from service.devices.status import State, readings
from service.errors import DeviceError, SettingsError, WireError
from service.records import SeriesStatus
from tests.helpers.streams import FIGURES as MEASURED
from tests.helpers.streams import FakeWorker, QueueResults, summary, until


class Bench:
    """A monitor whose clock a test turns."""

    def __init__(self) -> None:
        self.results, self.worker, self.now_s = QueueResults(), FakeWorker(), 1000.0
        self.monitor = Monitor(self.results, self.worker, clock_s=lambda: self.now_s)

    def take(self, result: Any) -> MonitorStatus:
        self.results.put(result)
        until(lambda: self.monitor.status.sequence == result.sequence)
        return self.monitor.status

    def hear(self, **health: Any) -> MonitorStatus:
        """Have the worker say this of its health, and wait until it was heard."""
        self.worker.health = {"ok": True, "busy": False, "status": str(health), "state": "ON", **health}
        self.now_s += HEALTH_PERIOD_S
        until(lambda: self.monitor.status.worker == str(health))
        return self.monitor.status

    def in_state(self, state: State) -> str:
        until(lambda: self.monitor.status.state is state)
        return self.monitor.status.message


@pytest.fixture
def bench() -> Iterator[Bench]:
    one = Bench()
    yield one
    one.monitor.close()


def test_every_figure_of_merit_is_a_reading_of_the_same_name() -> None:
    assert set(FIGURES) <= set(readings(MonitorStatus))


def test_a_crystal_that_will_be_replaced_is_shown_and_counts_for_nothing(bench: Bench) -> None:
    bench.take(summary(4, path=Path("/data/four.h5")))
    direct = dataclasses.replace(MEASURED, tier="direct", chi=0.5)
    bench.results.put(summary(5, SeriesStatus.PRELIMINARY, series_id=7, figures=direct, path=None))
    until(lambda: bench.monitor.status.tier == "direct")
    status = bench.monitor.status
    assert (status.series_id, status.series_status, status.chi) == (7, "preliminary", 0.5)
    assert (status.sequence, status.series_done, status.last_file) == (4, 1, "/data/four.h5")
    assert status.amplitude[0, 0] == 5.0
    status = bench.take(summary(5, series_id=7, path=Path("/data/five.h5")))
    assert (status.series_status, status.tier, status.series_done) == ("done", "search", 2)


@pytest.mark.parametrize("ended", [SeriesStatus.FAILED, SeriesStatus.ABORTED])
def test_a_crystal_of_a_series_that_fails_gives_way_to_the_result_before(bench: Bench, ended: SeriesStatus) -> None:
    before = bench.take(summary(4, path=Path("/data/four.h5")))
    for tier in ("direct", "adaptive"):
        early = dataclasses.replace(MEASURED, tier=tier, chi=0.5)
        bench.results.put(summary(5, SeriesStatus.PRELIMINARY, series_id=7, figures=early, path=None))
        until(lambda tier=tier: bench.monitor.status.tier == tier)
    status = bench.take(summary(5, ended, series_id=7, figures=None, path=None, error="no memory"))
    assert (status.series_id, status.series_status) == (7, ended)
    assert (status.tier, status.chi, status.last_file) == ("search", MEASURED.chi, "/data/four.h5")
    assert (status.amplitude == before.amplitude).all()


def test_a_result_is_shown_whole(bench: Bench) -> None:
    status = bench.take(summary(4, path=Path("/data/four.h5"), picture=Path("/data/four.png")))
    assert {name: getattr(status, name) for name in FIGURES} == dataclasses.asdict(MEASURED)
    assert (status.series_id, status.series_unique_id, status.series_status) == (3, "abc", "done")
    assert (status.last_file, status.last_picture) == ("/data/four.h5", "")
    assert status.latency_stages == ("assemble", "invert")
    assert (status.latencies_s, status.latency_s) == ((0.5, 2.0), 3.25)
    assert (status.notes, status.warnings) == (("crop by itself",), ("two peaks",))
    assert status.strain.dtype == np.float32
    assert (status.strain == 4).all()


def test_a_picture_is_named_once_it_is_drawn(bench: Bench) -> None:
    bench.take(summary(4, picture=Path("/data/four.png")))
    assert bench.hear(picture="/data/three.png").last_picture == "", "that of the result before"
    assert bench.hear(picture="/data/four.png").last_picture == "/data/four.png"
    assert bench.take(summary(5, SeriesStatus.FAILED)).last_picture == "/data/four.png"
    assert bench.take(summary(6, picture=Path("/data/six.png"))).last_picture == ""


def test_a_series_that_was_inverted_again_has_no_latency(bench: Bench) -> None:
    bench.take(summary(1))
    assert math.isnan(bench.take(summary(2, again=True, latency_s=None)).latency_s)


def test_counters_add_up_over_the_series(bench: Bench) -> None:
    endings = [SeriesStatus.DONE, SeriesStatus.INCOMPLETE, SeriesStatus.FAILED, SeriesStatus.ABORTED, SeriesStatus.DONE]
    for number, ending in enumerate(endings, start=1):
        status = bench.take(summary(number, ending))
    assert (status.received, status.missed, status.rejected, status.duplicates) == (310, 5, 5, 10)
    counted = (status.series_done, status.series_incomplete, status.series_failed, status.series_aborted)
    assert counted == (2, 1, 1, 1)


def test_a_series_that_was_inverted_again_is_not_counted_again(bench: Bench) -> None:
    once = bench.take(summary(1))
    again = bench.take(summary(2, again=True))
    assert (again.sequence, again.received, again.series_done) == (2, once.received, once.series_done)


def test_a_result_that_could_not_be_saved_is_an_alarm_until_it_is_acknowledged(bench: Bench) -> None:
    bench.worker.health = {"ok": True, "status": "well", "busy": False, "save_error": "result cannot be saved"}
    bench.now_s += 2.0
    assert "cannot be saved; Reset acknowledges" in bench.in_state(State.ALARM)
    assert bench.monitor.status.last_error == "result cannot be saved"
    bench.monitor.reset()
    bench.now_s += 2.0
    bench.in_state(State.ON)


def test_a_failed_series_is_an_alarm_until_it_is_acknowledged(bench: Bench) -> None:
    bench.take(summary(1))
    status = bench.take(summary(2, SeriesStatus.FAILED, error="zero counts in 64 frames; is the shutter open?"))
    assert "is the shutter open?; Reset acknowledges" in bench.in_state(State.ALARM)
    assert status.chi == MEASURED.chi, "the figures stay those of the last object"
    assert bench.monitor.status.last_error.startswith("zero counts")
    bench.monitor.reset()
    assert bench.monitor.status.state is State.ON
    assert bench.monitor.status.last_error == ""


def test_whoever_waits_at_a_defect_goes_on_after_reset(bench: Bench) -> None:
    status = bench.take(summary(1, figures=dataclasses.replace(MEASURED, defect_class="twin", hold=True)))
    assert (status.hold, status.defect_class) == (True, "twin")
    bench.results.put(summary(2, SeriesStatus.PRELIMINARY))
    until(lambda: bench.monitor.status.defect_class == "perfect")
    assert not bench.monitor.status.hold, "of another crystal"
    bench.monitor.reset()
    status = bench.take(summary(3, SeriesStatus.FAILED))
    assert (status.hold, status.defect_class) == (False, "twin"), "a person has looked at it"


def test_the_next_good_series_ends_the_alarm_and_keeps_the_error(bench: Bench) -> None:
    bench.take(summary(1, SeriesStatus.FAILED, error="all pixels are masked"))
    bench.in_state(State.ALARM)
    bench.take(summary(2))
    bench.in_state(State.ON)
    assert bench.monitor.status.last_error == "all pixels are masked"


def test_a_doubtful_result_is_an_alarm_until_it_is_acknowledged_or_followed_by_a_good_one(bench: Bench) -> None:
    doubtful = dataclasses.replace(MEASURED, explained=-0.1, doubt="no crystal can be told from noise")
    status = bench.take(summary(1, figures=doubtful))
    message = bench.in_state(State.ALARM)
    assert message == "doubtful result of series 3: no crystal can be told from noise; Reset acknowledges"
    assert (status.series_status, status.series_done) == ("done", 1), "its frames are accounted"
    bench.monitor.reset()
    bench.in_state(State.ON)
    assert bench.monitor.status.doubt == doubtful.doubt, "what is acknowledged is still doubtful"
    bench.take(summary(2, figures=doubtful))
    bench.in_state(State.ALARM)
    bench.take(summary(3, SeriesStatus.ABORTED, figures=None))
    bench.in_state(State.ALARM)
    bench.take(summary(4))
    bench.in_state(State.ON)
    assert bench.monitor.status.doubt == ""


def test_an_unreadable_result_is_told_and_the_next_one_is_read(bench: Bench) -> None:
    bench.results.put(WireError("not a summary"))
    assert "a result could not be read: not a summary" in bench.in_state(State.ALARM)
    bench.take(summary(1))
    bench.in_state(State.ON)


def test_a_worker_that_was_never_there_is_unknown() -> None:
    worker = FakeWorker()
    worker.up = False
    monitor = Monitor(QueueResults(), worker)
    assert monitor.status.state is State.UNKNOWN
    assert "nothing heard of the worker" in monitor.status.message
    monitor.close()


def test_a_worker_that_falls_silent_is_an_alarm_and_its_return_ends_it(bench: Bench) -> None:
    bench.in_state(State.ON)
    assert bench.monitor.status.worker_answers
    bench.worker.up = False
    bench.now_s += SILENT_S + 0.1
    assert "silent for more than 5 s" in bench.in_state(State.ALARM)
    assert not bench.monitor.status.worker_answers
    bench.worker.up = True
    bench.now_s += 2.0
    bench.in_state(State.ON)
    assert bench.monitor.status.worker_answers


def test_the_worker_says_that_it_is_busy_or_not_well(bench: Bench) -> None:
    bench.in_state(State.ON)
    bench.worker.health = {"ok": True, "status": "inverting", "busy": True}
    bench.now_s += 2.0
    bench.in_state(State.RUNNING)
    assert bench.monitor.status.worker == "inverting"
    assert bench.monitor.status.worker_busy
    bench.worker.health = {"ok": False, "status": "starting"}
    bench.now_s += 2.0
    assert bench.in_state(State.INIT) == "the worker is starting"
    assert not bench.monitor.status.worker_busy
    bench.worker.health = {"ok": False, "state": "ALARM", "status": "compute died 3 times", "busy": True}
    bench.now_s += 2.0
    assert bench.in_state(State.ALARM) == "the worker is not well: compute died 3 times"
    assert bench.monitor.status.worker_busy, "whatever else the state tells"


def test_settings_go_to_the_worker_as_text_or_from_a_file(bench: Bench, tmp_path: Path) -> None:
    text = "[phasing]\nstarts = 3\n"
    file = tmp_path / "settings.toml"
    file.write_text(text)
    bench.monitor.load_settings(text)
    bench.monitor.load_settings(str(file))
    assert bench.worker.requests == [("settings", {"toml": text})] * 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("phasing.starts = 0", "phasing.starts"),
        ("phasing.starts = ", "not TOML"),
        ("/no/such/settings.toml", "settings.toml"),
        ("colour = 1", "colour"),
    ],
)
def test_wrong_settings_never_reach_the_worker(bench: Bench, settings: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        bench.monitor.load_settings(settings)
    assert bench.worker.requests == []


def test_results_that_are_lost_are_counted(bench: Bench) -> None:
    bench.results.lost = 4
    assert bench.take(summary(5)).lost == 4


def test_commands_are_requests_to_the_worker(bench: Bench) -> None:
    bench.monitor.reprocess()
    bench.monitor.save("/data/keep.h5")
    assert bench.worker.requests == [("reprocess", {}), ("save", {"path": "/data/keep.h5"})]
    bench.worker.up = False
    with pytest.raises(DeviceError, match="did not answer"):
        bench.monitor.reprocess()


def test_nothing_is_published_where_nothing_changed(bench: Bench) -> None:
    bench.in_state(State.ON)
    seen = bench.monitor.status
    assert bench.monitor.wait(seen, 0.1) is seen


def test_close_lets_go_of_the_results() -> None:
    bench = Bench()
    bench.monitor.close()
    bench.monitor.close()
    assert bench.results.closed
