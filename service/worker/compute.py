"""Compute: tails the spool, assembles, inverts, writes the journal, publishes. Survives its own death at any moment.

The order is the whole of it: result file, journal, PUB, cursor. A series whose journal line is missing is read again
from the spool; one whose line is there is neither inverted nor counted again.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from queue import SimpleQueue

from service.errors import one_line
from service.ports import ResultSink
from service.records import Accounting, ResultSummary, SeriesStatus, Volume
from service.settings import Settings
from service.worker.answers import Reprocess, Wish
from service.worker.assembly import ABORT, SeriesFailure
from service.worker.health import ComputeReport
from service.worker.intake import Closed, Intake, reread
from service.worker.inverter import Inverted, Inverter, Job
from service.worker.journal import Identity, Journal
from service.worker.lifeline import Lifeline
from service.worker.spool import Position, read_cursor, write_cursor

log = logging.getLogger(__name__)

IDLE_S = (0.001, 0.02)  # shortest and longest sleep while the spool has nothing new
ATTEMPTS = 3  # inversions of one series that may kill the process before it is given up
ABORTED_BELOW = 0.5  # share of its frames below which a series that was cut off is not inverted
CUT_OFF = {  # what closed a series of few frames -> what becomes of it
    "newer series": (SeriesStatus.ABORTED, "cut off by a newer series"),
    "stall": (SeriesStatus.FAILED, "cut off: its sender fell silent"),
}


class Compute:
    """The loop of the compute process; used by one thread. `wishes` come from others."""

    def __init__(
        self,
        intake: Intake,
        inverter: Inverter,
        journal: Journal,
        sink: ResultSink,
        wishes: SimpleQueue[Wish],
        settings: Settings,
    ) -> None:
        self._wishes = wishes
        self._intake, self._inverter, self._journal, self._sink = intake, inverter, journal, sink
        self._settings = settings
        self._waiting: list[Closed] = []
        self._inverting: Position | None = None  # None too while a series is inverted again
        self._previewed: tuple[Identity | None, int] = (None, 0)  # the last one, and the frames that it had
        self._caught_up = False
        self._cursor = read_cursor(settings.spool.folder)
        self._idle_s = IDLE_S[0]

    def run(self, lifeline: Lifeline, report: Callable[[ComputeReport], Mapping[str, object]]) -> None:
        """Work until the lifeline ends; then finish what is inverted and drawn, unless the supervisor is gone."""
        while not lifeline.ending:
            if not self.step(spool_full=_says_full(lifeline.heard)):
                time.sleep(self._idle_s)
            lifeline.beat(lambda: report(self.report))
        self._inverter.give_way()
        while self._inverter.job is not None and not lifeline.orphaned:
            self._finish(self._inverter.poll(IDLE_S[1]))
            lifeline.beat(lambda: report(self.report))
        if not lifeline.orphaned:
            self._inverter.rest()

    def step(self, spool_full: bool = False) -> bool:
        """Do what there is to do; False where there was nothing."""
        busy = self._grant() | self._finish(self._inverter.poll()) | self._read() | self._begin_next()
        busy |= self._preview()
        if spool_full and self._caught_up and self._inverting is None and not self._waiting:
            self._move_cursor(self._intake.read_to)  # the open series alone fills the spool: let its beginning go
        elif not busy or self._needed().segment > self._cursor.segment:
            self._move_cursor(self._needed())  # not at every message: each move waits for the disk
        self._idle_s = IDLE_S[0] if busy else min(2 * self._idle_s, IDLE_S[1])
        return busy

    @property
    def report(self) -> ComputeReport:
        start, accounting = self._intake.open_start, self._intake.open_accounting
        journal, job = self._journal, self._inverter.job
        return ComputeReport(
            pid=os.getpid(),
            serial=self._intake.serial,
            caught_up=self._caught_up,
            damaged=self._intake.damaged,
            strays=self._intake.strays,
            open_series=f"{start.series_id} ({start.series_unique_id[:40]})" if start else "",
            open_sent=accounting.sent if accounting else 0,
            open_received=accounting.received if accounting else 0,
            silent_s=self._intake.silent_s if self._caught_up else 0.0,
            inverting=f"{job.identity[0]} ({job.identity[1][:40]})" if job else "",
            received=journal.totals["received"],
            missed=journal.totals["missed"],
            rejected=journal.totals["rejected"],
            duplicates=journal.totals["duplicates"],
            series=dict(journal.series),
            defects=dict(journal.defects),
            stages=dict(journal.stages),
            latency=journal.latency,
            sequence=journal.sequence,
            last_error=journal.last_error[:400],
        )

    def _grant(self) -> bool:
        """Do one thing that was wished for; an inversion that is wished for waits for the running one."""
        if self._wishes.empty() or self._inverter.job is not None:
            return False
        match self._wishes.get():
            case Reprocess(identity):
                self._again(identity)
            case Settings() as settings:
                self._settings = settings
                self._intake.use(settings)
        return True

    def _again(self, identity: Identity) -> None:
        settings = self._settings
        load = partial(reread, settings.spool.folder, identity, settings)
        self._inverter.submit(Job(identity=identity, load=load, settings=settings))

    def _read(self) -> bool:
        """Assemble, but not further than the series that waits for the inverter: the spool is the queue."""
        if self._waiting:
            return False
        self._waiting, read = self._intake.step()
        self._caught_up = not read
        return read or bool(self._waiting)

    def _begin_next(self) -> bool:
        if not self._waiting:
            return False
        if self._inverter.job is not None:
            self._inverter.give_way()
            return False
        self._begin(self._waiting.pop(0))
        return True

    def _preview(self) -> bool:
        """Invert what came of the open series, where enough is new and the inverter has nothing better to do."""
        every, identity, frames = (
            self._settings.worker.preview_frames, self._intake.open_identity, self._intake.open_accounting,
        )  # fmt: skip
        if not every or identity is None or frames is None or not self._idle:
            return False
        received, seen = frames.received, self._previewed[1] if self._previewed[0] == identity else 0
        if received - seen < every or 2 * self._intake.open_bytes > self._settings.worker.series_max_bytes:
            return False
        self._previewed = (identity, received)
        load = partial(reread, self._settings.spool.folder, identity, self._settings, self._inverter.go_on)
        self._inverter.submit(Job(identity=identity, load=load, settings=self._settings, preview=True))
        return True

    @property
    def _idle(self) -> bool:
        """Whether nothing is wanted, waits or is left to read."""
        return self._inverter.job is None and self._wishes.empty() and not self._waiting and self._caught_up

    def _begin(self, closed: Closed) -> None:
        outcome = closed.outcome
        identity = (outcome.series_id, outcome.series_unique_id, closed.position)
        if isinstance(outcome, SeriesFailure):
            status = SeriesStatus.ABORTED if outcome.aborted else SeriesStatus.FAILED
            self._tell(identity, outcome.accounting, status, error=str(outcome.error))
        elif given_up := _given_up(outcome):
            status, why = given_up
            self._tell(identity, outcome.accounting, status, error=why)
        elif self._journal.attempts(identity) >= ATTEMPTS:
            error = f"the worker died {ATTEMPTS} times while inverting it"
            self._tell(identity, outcome.accounting, SeriesStatus.FAILED, error=error)
        else:
            self._journal.begin(identity)
            self._inverting = closed.position
            self._inverter.submit(Job(identity=identity, load=lambda: outcome, settings=self._settings))

    def _finish(self, inverted: Inverted | None) -> bool:
        if inverted is None:
            return False
        identity, accounting = inverted.job.identity, inverted.accounting
        if inverted.job.preview and inverted.product is None:
            log.info("series %s shows nothing so far: %s", identity[0], inverted.error)
            return True
        if inverted.preliminary or inverted.job.preview:
            self._tell(identity, accounting, SeriesStatus.PRELIMINARY, inverted)
            return True
        self._inverting = None
        if inverted.product is None:
            self._tell(identity, accounting, SeriesStatus.FAILED, error=inverted.error)
        else:
            status = SeriesStatus.DONE if accounting.complete else SeriesStatus.INCOMPLETE
            self._tell(identity, accounting, status, inverted)
        return True

    def _tell(
        self,
        identity: Identity,
        accounting: Accounting,
        status: SeriesStatus,
        inverted: Inverted | None = None,
        error: str = "",
    ) -> None:
        product = inverted.product if inverted else None
        summary = ResultSummary(
            sequence=self._journal.sequence + 1,
            series_id=identity[0],
            series_unique_id=identity[1],
            status=status,
            accounting=accounting,
            figures=product.figures if product else None,
            path=product.path if product else None,
            picture=product.picture if product else None,
            slices=product.slices if product else {},
            voxel_nm=product.voxel_nm if product else None,
            finished_at=time.time(),
            error=one_line(error),
            notes=product.notes if product else (),
            warnings=product.warnings if product else (),
            journal=self._journal.name,
            again=self._journal.finished(identity),
        )
        if status is not SeriesStatus.PRELIMINARY:
            self._journal.add(identity, _until_now(summary, inverted))
        self._sink.publish(_until_now(summary, inverted))
        self._move_cursor(self._needed())

    def _needed(self) -> Position:
        """Where a restart has to begin: at the oldest series without a result."""
        inverting = [self._inverting] if self._inverting else []
        return min([*inverting, *(closed.position for closed in self._waiting), self._intake.position])

    def _move_cursor(self, position: Position) -> None:
        if position > self._cursor:
            write_cursor(self._settings.spool.folder, position)
            self._cursor = position


def _until_now(summary: ResultSummary, inverted: Inverted | None) -> ResultSummary:
    """Return the summary with its latencies as of now: the journal's lack but the flush of its own line."""
    if inverted is None:
        return summary
    now, came = time.time(), inverted.last_frame_at
    stages = {**inverted.latencies_s, "publish": max(0.0, now - inverted.done_at)}
    return replace(summary, latencies_s=stages, latency_s=None if came is None else max(0.0, now - came))


def _given_up(volume: Volume) -> tuple[SeriesStatus, str] | None:
    """Return status and reason of a series that is not inverted: given up by its sender, or few frames and no end."""
    frames, closed_by = volume.accounting, str(volume.metadata.get("closed_by"))
    if closed_by == ABORT:
        return SeriesStatus.ABORTED, "aborted by its sender"
    few = frames.received < ABORTED_BELOW * frames.sent
    return CUT_OFF.get(closed_by) if few else None


def _says_full(health: Mapping[str, object]) -> bool:
    ingest = health.get("ingest")
    return isinstance(ingest, Mapping) and bool(ingest.get("full"))
