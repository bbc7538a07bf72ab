"""One pass of a source into a sink: a fresh identity for each series, frames when it is their turn, each counted."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Protocol

from service.devices.halt import Halt
from service.devices.turns import Turn
from service.ports import EndOfStream, FrameSink, FrameSource
from service.records import Frame, Message, SeriesEnd, SeriesStart

POLL_S = 0.1  # how long one wait lasts before a halt is looked at


class Tally(Protocol):
    """Who counts. `waiting` is told of a receiver that is not there yet."""

    def opened(self, start: SeriesStart) -> None: ...

    def waiting(self) -> None: ...

    def sent(self, frame: Frame) -> None: ...

    def dropped(self, frame: Frame) -> None: ...

    def closed(self, taken: bool) -> None: ...


class Relay:
    """Moves messages from sources into one sink; used by one thread.

    `turn` says when a frame may leave; a source that announces its frames is not asked for one before. A frame that the
    sink does not take within `patience_s` is dropped and counted; the opening of a series waits for its receiver for as
    long as it takes.
    `enough` is asked after each series, for sources that have no end of their own.
    """

    def __init__(
        self, sink: FrameSink, tally: Tally, halt: Halt, *, turn: Turn, patience_s: float,
        enough: Callable[[], bool], series_ids: Iterator[int],
    ) -> None:  # fmt: skip
        self._sink, self._tally, self._halt = sink, tally, halt
        self._turn, self._patience_s, self._enough = turn, patience_s, enough
        self._series_ids = series_ids
        self._open: SeriesStart | None = None
        self._awaited = 0

    def run(self, source: FrameSource) -> None:
        """Pass the source on until its end or until the halt, and close the series that is open then."""
        while self._turn.come() if self._awaited else not self._halt.called:
            try:
                message = source.receive(POLL_S)
            except EndOfStream:
                break
            if message is not None:
                self._pass_on(message)
            if isinstance(message, SeriesEnd) and self._enough():
                break
        if self._halt.aborted:
            self._give_up_series()
        self._close_series()

    def _pass_on(self, message: Message) -> None:
        match message:
            case SeriesStart():
                self._open_series(message)
            case Frame():
                self._send_frame(message)
            case SeriesEnd():
                self._close_series()

    def _open_series(self, start: SeriesStart) -> None:
        self._close_series()
        named = dataclasses.replace(start, series_id=next(self._series_ids), series_unique_id=uuid.uuid4().hex)
        self._tally.opened(named)
        while not self._halt.called:
            if self._sink.send(named, POLL_S):
                self._open, self._awaited = named, named.number_of_images or 0
                self._turn.begin()
                return
            self._tally.waiting()

    def _send_frame(self, frame: Frame) -> None:
        if self._open is None or not self._turn.come():
            return
        series_id, series_unique_id = self._open.series_id, self._open.series_unique_id
        taken = self._deliver(dataclasses.replace(frame, series_id=series_id, series_unique_id=series_unique_id))
        if self._halt.aborted and not taken:
            return
        self._awaited = max(0, self._awaited - 1)
        if taken:
            self._tally.sent(frame)
        else:
            self._tally.dropped(frame)
        self._turn.over()

    def _close_series(self) -> None:
        if self._open is not None:
            end = SeriesEnd(series_id=self._open.series_id, series_unique_id=self._open.series_unique_id)
            self._open, self._awaited = None, 0
            self._tally.closed(self._deliver(end))

    def _give_up_series(self) -> None:
        """Say so to a receiver that is there; an abort waits for nobody."""
        if self._open is not None:
            series_id, series_unique_id = self._open.series_id, self._open.series_unique_id
            self._open, self._awaited = None, 0
            self._sink.send(SeriesEnd(series_id=series_id, series_unique_id=series_unique_id, aborted=True), POLL_S)

    def _deliver(self, message: Message) -> bool:
        """Offer the message until it is taken, patience ends or the abort comes."""
        until_s = time.monotonic() + self._patience_s
        while not self._halt.aborted:
            left_s = until_s - time.monotonic()
            if self._sink.send(message, min(POLL_S, max(0.0, left_s))):
                return True
            if left_s <= POLL_S:
                return False
        return False
