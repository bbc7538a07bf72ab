"""When a frame may leave: at a steady rate, or one for each trigger."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from service.devices.halt import Halt
from service.errors import RefusedError

BURST_S = 0.1  # lateness that is caught up; more is forgotten, or a stall would end in a burst


class Turn(Protocol):
    """Who says when. The turn of a frame lasts until it is `over`."""

    def begin(self) -> None:
        """A series was opened."""
        ...

    def come(self) -> bool:
        """Wait for the turn of the next frame; False where the halt came first."""
        ...

    def over(self) -> None:
        """The frame has left or was dropped."""
        ...


class ByRate:
    """A turn every 1 / `rate_hz()` seconds; the rate is asked at every frame, so it may change in mid-series."""

    def __init__(self, halt: Halt, rate_hz: Callable[[], float]) -> None:
        self._halt, self._rate_hz = halt, rate_hz
        self._due_s = 0.0

    def begin(self) -> None:
        self._due_s = time.monotonic()

    def come(self) -> bool:
        now_s = time.monotonic()
        self._due_s = max(self._due_s, now_s - BURST_S)
        delay_s = self._due_s - now_s
        return not (self._halt.wait(delay_s) if delay_s > 0 else self._halt.called)

    def over(self) -> None:
        self._due_s += 1.0 / self._rate_hz()


class ByTrigger:
    """A turn for each `pull`, which returns when that turn is over."""

    def __init__(self, halt: Halt) -> None:
        self._halt, self._changed = halt, halt.changed
        self._one_pull = threading.Lock()
        self._pulled = self._done = 0
        self._taken = self._ended = False

    def pull(self, timeout_s: float) -> None:
        """Ask for one frame and return when it has left or was dropped; pulls of several threads follow each other.

        Raises RefusedError where it has not after `timeout_s`, or will not: one that nobody has taken on by then is
        withdrawn.
        """
        with self._one_pull, self._changed:
            self._pulled += 1
            self._changed.notify_all()
            self._changed.wait_for(self._settled, timeout_s)
            if self._done == self._pulled:
                return
            if self._ended:
                raise RefusedError("Trigger: the series ended before its frame")
            if self._taken:
                raise RefusedError(f"Trigger: its frame is on its way since {timeout_s:g} s; `sent` tells when it left")
            self._pulled -= 1
            raise RefusedError(f"Trigger: no series is open after {timeout_s:g} s, no frame was taken")

    def end(self) -> None:
        """No turn will come any more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def begin(self) -> None:
        """Triggers that came before the series was open are for it."""

    def come(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._pulled > self._done or self._halt.called)
            self._taken = not self._halt.called
            return self._taken

    def over(self) -> None:
        with self._changed:
            self._done += 1
            self._taken = False
            self._changed.notify_all()

    def _settled(self) -> bool:
        return self._ended or self._done == self._pulled
