"""Sources, sinks and results in memory, for what stands behind the Tango devices."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from service.devices.monitor import SLICES
from service.errors import DeviceError
from service.ports import EndOfStream
from service.records import (
    Accounting,
    Figures,
    Frame,
    Message,
    ResultSummary,
    SeriesEnd,
    SeriesStart,
    SeriesStatus,
)


def series(frames: int, series_unique_id: str = "source", announced: bool = True) -> Iterator[Message]:
    """A series of small frames whose pixels all hold the frame's number."""
    yield SeriesStart(
        series_id=7, series_unique_id=series_unique_id, number_of_images=frames if announced else None,
        channels=("threshold_1",), shape=(4, 6), dtype="uint16",
    )  # fmt: skip
    for number in range(frames):
        pixels = np.full((4, 6), number, dtype=np.uint16)
        yield Frame(
            series_id=7, series_unique_id=series_unique_id, image_id=number, data={"threshold_1": pixels},
            positions={"theta": 0.01 * number},
        )  # fmt: skip
    yield SeriesEnd(series_id=7, series_unique_id=series_unique_id)


class ListSource:
    """Gives the messages of an iterable, then EndOfStream; `error` is raised in their place where given."""

    def __init__(self, messages: Iterable[Message | None], error: Exception | None = None) -> None:
        self._messages, self._error = iter(messages), error
        self.closed = False

    def receive(self, timeout_s: float) -> Message | None:
        if self._error is not None:
            raise self._error
        try:
            return next(self._messages)
        except StopIteration:
            raise EndOfStream("the list is at its end") from None

    def close(self) -> None:
        self.closed = True


class ListSink:
    """Keeps what it takes; takes nothing while `open` is not set."""

    def __init__(self) -> None:
        self.taken: list[Message] = []
        self.open = threading.Event()
        self.open.set()
        self.closed = False

    def send(self, message: Message, timeout_s: float) -> bool:
        if not self.open.wait(timeout_s):
            return False
        self.taken.append(message)
        return True

    def close(self) -> None:
        self.closed = True

    @property
    def kinds(self) -> list[str]:
        return [type(message).__name__ for message in self.taken]

    @property
    def frames(self) -> list[Frame]:
        return [message for message in self.taken if isinstance(message, Frame)]


class QueueResults:
    """Results that a test puts in by hand; an exception put in is raised."""

    def __init__(self) -> None:
        self._queue: queue.Queue[ResultSummary | Exception] = queue.Queue()
        self.closed = False
        self.lost = 0

    def put(self, item: ResultSummary | Exception) -> None:
        self._queue.put(item)

    def receive(self, timeout_s: float) -> ResultSummary | None:
        try:
            item = self._queue.get(timeout=min(timeout_s, 0.02))
        except queue.Empty:
            return None
        if isinstance(item, Exception):
            raise item
        return item

    def close(self) -> None:
        self.closed = True


class FakeWorker:
    """Answers requests while `up`, and remembers them; all but health take it `slow_s`."""

    def __init__(self) -> None:
        self.up = True
        self.slow_s = 0.0
        self.health: dict[str, Any] = {"ok": True, "status": "all stages run", "busy": False}
        self.requests: list[tuple[str, Mapping[str, Any]]] = []

    def __call__(self, command: str, **arguments: Any) -> Mapping[str, Any]:
        if not self.up:
            raise DeviceError("the worker did not answer within 1 s; is it up?")
        if command == "health":
            return self.health
        time.sleep(self.slow_s)
        self.requests.append((command, arguments))
        return {}


FIGURES = Figures(
    chi=0.011, r_factor=0.14, chi2=1.1, free_log_likelihood=1.25, resolution_nm=12.5, resolution_method="PRTF 1/e",
    support_voxels=4321, support_volume_nm3=2.5e6, strain_rms=1.2e-4, strain_min=-5e-4, strain_max=6e-4,
    flux_counts=4.6e7, peak_counts=165297.0, hand_chosen=True, explained=0.97, agreement=0.93, doubt="",
    defect_class="perfect", defect_probability=0.97,
)  # fmt: skip


def summary(sequence: int = 1, status: SeriesStatus = SeriesStatus.DONE, **changes: Any) -> ResultSummary:
    """A summary as the worker publishes it."""
    fields: dict[str, Any] = {
        "sequence": sequence, "series_id": 3, "series_unique_id": "abc", "status": status,
        "accounting": Accounting(sent=64, received=62, missed=1, rejected=1, duplicates=2),
        "figures": None if status is SeriesStatus.FAILED else FIGURES,
        "slices": {name: np.full((5, 8), sequence, np.float32) for name in SLICES},
        "latency_s": None if status is SeriesStatus.FAILED else 3.25,
        "latencies_s": {"assemble": 0.5, "invert": 2.0}, "finished_at": 1.7e9, "notes": ("crop by itself",),
        "warnings": ("two peaks",),
    }  # fmt: skip
    return ResultSummary(**(fields | changes))


def until(true: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Wait for something to become true; fail the test where it does not."""
    end_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end_s, "did not become true in time"
        time.sleep(0.005)
