"""Locks that a process's death releases, however it died."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.errors import SpoolError

POLL_S = 0.05


@contextmanager
def held(path: Path, what: str, timeout_s: float) -> Iterator[None]:
    """Hold the lock file `path`; raise SpoolError where another process holds it for longer than `timeout_s`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    until_s = time.monotonic() + timeout_s
    with path.open("a") as file:
        while not _taken(file.fileno()):
            if time.monotonic() > until_s:
                raise SpoolError(f"{what} is already running on {path.parent}; end it or choose another folder")
            time.sleep(POLL_S)
        yield


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
