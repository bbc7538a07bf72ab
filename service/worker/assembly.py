"""Messages in, volumes out: one series is open at a time, and whatever is out of place costs only itself."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, replace

from service.errors import DropError, SequenceError, SeriesError, WireError, one_line
from service.records import Accounting, Frame, Message, SeriesEnd, SeriesStart, Volume
from service.settings import Settings
from service.worker.buffers import Buffers
from service.worker.series import OpenSeries

log = logging.getLogger(__name__)

REMEMBERED = 64  # closed series whose late messages are told from those of unknown ones

ABORT = "abort"  # closed by a sender that gave the series up

Key = tuple[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFailure:
    """A series that gives no volume, and why; `aborted` where its sender gave it up."""

    series_id: int
    series_unique_id: str
    accounting: Accounting
    error: SeriesError
    aborted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A message that was left out. `kind`: 'duplicate', 'rejected' (counted in its series) or 'stray'."""

    kind: str
    error: DropError


Event = Volume | SeriesFailure | Dropped


@dataclass(slots=True)
class Tally:
    """Messages since the assembler was made."""

    received: int = 0
    duplicates: int = 0
    rejected: int = 0
    strays: int = 0


class SeriesAssembler:
    """Puts the images of a series in order and hands out its volume when it is complete, ended or stale.

    A series closes with its last image; with its end, where none is missing or it is aborted, else `worker.late_s`
    after it; when a newer series starts; or after `worker.stall_s` without a message. `Volume.metadata['closed_by']`
    says which.
    Never raises for what a sender did. Not thread-safe. Times are seconds of any clock that never runs back.
    `closed` are the last series that are over, whose late messages are no news.
    """

    def __init__(self, settings: Settings) -> None:
        self.tally = Tally()
        self.closed: deque[Key] = deque(maxlen=REMEMBERED)
        self._settings = settings
        self._buffers = Buffers()
        self._open: OpenSeries | None = None
        self._last_s = 0.0
        self._ended_s: float | None = None

    @property
    def open_start(self) -> SeriesStart | None:
        """Start of the series that is open."""
        return self._open.start if self._open else None

    @property
    def open_accounting(self) -> Accounting | None:
        """What the open series has so far; images still to come count as missed."""
        return self._open.accounting if self._open else None

    def use(self, settings: Settings) -> None:
        """Assemble with these settings from the next series on; the open one keeps but its times to wait."""
        self._settings = settings

    def feed(self, message: Message, now_s: float) -> list[Event]:
        """Take one message; return the volumes, failures and dropped messages that it leads to."""
        try:
            match message:
                case SeriesStart():
                    return self._start(message, now_s)
                case Frame():
                    return self._frame(message, now_s)
                case SeriesEnd():
                    return self._end(message, now_s)
        except SequenceError as error:
            self.tally.strays += 1
            return [Dropped(kind="stray", error=error)]

    def reject(self, series_id: int, series_unique_id: str, image_id: int, error: WireError) -> list[Event]:
        """Count an image whose message could not be read beyond its head (wire.peek)."""
        try:
            self._opened((series_id, series_unique_id), f"image {image_id}").reject(image_id, error)
        except SequenceError as stray:
            self.tally.strays += 1
            return [Dropped(kind="stray", error=stray)]
        self.tally.rejected += 1
        return [Dropped(kind="rejected", error=error)]

    def close_stale(self, now_s: float) -> list[Event]:
        """Close the open series where it has stalled, or has ended and its late images do not come."""
        worker = self._settings.worker
        if self._ended_s is not None and now_s - self._ended_s >= worker.late_s:
            return self._close("end")
        if self._open is not None and now_s - self._last_s >= worker.stall_s:
            return self._close("stall")
        return []

    def close(self, reason: str) -> list[Event]:
        """Close the open series, if any, as it is."""
        return self._close(reason)

    def _start(self, start: SeriesStart, now_s: float) -> list[Event]:
        if self._open is not None and _key(self._open.start) == _key(start):
            raise SequenceError(f"series {start.series_id} starts twice")
        events = self._close("newer series")
        if _key(start) in self.closed:
            self.closed.remove(_key(start))
        try:
            self._open = OpenSeries(start, self._settings, self._buffers)
        except SeriesError as error:
            self.closed.append(_key(start))
            return [*events, _failure(start, _nothing_of(start), error)]
        self._last_s = now_s
        return events

    def _frame(self, frame: Frame, now_s: float) -> list[Event]:
        series = self._opened(_key(frame), f"image {frame.image_id}")
        self._last_s = now_s
        try:
            new = series.add(frame)
        except SequenceError:
            raise
        except DropError as error:
            self.tally.rejected += 1
            return [Dropped(kind="rejected", error=error)]
        if not new:
            self.tally.duplicates += 1
            return [Dropped(kind="duplicate", error=SequenceError(f"image {frame.image_id} came again"))]
        self.tally.received += 1
        return self._close("last image") if series.full else []

    def _end(self, end: SeriesEnd, now_s: float) -> list[Event]:
        if self._open is None and _key(end) in self.closed:
            return []
        series = self._opened(_key(end), "end")
        if end.aborted:
            return self._close(ABORT)
        if series.settled or series.start.number_of_images is None:
            return self._close("end")
        self._ended_s = now_s
        return []

    def _opened(self, key: Key, what: str) -> OpenSeries:
        if self._open is None or _key(self._open.start) != key:
            state = "already closed" if key in self.closed else "not started"
            raise SequenceError(f"{what} of series {key[0]} ({key[1][:40]}), which is {state}")
        return self._open

    def _close(self, reason: str) -> list[Event]:
        series, self._open, self._ended_s = self._open, None, None
        if series is None:
            return []
        self.closed.append(_key(series.start))
        try:
            return [series.volume({"closed_by": reason})]
        except SeriesError as error:
            return [replace(_failure(series.start, series.accounting, error), aborted=reason == ABORT)]
        except Exception as error:  # whatever one series says of itself, the next one must be assembled
            log.exception("series %s (%s)", *_key(series.start))
            why = SeriesError(f"{type(error).__name__}: {one_line(error)}")
            return [_failure(series.start, series.accounting, why)]


def _key(message: Message) -> Key:
    return message.series_id, message.series_unique_id


def _failure(start: SeriesStart, accounting: Accounting, error: SeriesError) -> SeriesFailure:
    return SeriesFailure(
        series_id=start.series_id, series_unique_id=start.series_unique_id, accounting=accounting, error=error
    )


def _nothing_of(start: SeriesStart) -> Accounting:
    sent = start.number_of_images or 0
    return Accounting(sent=sent, received=0, missed=sent, rejected=0, duplicates=0)
