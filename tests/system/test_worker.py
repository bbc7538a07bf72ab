"""The worker as its users meet it: real processes, real sockets, an inversion that only sums."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from service.adapters.requests import WorkerRequests
from service.errors import DeviceError
from service.records import SeriesStatus
from tests.helpers.workers import Results, Sender, Worker, messages, running, worker_settings


@pytest.fixture
def sender() -> Iterator[Sender]:
    sender = Sender()
    yield sender
    sender.close()


@pytest.fixture
def worker(tmp_path: Path, sender: Sender) -> Iterator[Worker]:
    with running(Worker(worker_settings(tmp_path, sender.endpoint), tmp_path / "worker.log")) as worker:
        yield worker


@pytest.fixture
def results(worker: Worker) -> Iterator[Results]:
    results = Results(worker.settings)
    yield results
    results.close()


def test_series_become_results_and_are_counted(worker: Worker, sender: Sender, results: Results) -> None:
    whole = messages(1, "whole", 10)
    sender.send_all(whole[:5] + whole[3:5] + whole[5:])  # images 2 and 3 come twice
    first = results.next()
    assert first.status is SeriesStatus.DONE
    assert (first.sequence, first.accounting.received, first.accounting.duplicates) == (1, 10, 2)
    assert first.path is not None
    assert first.figures is not None
    assert first.figures.flux_counts == np.load(first.path).sum()
    assert first.slices["amplitude"].shape == (24, 24)

    holed = messages(2, "holed", 10)
    sender.send_all([*holed[:4], *holed[6:8], b"garbage", *holed[8:]])
    second = results.next()
    assert (second.status, second.accounting.missed) == (SeriesStatus.INCOMPLETE, 2)

    cut, dark = messages(3, "cut", 10), messages(4, "headless", 6)
    sender.send_all(cut[:3])
    sender.send_all(messages(5, "newer", 4))
    assert results.next().status is SeriesStatus.ABORTED
    assert results.next().series_unique_id == "newer"
    sender.send_all(dark[1:])
    headless = results.next()
    assert (headless.status, headless.accounting.rejected) == (SeriesStatus.FAILED, 6)
    assert "start of the series" in headless.error

    health = worker.wait_until(lambda _, health: health["compute"]["sequence"] == 5 and not health["busy"])
    assert health["compute"]["received"] == 10 + 8 + 2 + 4
    assert health["compute"]["series"] == {"done": 2, "incomplete": 1, "aborted": 1, "failed": 1}
    metrics = worker.metrics()
    assert "braggloop_frames_missed_total 10.0" in metrics  # 2 of the holed, 8 of the cut
    assert 'braggloop_series_total{status="done"} 2.0' in metrics
    assert 'braggloop_stage_seconds_count{stage="invert"} 3.0' in metrics
    assert worker.stop() == 0


def test_stalled_series_fails_health_and_is_closed(worker: Worker, sender: Sender, results: Results) -> None:
    sender.send_all(messages(1, "stalled", 10)[:6])
    health = worker.wait_until(lambda code, health: code == 503 and "no frame for" in health["status"])
    assert (health["state"], health["compute"]["open_received"]) == ("ALARM", 5)
    summary = results.next()
    assert (summary.status, summary.accounting.missed) == (SeriesStatus.INCOMPLETE, 5)
    worker.wait_until(lambda code, _: code == 200)


def test_requests_are_answered_while_a_volume_is_inverted(worker: Worker, sender: Sender, results: Results) -> None:
    ask = WorkerRequests(worker.settings.worker.requests, 5.0)
    with pytest.raises(DeviceError, match="nothing to invert again"):
        ask("reprocess")
    assert ask("settings", toml="[phasing]\nstarts = 400")["changed"] == ["phasing"]
    with pytest.raises(DeviceError, match=r"phasing\.starts"):
        ask("settings", toml="[phasing]\nstarts = 0")
    sender.send_all(messages(1, "slow", 4))
    worker.wait_until(lambda _, health: bool(health["compute"]["inverting"]))
    assert ask("health")["ok"] is True
    first = results.next()
    assert first.latencies_s["invert"] == 4.0
    ask("settings", toml="[phasing]\nstarts = 1")
    assert ask("reprocess")["series_unique_id"] == "slow"
    again = results.next()
    assert (again.sequence, again.status, again.latencies_s["invert"]) == (2, SeriesStatus.DONE, 0.01)
    assert again.figures == first.figures
    saved = ask("save", path=str(worker.settings.out / "copy.npy"))["path"]
    assert Path(saved).read_bytes() == first.path.read_bytes()  # type: ignore[union-attr]
    health = worker.wait_until(lambda _, health: health["compute"]["sequence"] == 2)
    assert health["compute"]["received"] == 4, "frames are not counted again"


def test_sigterm_finishes_the_running_volume_and_leaves_the_open_series(
    worker: Worker, sender: Sender, results: Results
) -> None:
    WorkerRequests(worker.settings.worker.requests, 5.0)("settings", toml="[phasing]\nstarts = 500")
    sender.send_all(messages(1, "running", 4))
    late = messages(2, "open", 8)
    sender.send_all(late[:5])
    worker.wait_until(lambda _, h: bool(h["compute"]["inverting"]) and h["compute"]["open_received"] == 4)
    assert worker.stop() == 0
    with running(worker):
        first = results.next()
        assert (first.series_unique_id, first.status) == ("running", SeriesStatus.DONE)
        sender.send_all(late[5:])
        second = results.next()
        assert (second.sequence, second.series_unique_id, second.status) == (2, "open", SeriesStatus.DONE)
        assert results.none_within(0.5)


def test_second_sigterm_ends_at_once(worker: Worker, sender: Sender) -> None:
    WorkerRequests(worker.settings.worker.requests, 5.0)("settings", toml="[phasing]\nstarts = 10000")  # 100 s
    sender.send_all(messages(1, "long", 4))
    worker.wait_until(lambda _, health: bool(health["compute"]["inverting"]))
    pids = [worker.pid_of(stage) for stage in ("ingest", "compute")]
    assert worker.process is not None
    worker.process.send_signal(signal.SIGTERM)
    worker.wait_until(lambda _, __: not psutil.pid_exists(pids[0]))  # ingest has ended, compute is at it
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(30) == 1
    assert not any(map(psutil.pid_exists, pids))


def test_second_worker_on_a_spool_is_refused(worker: Worker, tmp_path: Path) -> None:
    second = Worker(worker.settings, tmp_path / "second.log")
    second.start()
    assert second.process is not None
    assert second.process.wait(30) == 1
    assert "already running" in (tmp_path / "second.log").read_text()
