"""Ingest: takes messages off the wire and puts them into the spool as they came. No decoding, no torch, no HDF5."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import zmq

from service.errors import SettingsError, SpoolFull, WireError
from service.settings import WorkerSettings
from service.wire import messages as wire
from service.worker.health import IngestReport
from service.worker.lifeline import Lifeline
from service.worker.spool_writer import SpoolWriter

POLL_MS = 100  # how long one wait lasts before a signal is looked at
BURST = 64  # messages taken between two looks at the clock
FULL_WAIT_S = 0.02  # between two tries to write into a full spool
DRAIN_S = 2.0  # how long the end waits for a sender that does not stop, or for room in a full spool
# Few large messages between the socket and the spool: they stay in the caches, and a kill loses only these.
RECEIVE_QUEUE = 32
LARGEST_END_BYTES = 4096  # an end is a few dozen bytes; looking into every image would cost more than spooling it

# For the process of ingest: keep the memory of messages that were freed (large ones would be given back to the system
# and faulted in again, page by page), in huge pages where there are any, and copy them past the caches.
ENVIRONMENT = {
    "GLIBC_TUNABLES": ":".join(
        (
            "glibc.malloc.mmap_threshold=1073741824",
            "glibc.malloc.trim_threshold=4294967296",
            "glibc.malloc.arena_max=1",
            "glibc.malloc.hugetlb=1",
            "glibc.cpu.x86_non_temporal_threshold=131072",
        )
    )
}


def open_pull(context: zmq.Context[Any], settings: WorkerSettings) -> zmq.Socket[bytes]:
    """Return the PULL socket of the stream.

    It has no ZMQ_MAXMSGSIZE: a connected socket whose peer breaks that limit never connects again.
    """
    pull: zmq.Socket[bytes] = context.socket(zmq.PULL)
    pull.setsockopt(zmq.RCVHWM, RECEIVE_QUEUE)
    pull.setsockopt(zmq.LINGER, 0)
    try:
        (pull.bind if settings.bind else pull.connect)(settings.endpoint)
    except zmq.ZMQError as error:
        pull.close()
        raise SettingsError(f"worker.endpoint {settings.endpoint}: {error}; choose another") from error
    return pull


class Ingest:
    """Moves messages from PULL to the spool. A full spool stops PULL, so that the sender has to wait."""

    def __init__(self, pull: zmq.Socket[bytes], writer: SpoolWriter) -> None:
        self._pull, self._writer = pull, writer
        self._flusher = ThreadPoolExecutor(1, "flush")
        self._held: zmq.Frame | None = None
        self._endpoint = pull.get_string(zmq.LAST_ENDPOINT)
        self._received = self._bytes = self._rejected = self._overruns = 0
        self._error = ""

    @property
    def report(self) -> IngestReport:
        return IngestReport(
            pid=os.getpid(),
            endpoint=self._endpoint,
            received=self._received,
            received_bytes=self._bytes,
            rejected=self._rejected,
            overruns=self._overruns,
            full=self._held is not None,
            serial=self._writer.serial,
            error=self._error,
        )

    def run(self, lifeline: Lifeline, as_dict: Callable[[IngestReport], dict[str, Any]]) -> None:
        """Work until the lifeline ends; then take what has come already, until POLL_MS without a message."""
        while not lifeline.ending:
            self.step()
            lifeline.beat(lambda: as_dict(self.report))
        until_s = time.monotonic() + DRAIN_S
        while (self._held is not None or self._pull.poll(POLL_MS)) and time.monotonic() < until_s:
            self.step()

    def step(self, timeout_ms: int = POLL_MS) -> None:
        """Take what is there, up to a burst; wait up to `timeout_ms` for the first."""
        if self._held is not None:
            self._retry(self._held)
        elif self._pull.poll(timeout_ms):
            with contextlib.suppress(zmq.Again):
                for _ in range(BURST):
                    if not self._spool(self._pull.recv(zmq.NOBLOCK, copy=False)):
                        return

    def close(self) -> None:
        """Put everything on the disk; the socket is the caller's."""
        self._flusher.shutdown()
        self._writer.sync()
        self._writer.close()

    def _retry(self, held: zmq.Frame) -> None:
        """Write what found no room; nothing is received until it has."""
        self._held = None
        if not self._spool(held):
            self._overruns -= 1  # still the same one
            time.sleep(FULL_WAIT_S)

    def _spool(self, frame: zmq.Frame) -> bool:
        """Put one message into the spool; False, and it is held back, where there is no room."""
        message = frame.buffer
        try:
            self._writer.append(message)
        except SpoolFull:
            self._held = frame
            self._overruns += 1
            return False
        except WireError:
            self._rejected += 1
            return True
        self._received += 1
        self._bytes += len(message)
        if len(message) <= LARGEST_END_BYTES and _is_end(message):
            self._flusher.submit(self._flush)
        return True

    def _flush(self) -> None:
        try:
            self._writer.sync()
            self._error = ""
        except OSError as error:
            self._error = f"the spool cannot be put on the disk: {error}"


def _is_end(message: memoryview) -> bool:
    try:
        return wire.peek(message).type == "end"
    except WireError:
        return False  # compute will count it
