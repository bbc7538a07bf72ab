"""The ports in memory: a stream between two threads, and a list of results."""

from __future__ import annotations

from queue import Empty, Full, Queue

from service.ports import EndOfStream
from service.records import Message, ResultSummary


class MemoryStream:
    """A FrameSink and a FrameSource over one bounded queue: `send` here, `receive` there, in any threads."""

    def __init__(self, capacity: int = 1000) -> None:
        self._queue: Queue[Message | None] = Queue(capacity)
        self._ended = False
        self.sent = 0
        self.refused = 0

    def send(self, message: Message, timeout_s: float) -> bool:
        """Put one message in; False when there was no room within `timeout_s`."""
        try:
            self._queue.put(message, timeout=timeout_s)
        except Full:
            self.refused += 1
            return False
        self.sent += 1
        return True

    def end(self) -> None:
        """Say that no message will come any more."""
        self._queue.put(None)

    def receive(self, timeout_s: float) -> Message | None:
        """Take one message out; None after `timeout_s`, EndOfStream after `end`."""
        if self._ended:
            raise EndOfStream
        try:
            message = self._queue.get(timeout=timeout_s)
        except Empty:
            return None
        if message is None:
            self._ended = True
            raise EndOfStream
        return message

    def close(self) -> None:
        """Nothing to release."""


class MemoryResults:
    """A ResultSink that keeps what it is given."""

    def __init__(self) -> None:
        self.summaries: list[ResultSummary] = []

    def publish(self, summary: ResultSummary) -> None:
        self.summaries.append(summary)

    def close(self) -> None:
        """Nothing to release."""
