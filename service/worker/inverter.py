"""One thread that inverts one series at a time, so that reading the spool and answering requests go on."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.errors import BraggloopError
from service.records import Accounting, Figures, Volume
from service.settings import Settings
from service.worker.journal import Identity

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What an inversion leaves: its files and what the summary shows of it."""

    figures: Figures
    path: Path
    picture: Path | None
    slices: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    latencies_s: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


Invert = Callable[[Volume, Settings], Product]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A series to invert; `load` gives its volume, in the inverter's thread."""

    identity: Identity
    load: Callable[[], Volume]
    settings: Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Inverted:
    """What became of a job: a product, or an error in one line."""

    job: Job
    accounting: Accounting
    product: Product | None
    error: str = ""


NO_FRAMES = Accounting(sent=0, received=0, missed=0, rejected=0, duplicates=0)


class Inverter:
    """Takes one job at a time; `poll` hands out what became of it."""

    def __init__(self, invert: Invert) -> None:
        self._invert = invert
        self._jobs: queue.Queue[Job] = queue.Queue(1)
        self._done: queue.Queue[Inverted] = queue.Queue()
        self.job: Job | None = None
        # A daemon: a supervisor that died must not be outlived by an inversion that nobody waits for.
        threading.Thread(target=self._run, name="inverter", daemon=True).start()

    def submit(self, job: Job) -> None:
        """Begin a job; only while `job` is None."""
        self.job = job
        self._jobs.put_nowait(job)

    def poll(self, timeout_s: float = 0.0) -> Inverted | None:
        """Return what became of the job, None where it is not ready within `timeout_s`."""
        try:
            inverted = self._done.get(timeout=timeout_s) if timeout_s > 0 else self._done.get_nowait()
        except queue.Empty:
            return None
        self.job = None
        return inverted

    def _run(self) -> None:
        while True:
            self._done.put(self._work(self._jobs.get()))

    def _work(self, job: Job) -> Inverted:
        accounting = NO_FRAMES
        try:
            volume = job.load()
            accounting = volume.accounting
            return Inverted(job=job, accounting=accounting, product=self._invert(volume, job.settings))
        except BraggloopError as error:
            return Inverted(job=job, accounting=accounting, product=None, error=str(error))
        except Exception as error:  # whatever one series does, the next one must be inverted
            log.exception("series %s (%s)", *job.identity[:2])
            text = " ".join(str(error).split())
            return Inverted(job=job, accounting=accounting, product=None, error=f"{type(error).__name__}: {text}")
