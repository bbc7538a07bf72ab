"""From spooled messages to closed series: every series that left a trace is handed out once, whatever became of it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from service.errors import SeriesError, WireError, one_line
from service.records import Accounting, Message, SeriesStart, Volume
from service.settings import Settings
from service.wire import messages as wire
from service.worker.assembly import Dropped, Event, Key, SeriesAssembler, SeriesFailure
from service.worker.complaints import Complaints
from service.worker.journal import Identity
from service.worker.series import BYTES_PER_VOXEL
from service.worker.spool import Position, Record, SpoolReader, segment_path

log = logging.getLogger(__name__)

SLICE_S = 0.05  # how long one step reads before the caller may look at other things


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A series that is over: its volume, or why there is none; `position` is where it begins in the spool."""

    position: Position
    outcome: Volume | SeriesFailure


@dataclass(slots=True)
class Begun:
    """A series that is open: where it begins, when its last image came, how long its messages took to take in."""

    position: Position
    last_frame_at: float | None = None
    assemble_s: float = 0.0


@dataclass(slots=True)
class Headless:
    """A series without a start, or with one that was refused: nothing can be made of it, but it must be told."""

    key: Key
    position: Position
    last_s: float
    refused: WireError | None = None
    images: set[int] = field(default_factory=set)

    def failure(self) -> SeriesFailure:
        sent = max(self.images, default=-1) + 1
        accounting = Accounting(
            sent=sent, received=0, missed=sent - len(self.images), rejected=len(self.images), duplicates=0
        )
        fate = "never came" if self.refused is None else f"was refused ({self.refused})"
        error = SeriesError(f"the start of the series {fate}, {len(self.images)} of its images came")
        return SeriesFailure(series_id=self.key[0], series_unique_id=self.key[1], accounting=accounting, error=error)


class Intake:
    """Reads the spool and assembles; used by one thread.

    `finished` tells whether a series has its result already (it is skipped then), `known` whether any series of this
    key has one (its late images are no new series).
    """

    def __init__(
        self,
        reader: SpoolReader,
        settings: Settings,
        finished: Callable[[Identity], bool],
        known: Callable[[Key], bool],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader, self._finished, self._known, self._clock_s = reader, finished, known, clock_s
        self._settings = self._next_settings = settings
        self._assembler = SeriesAssembler(settings)
        self._began: dict[Key, Begun] = {}
        self._skipped: Key | None = None
        self._headless: Headless | None = None
        self._heard_s = clock_s()
        self._complaints = Complaints(log, clock_s)
        self.serial = 0
        self.damaged = 0
        self.strays = 0

    @property
    def position(self) -> Position:
        """Where a restart has to begin for the series that is not closed yet."""
        headless = [self._headless.position] if self._headless else []
        return min([*headless, *(begun.position for begun in self._began.values()), self._reader.position])

    @property
    def read_to(self) -> Position:
        """Where the next record is read."""
        return self._reader.position

    @property
    def open_start(self) -> SeriesStart | None:
        return self._assembler.open_start

    @property
    def open_accounting(self) -> Accounting | None:
        return self._assembler.open_accounting

    @property
    def open_identity(self) -> Identity | None:
        """Name and place of the series that is open."""
        start = self._assembler.open_start
        if start is None:
            return None
        key = (start.series_id, start.series_unique_id)
        return (*key, self._began[key].position)

    @property
    def open_bytes(self) -> int:
        """What the series that is open takes in memory, with all images that were announced."""
        start, accounting = self._assembler.open_start, self._assembler.open_accounting
        return 0 if start is None or accounting is None else accounting.sent * math.prod(start.shape) * BYTES_PER_VOXEL

    @property
    def silent_s(self) -> float:
        """Seconds since the last message, while a series is open."""
        return self._clock_s() - self._heard_s if self.open_start else 0.0

    def use(self, settings: Settings) -> None:
        """Assemble with these settings from the next series on."""
        self._next_settings = settings

    def step(self) -> tuple[list[Closed], bool]:
        """Read until series close, the time slice ends or nothing is left; the flag tells that something was read.

        Stale series are closed only where nothing is left: a reader that is behind must not call its sender silent.
        """
        until_s = self._clock_s() + SLICE_S
        busy = False
        while self._clock_s() < until_s:
            record = self._reader.read()
            if record is None:
                self._complaints.catch_up()
                return self._close_stale(), busy
            busy = True
            closed = self._take(record)
            if closed:
                return closed, True
        return [], busy

    def _take(self, record: Record) -> list[Closed]:
        self.serial = record.serial + 1
        if record.payload is None:
            self.damaged += 1
            self._complaints.tell("damaged", f"record {record.serial} of the spool fails its checksum")
            return []
        try:
            head = wire.peek(record.payload)
        except WireError as error:
            self.strays += 1
            self._complaints.tell("unreadable", str(error))
            return []
        key = (head.series_id, head.series_unique_id)
        if head.type == "start":
            self._skipped = key if self._finished((*key, record.position)) else None
        if key == self._skipped:
            return []
        self._heard_s = self._clock_s()
        return self._feed(record, head, key)

    def _feed(self, record: Record, head: wire.Peek, key: Key) -> list[Closed]:
        assert record.payload is not None
        closed: list[Closed] = []
        if head.type == "start":
            closed += self._before_start(key)
        began_s = time.perf_counter()
        try:
            message = _decoded(record.payload)
        except WireError as error:
            return closed + self._unreadable(head, key, error, record.position)
        if head.type == "start":
            self._began.setdefault(key, Begun(record.position))
        events = self._assembler.feed(message, self._heard_s)
        self._time(record, head, key, time.perf_counter() - began_s)
        return closed + self._closed(events) + self._strayed(events, head, key, record.position)

    def _time(self, record: Record, head: wire.Peek, key: Key, seconds: float) -> None:
        begun = self._began.get(key)
        if begun is None:
            return
        begun.assemble_s += seconds
        if head.type == "image":
            begun.last_frame_at = record.received_at

    def _before_start(self, key: Key) -> list[Closed]:
        """A start ends what came before; new settings hold from here on."""
        closed = self._close_headless()
        if self._settings is not self._next_settings:
            closed += self._closed(self._assembler.close("newer series"))
            self._settings = self._next_settings
            self._assembler.use(self._settings)
        return closed

    def _unreadable(self, head: wire.Peek, key: Key, error: WireError, position: Position) -> list[Closed]:
        if head.image_id is None:
            self.strays += 1
            self._complaints.tell(f"unreadable {head.type}", str(error))
            if head.type == "start" and key not in self._began:  # one that is open already only got a bad copy
                self._headless = Headless(key, position, self._heard_s, error)
            return []
        events = self._assembler.reject(*key, head.image_id, error)
        return self._closed(events) + self._strayed(events, head, key, position)

    def _closed(self, events: list[Event]) -> list[Closed]:
        closed = []
        for event in events:
            if isinstance(event, Dropped):
                self._complaints.tell(event.kind, str(event.error))
            else:
                begun = self._began.pop((event.series_id, event.series_unique_id))
                closed.append(Closed(position=begun.position, outcome=_timed(event, begun)))
        return closed

    def _strayed(self, events: list[Event], head: wire.Peek, key: Key, position: Position) -> list[Closed]:
        """Images of a series that was never opened are gathered; all other strays are only counted."""
        if not any(isinstance(event, Dropped) and event.kind == "stray" for event in events):
            return []
        self.strays += 1
        ours = self._headless is not None and self._headless.key == key
        if not ours and (key in self._began or key in self._assembler.closed or self._known(key)):
            return []
        if head.image_id is None:  # its end
            return self._close_headless() if ours else []
        closed: list[Closed] = []
        if self._headless is None or not ours:
            closed = self._close_headless()
            self._headless = Headless(key, position, self._heard_s)
        self._headless.images.add(head.image_id)
        self._headless.last_s = self._heard_s
        return closed

    def _close_headless(self) -> list[Closed]:
        headless, self._headless = self._headless, None
        if headless is None:
            return []
        self._assembler.closed.append(headless.key)
        return [Closed(position=headless.position, outcome=headless.failure())]

    def _close_stale(self) -> list[Closed]:
        now_s = self._clock_s()
        closed = self._closed(self._assembler.close_stale(now_s))
        if self._headless is not None and now_s - self._headless.last_s >= self._settings.worker.stall_s:
            closed += self._close_headless()
        return closed


def _timed(outcome: Volume | SeriesFailure, begun: Begun) -> Volume | SeriesFailure:
    if isinstance(outcome, SeriesFailure):
        return outcome
    return replace(outcome, last_frame_at=begun.last_frame_at, latencies_s={"assemble": begun.assemble_s})


def reread(folder: Path, identity: Identity, settings: Settings, go_on: Callable[[], None] = lambda: None) -> Volume:
    """Assemble one series again from where it begins; raise SeriesError where it is not there any more or failed.

    `go_on` is called for each message, and ends it by raising.
    """
    series_id, name, position = identity
    volume = _assembled(SpoolReader(folder, position), (series_id, name), settings, go_on)
    # The oldest segment leaves first: where the first one of the series is still here, all that were read were its own.
    if volume is None or not segment_path(folder, position.segment).exists():
        raise SeriesError(f"series {series_id} ({name[:40]}) is not in the spool any more")
    return volume


def _assembled(reader: SpoolReader, key: Key, settings: Settings, go_on: Callable[[], None]) -> Volume | None:
    """Return the volume of the series whose start is the next record, None where that is another record."""
    assembler, begin = SeriesAssembler(settings), reader.position
    while record := reader.read():
        go_on()
        if assembler.open_start is None and record.position != begin:
            return None
        if volume := _volume_in(_events_of(assembler, record, key)):
            return volume
    return _volume_in(assembler.close("end of the spool"))


def _volume_in(events: list[Event]) -> Volume | None:
    for event in events:
        if isinstance(event, SeriesFailure):
            raise event.error
        if isinstance(event, Volume):
            return event
    return None


def _events_of(assembler: SeriesAssembler, record: Record, key: Key) -> list[Event]:
    """Feed what belongs to the series; a later start of another one closes it."""
    if record.payload is None:
        return []
    try:
        head = wire.peek(record.payload)
    except WireError:
        return []
    if (head.series_id, head.series_unique_id) != key:
        return assembler.close("newer series") if head.type == "start" else []
    try:
        return assembler.feed(_decoded(record.payload), 0.0)
    except WireError as error:
        return [] if head.image_id is None else assembler.reject(*key, head.image_id, error)


def _decoded(payload: memoryview) -> Message:
    """Read one message; whatever it does to the decoder, the next one must be read."""
    try:
        return wire.decode(payload)
    except WireError:
        raise
    except Exception as error:
        log.exception("a message of %d bytes", len(payload))
        raise WireError(f"{type(error).__name__}: {one_line(error)}") from error
