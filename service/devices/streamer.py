"""Streams frames from a source into a sink, at a rate or by trigger: the controller of FrameStreamer and `stream`."""

from __future__ import annotations

import concurrent.futures
import itertools
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.spot import counting_pixels
from service.adapters.announced import Announced
from service.announcement import Announcement, parse_announcement
from service.devices.halt import Halt
from service.devices.relay import Relay
from service.devices.status import Board, State, Status, count, described, no_image, reading
from service.devices.turns import ByRate, ByTrigger
from service.errors import RefusedError, SourceBusy, StopError
from service.ports import FrameSink, FrameSource
from service.records import Frame, SeriesStart
from service.settings import StreamerSettings, parse_section

RELEASE_S = 2.0  # how long Reset waits for the source: a Tango command returns within 3 s
# How long Trigger waits for its frame, and a triggered frame for its receiver, so that Trigger knows what came of it.
TRIGGER_S, TRIGGERED_PATIENCE_S = 2.5, 1.5
BUSY = (State.INIT, State.RUNNING)
WAYS_OUT = {State.INIT: "wait, or Reset", State.RUNNING: "Stop or Abort first", State.FAULT: "Reset first"}
LIVE = {"rate_hz", "loop"}  # what may change while frames flow
ZERO: Mapping[str, Any] = {
    "sent": 0,
    "dropped": 0,
    "progress_percent": 0.0,
    "measured_rate_hz": 0.0,
    "frame_counts": 0.0,
    "image": no_image(),
}
SHOWN = ("source", "path", "scan", "endpoint", "compression", "trigger_mode", "rate_hz", "loop")

OpenSource = Callable[[StreamerSettings], FrameSource]
OpenSink = Callable[[StreamerSettings], FrameSink]


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamerStatus(Status):
    """What a streamer shows; the counters begin at zero with every Start."""

    source: str = reading(
        "", label="Source", description="Where frames come from: twin, replay or lima.", writable=True
    )
    path: str = reading(
        "", label="Path", description="File or folder of a replay; Tango device of LImA.", writable=True
    )
    scan: str = reading("", label="Scan", description="Scan N.M of an ESRF master; empty for the first.", writable=True)
    endpoint: str = reading(
        "", label="Endpoint", description="ZeroMQ PUSH address that frames leave from, bound.", writable=True
    )
    compression: str = reading(
        "", label="Compression", description="Compression of the frames: none, lz4 or bslz4.", writable=True
    )
    trigger_mode: str = reading(
        "internal", label="Trigger mode", description="internal: frames leave at the rate; software: one a Trigger.",
        writable=True,
    )  # fmt: skip
    rate_hz: float = reading(
        0.0, label="Rate", description="Frames a second that are asked for.", unit="Hz", format="%.3f",
        limits=(0.001, 1e6), writable=True,
    )  # fmt: skip
    measured_rate_hz: float = reading(
        0.0, label="Measured rate", description="Frames a second since the series began.", unit="Hz", format="%.3f"
    )
    loop: bool = reading(
        False, label="Loop", description="Begin again, as a new series, at the end of the source.", writable=True
    )
    series_id: int = count("Series", "Number of the running or last series; grows with each one.")
    series_unique_id: str = reading("", label="Series name", description="Unique name of the series, new each time.")
    frames: int = count("Frames announced", "Frames of the series; 0 where the source does not know.")
    sent: int = count("Sent", "Frames that the receiver took since Start.")
    dropped: int = reading(
        0,
        label="Dropped",
        description="Frames that nobody took in time since Start.",
        format="%d",
        limits=(0, None),
        alarm=(None, 1),
    )
    progress_percent: float = reading(
        0.0,
        label="Progress",
        description="Part of the series that has left.",
        unit="%",
        format="%.1f",
        limits=(0, 100),
    )
    frame_counts: float = reading(
        0.0, label="Frame counts", description="All counts of the last frame, of pixels that count.",
        unit="counts", format="%.9g", limits=(0, None),
    )  # fmt: skip
    image: NDArray[np.float32] = field(
        default_factory=no_image,
        metadata=described(
            label="Image",
            description="Brightest frame of the running or last series, counts; NaN where nothing is counted.",
            format="%.1f",
        ),
    )


class Streamer:
    """Prepare, announce, start, stop, abort and reset a stream; these return at once, `status` tells the rest.

    One thread owns source and sink. Each series leaves under a name of its own, so a receiver never takes a replay
    for a repetition. Stop ends the series after the current frame; Abort sends no further frame and gives it up. With
    software trigger each `trigger` sends one frame, and returns when it has left.
    """

    def __init__(self, settings: StreamerSettings, open_source: OpenSource, open_sink: OpenSink) -> None:
        self._settings = settings
        self._open_source, self._open_sink = open_source, open_sink
        self._source: FrameSource | None = None
        self._sink: FrameSink | None = None
        self._looping = False
        self._series_ids = itertools.count(1)
        self._halt = Halt()
        self._triggers = ByTrigger(self._halt)
        self._announcement: Announcement | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="streamer")
        self._closed = False
        self._board = Board(StreamerStatus(state=State.STANDBY, message="not prepared", **_shown(settings)))

    @property
    def status(self) -> StreamerStatus:
        return self._board.status

    def wait(self, seen: StreamerStatus | None, timeout_s: float) -> StreamerStatus:
        """Return the status as soon as it is another than `seen`, or as it is after `timeout_s`."""
        return self._board.wait(seen, timeout_s)

    def prepare(self) -> None:
        """Open source and sink; ON when done."""
        self._refuse_in(*BUSY, State.FAULT)
        self._board.update(state=State.INIT, message=f"opening {self._settings.source}")
        self._submit(self._prepare)

    def start(self) -> None:
        """Stream, after preparing where that was not done."""
        self._refuse_in(*BUSY, State.FAULT)
        self._halt = Halt()
        self._triggers = ByTrigger(self._halt)
        announced, self._announcement = self._announcement, None
        self._board.update(state=State.RUNNING, message="starting", **ZERO)
        self._submit(partial(self._stream, announced))

    def announce(self, text: str) -> None:
        """Take what is known of the next series alone, the JSON object of an Announcement; {} takes it back.

        Raises SettingsError where it is none, SourceBusy while frames flow.
        """
        self._refuse_in(State.RUNNING)
        self._announcement = parse_announcement(text)

    def trigger(self) -> None:
        """Send one frame now; return when it has left or was dropped, and is counted so.

        Raises RefusedError where no series runs by software trigger, or no frame comes.
        """
        state, message = self.status.state, self.status.message
        if self._settings.trigger_mode != "software":
            raise RefusedError(
                f"Trigger: triggerMode is {self._settings.trigger_mode}; set it to software before Start"
            )
        if state is not State.RUNNING:
            raise RefusedError(f"Trigger: the streamer is {state}: {message}; Start first")
        try:
            self._triggers.pull(TRIGGER_S)
        except RefusedError as error:
            raise RefusedError(f"{error}; {self.status.message}") from error

    def stop(self) -> None:
        """Send the current frame, then the end of the series."""
        self._halt.stop()

    def abort(self) -> None:
        """Send no further frame, and that the series is given up; the next one has a new name."""
        self._halt.abort()

    def reset(self) -> None:
        """Acknowledge a fault and the dropped frames: let go of source, sink and announcement, back to STANDBY."""
        self.abort()
        self._announcement = None
        self._let_go("resetting", **ZERO)

    def write(self, field: str, value: Any) -> None:
        """Take a new value of a writable field of the status."""
        self.configure(**{field: value})

    def configure(self, **changes: Any) -> None:
        """Change settings; raise SourceBusy while frames flow (rate and loop may change), SettingsError if wrong."""
        lasting = not set(changes) <= LIVE
        if lasting:
            self._refuse_in(*BUSY)
        self._settings = parse_section(StreamerSettings, {**self._settings.model_dump(), **changes})
        self._board.update(**_shown(self._settings))
        if lasting and self.status.state is State.ON:
            self._let_go("settings changed")

    def close(self) -> None:
        """Abort, let go of source and sink and end the thread; safe to call twice."""
        self.abort()
        if not self._closed:
            self._closed = True
            self._submit(self._release)
            self._thread.shutdown()

    def _refuse_in(self, *states: State) -> None:
        state, message = self.status.state, self.status.message
        if state in states:
            raise SourceBusy(f"the streamer is {state}: {message}; {WAYS_OUT[state]}")

    def _let_go(self, why: str, **changes: Any) -> None:
        """Release, and wait a little for it, so that a Start just after is not refused."""
        self._board.update(state=State.INIT, message=why)
        released = self._thread.submit(self._release, **changes)
        released.add_done_callback(self._settle)
        concurrent.futures.wait([released], RELEASE_S)

    def _submit(self, work: Callable[[], None]) -> None:
        self._thread.submit(work).add_done_callback(self._settle)

    def _settle(self, done: Future[None]) -> None:
        if error := done.exception():
            self._board.update(state=State.FAULT, message=f"{error}; Reset acknowledges")

    def _prepare(self) -> None:
        self._open()
        self._board.update(state=State.ON, message=f"ready: {self._settings.source} to {self._settings.endpoint}")

    def _open(self) -> tuple[FrameSource, FrameSink]:
        if self._source is None:
            self._source, self._looping = self._open_source(self._settings), self._settings.loop
        if self._sink is None:
            self._sink = self._open_sink(self._settings)
        return self._source, self._sink

    def _stream(self, announced: Announcement | None) -> None:
        halt, triggers = self._halt, self._triggers
        try:
            self._pass_source_on(halt, triggers, announced)
            while self._settings.loop and not halt.called:
                self._pass_source_on(halt, triggers)
            self._board.update(state=State.STANDBY, message=_farewell(self.status, halt))
        finally:
            triggers.end()

    def _pass_source_on(self, halt: Halt, triggers: ByTrigger, announced: Announcement | None = None) -> None:
        source, sink = self._open()
        by_trigger, patience_s = self._settings.trigger_mode == "software", self._settings.patience_s
        relay = Relay(
            sink,
            _BoardTally(self._board),
            halt,
            turn=triggers if by_trigger else ByRate(halt, lambda: self._settings.rate_hz),
            patience_s=min(patience_s, TRIGGERED_PATIENCE_S) if by_trigger else patience_s,
            enough=self._loop_was_ended,
            series_ids=self._series_ids,
        )
        relay.run(Announced(source, announced) if announced else source)
        self._close_source()

    def _loop_was_ended(self) -> bool:
        """Sources that were opened to loop may have no end, so the end of looping is looked at after each series."""
        return self._looping and not self._settings.loop

    def _close_source(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    def _release(self, **changes: Any) -> None:
        self._close_source()
        if self._sink is not None:
            self._sink.close()
            self._sink = None
        self._board.update(state=State.STANDBY, message="not prepared", **changes)


class _BoardTally:
    """Counts a relay's frames on the board."""

    def __init__(self, board: Board[StreamerStatus]) -> None:
        self._board = board
        self._first_s, self._sent, self._frames = 0.0, 0, 0
        self._mask: NDArray[np.bool_] | None = None
        self._brightest = -1.0

    def opened(self, start: SeriesStart) -> None:
        self._sent, self._frames = 0, start.number_of_images or 0
        self._mask, self._brightest = start.pixel_mask, -1.0
        self._board.update(
            series_id=start.series_id, series_unique_id=start.series_unique_id, frames=self._frames,
            progress_percent=0.0, message=f"streaming series {start.series_id}", image=no_image(),
        )  # fmt: skip

    def waiting(self) -> None:
        status = self._board.status
        self._board.update(
            message=f"series {status.series_id} waits for a receiver at {status.endpoint}; is the worker up?"
        )

    def sent(self, frame: Frame) -> None:
        now_s, status = time.monotonic(), self._board.status
        self._first_s = now_s if self._sent == 0 else self._first_s
        self._sent += 1
        elapsed_s = now_s - self._first_s
        self._board.update(
            sent=status.sent + 1,
            message=f"streaming series {status.series_id}",
            measured_rate_hz=(self._sent - 1) / elapsed_s if elapsed_s else 0.0,
            progress_percent=100.0 * self._sent / self._frames if self._frames else 0.0,
            **self._seen(frame),
        )

    def dropped(self, frame: Frame) -> None:
        status = self._board.status
        self._board.update(
            dropped=status.dropped + 1,
            message=f"series {status.series_id}: frames dropped, as nobody takes them: {status.dropped + 1}",
            **self._seen(frame),
        )

    def _seen(self, frame: Frame) -> dict[str, Any]:
        """The counts of a frame, and its image where it is brighter than those before."""
        counts = next(iter(frame.data.values()))  # [row, column]
        good = counting_pixels(counts)
        if self._mask is not None and self._mask.shape == good.shape:
            good &= self._mask
        total = float(np.sum(counts, where=good, dtype=np.float64))
        if total <= self._brightest:
            return {"frame_counts": total}
        self._brightest = total
        return {"frame_counts": total, "image": np.where(good, counts, np.nan).astype(np.float32)}

    def closed(self, taken: bool) -> None:
        if not taken:
            raise StopError(f"nobody took the end of series {self._board.status.series_id} in time; is the worker up?")


def _shown(settings: StreamerSettings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in SHOWN}


def _farewell(status: StreamerStatus, halt: Halt) -> str:
    how = "aborted" if halt.aborted else "stopped" if halt.called else "finished"
    return f"{how}: series {status.series_id}, frames sent: {status.sent}, dropped: {status.dropped}"
