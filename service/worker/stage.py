"""One child of the supervisor: started by exec (never by fork alone), listened to, restarted with back-off."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

from service.worker.health import StageState
from service.worker.lifeline import PIPE_BYTES, REFUSED

BACK_OFF_S = (0.1, 5.0)  # first and longest wait before a restart


class Stage:
    """A process that reports on its stdout, and ends when its stdin does. `step` keeps it running."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self.report: dict[str, Any] = {}
        self.refused = ""  # why the first process of this stage could not begin
        self._command, self._environment = command, environment
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self._starts = 0
        self._heard_s = 0.0
        self._back_off_s = BACK_OFF_S[0]
        self._start_at_s = 0.0

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def state(self) -> StageState:
        return StageState(
            running=self.running, reported=self._reported, restarts=max(0, self._starts - 1), heard_s=self._heard_s
        )

    @property
    def _reported(self) -> bool:
        """Whether the last report is this process' own, not its predecessor's."""
        return self._process is not None and self.report.get("pid") == self._process.pid

    def step(self, words: bytes) -> None:
        """Restart the process where it has died, take its reports, say `words` to it."""
        self._listen()
        if self.running:
            self._say(words)
        elif self._process is not None:
            self._mourn()
        elif time.monotonic() >= self._start_at_s:
            self._start()

    def stop(self) -> int:
        """Ask the process to end, wait for it as long as it takes; return its exit code, 0 where it had not begun."""
        if self._process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        code = self._process.wait()
        return 0 if code == -signal.SIGTERM else code

    def kill(self) -> None:
        """End the process at once, without waiting for that: a signal handler may call it in the middle of `stop`."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """End the process at once and let go of it; safe to call twice."""
        self.kill()
        if self._process is not None:
            self._process.wait()
            self._close_pipes(self._process)

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **self._environment},
            start_new_session=True,  # Ctrl-C is the supervisor's: it ends the stages in their order
        )
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        self._starts += 1
        self._heard_s = time.monotonic()
        self._rest = b""

    def _mourn(self) -> None:
        """Forget the dead process and set the time of its successor's birth; one that never reported waits longer."""
        assert self._process is not None
        self._close_pipes(self._process)
        self._back_off_s = BACK_OFF_S[0] if self._reported else self._back_off_s * 2
        self._back_off_s = min(self._back_off_s, BACK_OFF_S[1])
        self._start_at_s = time.monotonic() + self._back_off_s
        self._process = None

    def _listen(self) -> None:
        if self._process is None or self._process.stdout is None or self._process.stdout.closed:
            return
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._process.stdout.fileno(), PIPE_BYTES):
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    self._take(line)

    def _take(self, line: bytes) -> None:
        with contextlib.suppress(ValueError):  # a report that a full pipe has cut
            report = json.loads(line)
            if REFUSED in report:
                self.refused = "" if self.report else report[REFUSED]  # one that has run before may yet run again
            else:
                self.report = report
            self._heard_s = time.monotonic()

    def _say(self, words: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._process.stdin.fileno(), words)

    def _close_pipes(self, process: subprocess.Popen[bytes]) -> None:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
