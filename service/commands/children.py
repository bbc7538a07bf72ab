"""Child processes of a command: started together, watched, ended together; what they print goes to a file each."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from service.errors import DeviceError
from service.signals import following, handled

GRACE_S = 15.0  # a worker may finish the volume that it is at
POLL_S = 0.1
# Systems give connections ports from 32768 on (Linux) or 49152 (the rest).
PORTS = range(20000, 32768)


class Children:
    """A family of processes; leaving the `with` block ends them, last started first. None outlives this process."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Children:
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, name: str, module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        """Start `python -m module arguments`; its output goes to `name`.log."""
        with open(self.log_of(name), "wb") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=following({**os.environ, **(environment or {})}),
                start_new_session=True,  # Ctrl-C is ours alone: the children end in order
            )

    def pid(self, name: str) -> int:
        """Return its process number; raise DeviceError where nobody of that name was started."""
        if name not in self._processes:
            raise DeviceError(f"no {name!r} was started")
        return self._processes[name].pid

    def log_of(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def check(self) -> None:
        """Raise DeviceError where one has ended, with the last line that it said."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise DeviceError(
                    f"{name} ended with code {process.returncode}: {_last_line(self.log_of(name))} "
                    f"(all of it in {self.log_of(name)})"
                )

    def wait_until(self, ready: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Wait until `ready`; raise DeviceError when a child ends before, or after `timeout_s`."""
        until_s = time.monotonic() + timeout_s
        while not ready():
            self.check()
            if time.monotonic() > until_s:
                said = "; ".join(f"{name} says: {_last_line(self.log_of(name))}" for name in self._processes)
                raise DeviceError(f"{what} was not ready within {timeout_s:g} s; {said} (all of it in {self._logs})")
            time.sleep(POLL_S)

    def stop(self) -> None:
        """Ask all to end, wait, kill who stays; safe to call twice."""
        for process in reversed(self._processes.values()):
            _signal(process, signal.SIGTERM)
        until_s = time.monotonic() + GRACE_S
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until_s - time.monotonic()))
            _signal(process, signal.SIGKILL)
            process.wait()
        self._processes.clear()


def free_ports(count: int) -> list[int]:
    """Return distinct TCP ports that nobody uses at this moment, none of which a connection is given by chance: such a
    one could be taken before anybody listens on it.
    """
    with contextlib.ExitStack() as stack:
        tried = (_bound(stack, port) for port in random.SystemRandom().sample(PORTS, len(PORTS)))
        return list(itertools.islice((port for port in tried if port), count))


def _bound(stack: contextlib.ExitStack, port: int) -> int:
    """The port, held until the stack is left; 0 where it is in use."""
    try:
        stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
    except OSError:
        return 0
    return port


def local_wiring(frames: int, results: int, requests: int) -> dict[str, dict[str, str | int]]:
    """Return the settings that tie a worker and a streamer of this machine together on the given ports."""
    here = "tcp://127.0.0.1:"
    worker = {"endpoint": f"{here}{frames}", "results": f"{here}{results}", "requests": f"{here}{requests}"}
    return {"worker": {**worker, "http_port": 0}, "streamer": {"endpoint": f"{here}{frames}"}}


@contextmanager
def ending() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM, Ctrl-C or a terminal that closes sets."""
    event = threading.Event()
    with handled(lambda *_: event.set()):
        yield event


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To the child alone with SIGTERM, to all that it started with SIGKILL: nothing may outlive the command."""
    if number is signal.SIGKILL:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
    elif process.poll() is None:
        process.send_signal(number)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it said nothing"
