"""The seams of the service: one small Protocol each, every adapter is one of these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from service.announcement import Announcement
from service.records import Exposure, Light, Message, ResultSummary


class FrameSource(Protocol):
    """Where frames come from: a stream, a file, a detector, the twin."""

    def receive(self, timeout_s: float) -> Message | None:
        """Return the next message, None when none came within `timeout_s`; raise EndOfStream when none will come."""
        ...

    def close(self) -> None:
        """Release what the source holds; safe to call twice."""
        ...


@runtime_checkable
class Announceable(Protocol):
    """A source that makes its next series as it is announced, where others can only tell it so: the twin."""

    def announce(self, series: Announcement) -> None: ...


class EndOfStream(Exception):
    """No message will come any more (a file has been read to its end). Control flow, not an error."""


class FrameSink(Protocol):
    """Where frames go: a ZeroMQ PUSH socket, a list in memory."""

    def send(self, message: Message, timeout_s: float) -> bool:
        """Send one message; False when the receiver did not take it within `timeout_s`."""
        ...

    def close(self) -> None: ...


class ResultSink(Protocol):
    """Where summaries of results go."""

    def publish(self, summary: ResultSummary) -> None: ...

    def close(self) -> None: ...


class Actuator(Protocol):
    """What a loop moves: a motor or a latent parameter. Units are the axis' own (degrees, metres)."""

    @property
    def name(self) -> str: ...

    def read(self) -> float: ...

    def move(self, position: float) -> None:
        """Start the move and return; `moving` is True before this returns."""
        ...

    @property
    def moving(self) -> bool: ...

    def abort(self) -> None: ...


class Beamline(Protocol):
    """Where a loop aligns: axes to move, something to count with, and a clock. All times in s on that clock."""

    @property
    def axes(self) -> Mapping[str, Actuator]: ...

    def now_s(self) -> float: ...

    def rest(self, seconds: float) -> None:
        """Let time pass; may return early."""
        ...

    def light(self) -> Light:
        """Tell whether moves make sense now: beam there, shutter open."""
        ...

    def expose(self) -> Exposure:
        """Measure once, where the axes stand; raise DeviceError where nothing comes in time."""
        ...
