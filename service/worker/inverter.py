"""One thread that inverts one series at a time, so that reading the spool and answering requests go on."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.errors import BraggloopError, SeriesError, one_line
from service.records import Accounting, Figures, Volume
from service.settings import Settings
from service.worker.journal import Identity

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What an inversion leaves: its file and what the summary shows of it; `draw` makes `picture`, and never raises.

    What is shown before has no file.
    """

    figures: Figures
    path: Path | None
    picture: Path | None
    slices: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    voxel_nm: float | None = None
    latencies_s: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    draw: Callable[[], None] = lambda: None


Show = Callable[[Product], None]
Invert = Callable[[Volume, Settings, Show], Product]  # which may show what it has before it is done
GoOn = Callable[[], None]  # raises where what is done is not wanted any more
Preview = Callable[[Volume, Settings, GoOn], Product]  # of a series that is still open: it leaves no file


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A series to invert; `load` gives its volume, in the inverter's thread. A `preview` is of what came so far."""

    identity: Identity
    load: Callable[[], Volume]
    settings: Settings
    preview: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Inverted:
    """What became of a job: a product, or an error in one line. A `preliminary` one is followed by another.

    `latencies_s` are those of all stages so far; `last_frame_at` and `done_at` are clock times, s since 1970.
    """

    job: Job
    accounting: Accounting
    product: Product | None
    error: str = ""
    latencies_s: Mapping[str, float] = field(default_factory=dict)
    last_frame_at: float | None = None
    done_at: float = 0.0
    preliminary: bool = False


NO_FRAMES = Accounting(sent=0, received=0, missed=0, rejected=0, duplicates=0)


class Inverter:
    """Takes one job at a time; `poll` hands out what it shows on the way and what became of it.

    Its picture is drawn before the next job.
    """

    def __init__(self, invert: Invert, preview: Preview) -> None:
        self._invert, self._preview = invert, preview
        self._given_way = threading.Event()
        self._jobs: queue.Queue[Job] = queue.Queue(1)
        self._done: queue.Queue[Inverted] = queue.Queue()
        self.job: Job | None = None
        # A daemon: a supervisor that died must not be outlived by an inversion that nobody waits for.
        threading.Thread(target=self._run, name="inverter", daemon=True).start()

    def submit(self, job: Job) -> None:
        """Begin a job; only while `job` is None."""
        self.job = job
        self._given_way.clear()
        self._jobs.put_nowait(job)

    def give_way(self) -> None:
        """Give up the preview that runs, if one does: something waits that is more than that."""
        if self.job is not None and self.job.preview:
            self._given_way.set()

    def go_on(self) -> None:
        """Raise SeriesError where the preview that runs is to give way."""
        if self._given_way.is_set():
            raise SeriesError("given up for a series that is over")

    def poll(self, timeout_s: float = 0.0) -> Inverted | None:
        """Return what the job shows or what became of it, None where nothing is ready within `timeout_s`."""
        try:
            inverted = self._done.get(timeout=timeout_s) if timeout_s > 0 else self._done.get_nowait()
        except queue.Empty:
            return None
        if not inverted.preliminary:
            self.job = None
        return inverted

    def rest(self) -> None:
        """Wait until nothing is left to draw."""
        self._jobs.join()

    def _run(self) -> None:
        while True:
            self._do(self._jobs.get())
            self._jobs.task_done()

    def _do(self, job: Job) -> None:
        """A step of its own, so that no large volume is held while the next job is awaited."""
        inverted = self._work(job)
        self._done.put(inverted)
        if inverted.product is not None:
            inverted.product.draw()

    def _work(self, job: Job) -> Inverted:
        accounting = NO_FRAMES
        try:
            volume = job.load()
            accounting, before = volume.accounting, _before(volume)
            whole = Inverted(job=job, accounting=accounting, product=None, last_frame_at=volume.last_frame_at)
            if job.preview:
                return _with(whole, self._preview(volume, job.settings, self.go_on), before)
            product = self._invert(
                volume, job.settings, lambda early: self._done.put(_with(whole, early, before, preliminary=True))
            )
            return _with(whole, product, before)
        except BraggloopError as error:
            return Inverted(job=job, accounting=accounting, product=None, error=str(error))
        except Exception as error:  # whatever one series does, the next one must be inverted
            log.exception("series %s (%s)", *job.identity[:2])
            text = f"{type(error).__name__}: {one_line(error)}"
            return Inverted(job=job, accounting=accounting, product=None, error=text)


def _with(job: Inverted, product: Product, before: Mapping[str, float], preliminary: bool = False) -> Inverted:
    latencies_s = {**before, **product.latencies_s}
    return replace(job, product=product, latencies_s=latencies_s, done_at=time.time(), preliminary=preliminary)


def _before(volume: Volume) -> Mapping[str, float]:
    """Return what went before the inversion; a live volume has waited since its last frame."""
    if volume.last_frame_at is None:
        return volume.latencies_s
    return {**volume.latencies_s, "wait": max(0.0, time.time() - volume.last_frame_at)}
