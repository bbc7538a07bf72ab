"""A process beside the axes that stops them when whoever moves them falls silent, is killed or hangs.

    python -m service.alignment.dead_man SILENT_S DEVICE [DEVICE ...]

It hears words on its standard input, one a line: `beat` arms it and is a sign of life, `rest` disarms it, the end of
the input while armed is a death. It asks for no word back, so a full pipe can hold nobody up.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from service.adapters.tango import TangoAxis, TangoDevice
from service.errors import BraggloopError, SettingsError

BEAT, REST = b"beat\n", b"rest\n"
BEAT_S = 0.2  # between two signs of life
AGAIN_S = 0.1  # between two tries to stop axes that do not
STOP_S = 20.0  # how long it tries
END_S = 5.0  # how long its end is waited for
STOPPED, NOT_STOPPED = 3, 4  # exit codes: it had to stop the axes, and whether they stand


class Words:
    """Words that come down a file descriptor, which is read without waiting."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor, self._begun = descriptor, b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(descriptor, selectors.EVENT_READ)

    def within(self, seconds: float | None) -> list[bytes] | None:
        """Return the words of the next `seconds` as soon as there are some, [] where none come, None at the end."""
        if not self._selector.select(seconds):
            return []
        heard = os.read(self._descriptor, 65536)
        if not heard:
            return None
        *words, self._begun = (self._begun + heard).split(b"\n")
        return [word + b"\n" for word in words]


def watch(
    words: Words, silent_s: float, stop: Callable[[], None], clock_s: Callable[[], float] = time.monotonic
) -> str:
    """Listen until the end; return why `stop` was called, "" where it was not: the input ended at rest."""
    heard_s: float | None = None  # None: at rest
    while True:
        left_s = None if heard_s is None else heard_s + silent_s - clock_s()
        heard = words.within(left_s if left_s is None else max(0.0, left_s))
        if heard is None:
            why = "" if heard_s is None else "whoever moved the axes is gone"
        elif not heard and heard_s is not None and clock_s() - heard_s >= silent_s:
            why = f"no sign of life for {clock_s() - heard_s:.3g} s, allowed {silent_s:g} s"
        else:
            if heard:
                heard_s = None if heard[-1] == REST else clock_s()
            continue
        if why:
            stop()
        return why


def stop_all(axes: Sequence[TangoAxis]) -> bool:
    """Tell all axes to stop, again and again, until they stand; False where one still does not after STOP_S."""
    until_s = time.monotonic() + STOP_S
    while time.monotonic() < until_s:
        stopped = [_stopped(axis) for axis in axes]  # each is told, whatever the first one says
        if all(stopped):
            return True
        time.sleep(AGAIN_S)
    return False


def _stopped(axis: TangoAxis) -> bool:
    try:
        axis.abort()
        return not axis.moving
    except BraggloopError:  # it may come back within STOP_S
        return False


class DeadMan:
    """The process as its owner sees it: beat while axes may move, rest when they do not. For one thread."""

    def __init__(self, devices: Mapping[str, str], silent_s: float) -> None:
        command = [sys.executable, "-m", "service.alignment.dead_man", repr(silent_s), *devices.values()]
        # A session of its own: what stops its owner's group, Ctrl-C among it, must not stop it.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        assert self._process.stdin is not None
        self._pipe = self._process.stdin.fileno()
        os.set_blocking(self._pipe, False)
        self._due_s = 0.0

    def beat(self) -> None:
        """Give a sign of life where one is due; raise SettingsError if the process is gone: nothing may move then."""
        if time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + BEAT_S
        if self._process.poll() is not None:
            raise SettingsError(f"the dead man ended with {self._process.returncode}: nothing may move without it")
        self._say(BEAT)

    def rest(self) -> None:
        self._due_s = 0.0
        self._say(REST)

    def _say(self, word: bytes) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._pipe, word)

    def __enter__(self) -> DeadMan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:  # otherwise it may do its work
            self.rest()
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)


def main(arguments: Sequence[str]) -> int:
    silent_s, devices = float(arguments[0]), arguments[1:]
    axes = [TangoAxis(device, TangoDevice(device)) for device in devices]
    stands = [True]
    why = watch(Words(sys.stdin.fileno()), silent_s, lambda: stands.append(stop_all(axes)))
    if not why:
        return 0
    said = "all axes stand" if stands[-1] else "NOT ALL AXES STAND"
    print(f"dead man: {why}; {said}: {', '.join(devices)}", file=sys.stderr)
    return STOPPED if stands[-1] else NOT_STOPPED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
