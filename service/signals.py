"""Signals that ask a process to end, and children that do not outlive the process that started them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

PARENT = "BRAGGLOOP_PARENT"  # environment variable: who started this process, and takes it along
LOOK_S = 0.5


def numbers() -> tuple[signal.Signals, ...]:
    """Return the signals that ask to end: SIGTERM, Ctrl-C, and a terminal that closes unless `nohup` said otherwise."""
    stays = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM, signal.SIGINT) if stays else (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def handled(handler: Callable[..., Any]) -> Iterator[None]:
    """Handle `numbers` here and now; outside the main thread there are none to handle."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.signal(number, handler) for number in numbers()}
    try:
        yield
    finally:
        for number, old in former.items():
            signal.signal(number, old)


def following(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a child that ends when this process is gone, whatever killed it."""
    return {**environment, PARENT: str(os.getpid())}


def follow_parent() -> None:
    """In a child: ask oneself to end once the parent that wanted so is gone."""
    parent = os.environ.pop(PARENT, "")  # the child's own children are its own affair
    if parent:
        threading.Thread(target=_outlive, args=(int(parent),), name="parent", daemon=True).start()


def _outlive(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_S)
    os.kill(os.getpid(), signal.SIGTERM)
