"""A worker of real processes, and a sender that gives it series."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from service.adapters.zmq import ResultSubscriber
from service.commands.children import free_ports
from service.records import Frame, ResultSummary, SeriesEnd, SeriesStart
from service.settings import Settings, load_settings
from service.wire import messages as wire
from service.worker.supervisor import worker_url

SHAPE = (24, 24)
AXES = {"theta": 0.0, "delta": 32.174, "gamma": 12.6346, "mu": 0.0, "chi": 90.0, "phi": -5.0}
READY_S = 60.0


def worker_settings(folder: Path, endpoint: str, **changes: Any) -> Settings:
    """Settings of a worker that lives below `folder` and takes `endpoint`; ports are chosen by the system."""
    results, requests = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    tree: dict[str, Any] = {
        "out": str(folder / "results"),
        "spool": {"folder": str(folder / "spool"), "max_bytes": 40_000_000, "segment_bytes": 1_000_000},
        "worker": {
            "endpoint": endpoint, "results": results, "requests": requests, "http_port": 0,
            "stall_s": 5.0, "late_s": 0.3, "warn_s": 1.0,
        },
        "geometry": {"energy_kev": 9.0, "distance_m": 0.5, "pixel_size_m": 55e-6},
        "phasing": {"starts": 5},
    }  # fmt: skip
    for section, values in changes.items():
        tree[section] = {**tree.get(section, {}), **values}
    return load_settings(None, tree, {})


def messages(
    number: int, name: str, frames: int, announced: bool = True, shape: tuple[int, int] = SHAPE
) -> list[bytes]:
    """A series of encoded messages: start, frames with noise, end."""
    rng = np.random.default_rng(number)
    start = SeriesStart(
        series_id=number, series_unique_id=name, number_of_images=frames if announced else None,
        channels=("t",), shape=shape, dtype="uint16",
        user_data={"rocking_axis": "theta", "positions": {axis: at for axis, at in AXES.items() if axis != "theta"}},
    )  # fmt: skip
    images = [
        Frame(
            series_id=number, series_unique_id=name, image_id=image,
            data={"t": rng.integers(1, 100, shape, dtype=np.uint16)}, positions={"theta": 0.01 * image},
        )
        for image in range(frames)
    ]  # fmt: skip
    return [wire.encode(message) for message in (start, *images, SeriesEnd(series_id=number, series_unique_id=name))]


class Sender:
    """A PUSH socket bound to a free port."""

    def __init__(self, queued: int = 20) -> None:
        self._context = zmq.Context()
        self._push = self._context.socket(zmq.PUSH)
        self._push.set_hwm(queued)
        self._push.bind("tcp://127.0.0.1:0")
        self.endpoint = self._push.get_string(zmq.LAST_ENDPOINT)

    def send(self, message: bytes, timeout_s: float = 20.0) -> bool:
        """Send one message; False where nobody took it in time."""
        if not self._push.poll(round(1000 * timeout_s), zmq.POLLOUT):
            return False
        self._push.send(message)
        return True

    def send_all(self, encoded: list[bytes], pause_s: float = 0.0) -> None:
        for message in encoded:
            assert self.send(message), "nobody takes the frames"
            time.sleep(pause_s)

    def close(self) -> None:
        self._push.close(linger=0)
        self._context.term()


class Worker:
    """`braggloop worker` with the inversion of tests.helpers.fake_stages, as a process of its own."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self.settings = settings
        self._log = log
        self._file = log.with_suffix(".json")
        self._file.write_text(settings.model_dump_json())
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.settings.spool.folder.mkdir(parents=True, exist_ok=True)
        (self.settings.spool.folder / "worker.json").unlink(missing_ok=True)
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "tests.helpers.fake_worker", str(self._file)]
            self.process = subprocess.Popen(command, stderr=log, stdout=log, start_new_session=True)

    def health(self) -> tuple[int, Mapping[str, Any]]:
        """What /healthz says: its code and its body; code 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"{worker_url(self.settings.spool.folder)}/healthz", timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except (OSError, FileNotFoundError, json.JSONDecodeError):
            return 0, {}

    def metrics(self) -> str:
        with urllib.request.urlopen(f"{worker_url(self.settings.spool.folder)}/metrics", timeout=5) as answer:
            return answer.read().decode()

    def wait_until(
        self, ready: Callable[[int, Mapping[str, Any]], bool], timeout_s: float = READY_S
    ) -> Mapping[str, Any]:
        """Wait until the health is as wanted; return it."""
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            code, health = self.health()
            if health and ready(code, health):
                return health
            time.sleep(0.05)
        raise AssertionError(f"not ready within {timeout_s} s: {code} {health}\n{self._log.read_text()[-3000:]}")

    def pid_of(self, stage: str) -> int:
        assert self.process is not None
        return self.process.pid if stage == "supervisor" else int(self.health()[1].get(stage, {}).get("pid", 0))

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        """End all that is left of it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                for stage in ("ingest", "compute"):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(self.pid_of(stage) or self.process.pid, signal.SIGKILL)
                self.process.kill()
                self.process.wait()


@contextlib.contextmanager
def running(worker: Worker) -> Iterator[Worker]:
    """Start the worker and wait until it is well; end it afterwards."""
    worker.start()
    try:
        worker.wait_until(lambda code, _: code == 200)
        yield worker
    finally:
        worker.kill()


class Results:
    """Summaries as a subscriber sees them."""

    def __init__(self, settings: Settings) -> None:
        self._context = zmq.Context()
        self._subscriber = ResultSubscriber(settings.worker.results, settings.worker.requests, context=self._context)

    def next(self, timeout_s: float = 30.0) -> ResultSummary:
        summary = self._subscriber.receive(timeout_s)
        assert summary is not None, f"no result within {timeout_s} s"
        return summary

    def none_within(self, timeout_s: float) -> bool:
        return self._subscriber.receive(timeout_s) is None

    def close(self) -> None:
        self._subscriber.close()
        self._context.term()
