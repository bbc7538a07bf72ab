"""Kills processes of a worker at random moments in mid-series and takes stock of every series."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.records import ResultSummary
from service.worker.journal import Journal
from tests.helpers.workers import Sender, Worker, messages, worker_settings

FRAMES = 400
PAUSE_S = 0.002  # between two frames: a series takes 0.8 s, its inversion 0.3 s
VICTIMS = ("supervisor", "ingest", "compute")


@dataclass(frozen=True, slots=True)
class Kill:
    """One series, what was killed how long after its first message, what was told of it, what is wrong with that."""

    series: str
    victim: str
    after_s: float
    summaries: tuple[ResultSummary, ...]
    fault: str


def kill_at_random(folder: Path, count: int, seed: int) -> list[Kill]:
    """Send `count` series and kill one process during each; return what became of them."""
    moments = random.Random(seed)
    with _sender() as sender:
        settings = worker_settings(folder, sender.endpoint, phasing={"starts": 30})
        worker = Worker(settings, folder / "worker.log")
        worker.start()
        try:
            worker.wait_until(lambda code, _: code == 200)
            plan = [_one(worker, sender, number, moments) for number in range(1, count + 1)]
            sender.send_all(messages(count + 1, "last", 4))
            worker.wait_until(lambda _, health: health["compute"].get("sequence", 0) > 0 and _idle(worker, "last"), 120)
        finally:
            worker.kill()
    told = _told(settings.out / "journal.jsonl")
    return [_stock(*kill, tuple(summary for summary in told if summary.series_unique_id == kill[0])) for kill in plan]


def _stock(series: str, victim: str, after_s: float, summaries: tuple[ResultSummary, ...]) -> Kill:
    return Kill(series, victim, after_s, summaries, _fault(summaries))


def _fault(summaries: tuple[ResultSummary, ...]) -> str:
    """What is wrong; empty where the series was told once and its frames add up."""
    if len(summaries) != 1:
        return f"{len(summaries)} results"
    frames, path = summaries[0].accounting, summaries[0].path
    if frames.received + frames.missed + frames.rejected != FRAMES or frames.sent != FRAMES:
        return f"{frames} of {FRAMES}"
    if path is not None and np.load(path).shape[0] != FRAMES:
        return f"{path} is not whole"
    return ""


def half_files(folder: Path) -> Sequence[Path]:
    """Return results that cannot be read whole."""
    broken = []
    for path in folder.glob("*.npy"):
        try:
            np.load(path)
        except (ValueError, EOFError):
            broken.append(path)
    return broken


def _one(worker: Worker, sender: Sender, number: int, moments: random.Random) -> tuple[str, str, float]:
    """Send one series in a thread, kill at a random moment of its sending or inversion, make the worker well again."""
    name, victim = f"series-{number}", VICTIMS[number % len(VICTIMS)]
    after_s = moments.uniform(0.05, FRAMES * PAUSE_S + 0.5)
    worker.wait_until(lambda code, _: code == 200, 120)
    pid = worker.pid_of(victim)
    sending = threading.Thread(target=sender.send_all, args=(messages(number, name, FRAMES), PAUSE_S))
    sending.start()
    time.sleep(after_s)
    os.kill(pid, signal.SIGKILL)
    if victim == "supervisor":
        assert worker.process is not None
        worker.process.wait()
        worker.start()
    sending.join()
    return name, victim, after_s


def _idle(worker: Worker, name: str) -> bool:
    return any(summary.series_unique_id == name for summary in _told(worker.settings.out / "journal.jsonl"))


def _told(path: Path) -> list[ResultSummary]:
    """Read the journal of a worker that may be running: a copy, since opening it mends its end."""
    copy = path.with_suffix(".copy")
    copy.write_bytes(path.read_bytes())
    with contextlib.closing(Journal(copy)) as journal:
        return journal.summaries


@contextlib.contextmanager
def _sender() -> Iterator[Sender]:
    sender = Sender()
    try:
        yield sender
    finally:
        sender.close()
