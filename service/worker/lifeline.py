"""What ties a stage to its supervisor: reports go up a pipe, the pipe's end or a signal tells the stage to end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from service.errors import StopError

BEAT_S = 0.25  # between two reports
PIPE_BYTES = 1 << 16
REFUSED = "refused"  # key of the report of a stage that cannot begin, and why


class Lifeline:
    """The stage's end. A thread waits for the supervisor's words, one JSON object a line.

    `ending` is True once SIGTERM, SIGINT or the end of the pipe has come; `orphaned` only after the last.
    """

    def __init__(self, words: int, reports: int) -> None:
        self._words, self._reports = words, reports
        os.set_blocking(reports, False)
        self._ending = threading.Event()
        self.orphaned = False
        self.heard: Mapping[str, Any] = {}
        self._due_s = 0.0
        threading.Thread(target=self._listen, name="lifeline", daemon=True).start()

    @property
    def ending(self) -> bool:
        return self._ending.is_set()

    def end(self, *_: object) -> None:
        """Ask the stage to end; a signal handler."""
        self._ending.set()

    def beat(self, report: Callable[[], Mapping[str, Any]]) -> None:
        """Send a report where one is due."""
        if time.monotonic() >= self._due_s:
            self.send(report())

    def send(self, report: Mapping[str, Any]) -> None:
        """Send a report now; a supervisor that does not read misses it."""
        self._due_s = time.monotonic() + BEAT_S
        try:
            os.write(self._reports, json.dumps(report).encode() + b"\n")
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._orphan()

    @contextlib.contextmanager
    def beginning(self) -> Iterator[None]:
        """Report a StopError, which a restart would only meet again."""
        try:
            yield
        except StopError as error:
            self.send({REFUSED: str(error)})
            raise

    def _listen(self) -> None:
        """Read the raw descriptor: a thread inside sys.stdin would hang the interpreter's end."""
        rest = b""
        while data := os.read(self._words, PIPE_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            with contextlib.suppress(ValueError, IndexError):  # nothing whole yet, or words that a full pipe has cut
                self.heard = json.loads(lines[-1])
        self._orphan()

    def _orphan(self) -> None:
        self.orphaned = True
        self._ending.set()


def tied_to_parent() -> Lifeline:
    """Take stdin and stdout for the lifeline; what the stage prints goes to stderr from here on."""
    reports = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    lifeline = Lifeline(os.dup(sys.stdin.fileno()), reports)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lifeline.end)
    with contextlib.suppress(ValueError, OSError):  # Ctrl-C also reaches the supervisor, which says goodbye in order
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    return lifeline
