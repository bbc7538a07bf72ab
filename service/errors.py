"""Every error that Braggloop raises, sorted by what the caller should do.

    BraggloopError
    ├── DropError          drop this message, go on with the stream
    │   ├── WireError          not a stream-v2 message (truncated, foreign, of a wrong type or shape, too large)
    │   └── SequenceError      a message out of place: image before start, end without start, another series' image
    ├── SeriesError        give up this series, go on with the next one
    │   ├── GeometryError      angles, energy, distance or pixel size missing or impossible
    │   └── DataError          nothing to invert: no counts, all masked, saturated, one frame only
    ├── RetryError         try again later
    │   ├── SourceBusy         the source is not ready yet
    │   ├── DeviceError        a Tango device did not answer or refused
    │   ├── RefusedError       a command does not fit what is being done now
    │   └── SpoolFull          no room in the spool until a series is finished or the disk has space
    └── StopError          stop and tell a person
        ├── SettingsError      a setting is unknown, missing or out of range
        ├── SourceError        a file or a detector cannot be read as what it was said to be
        ├── SpoolError         the spool cannot be written or is damaged beyond its last record
        └── ResultError        a result cannot be written

A message says what was got, what was expected and what to do, in one line.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

LONGEST_LINE = 1000  # characters of an error that is passed on: it may quote what a sender wrote


def one_line(error: object) -> str:
    """Return what an error says in one line of bounded length."""
    return " ".join(str(error).split())[:LONGEST_LINE]


class BraggloopError(Exception):
    """Root of all errors raised on purpose."""


class DropError(BraggloopError):
    """Drop this message and go on with the stream."""


class WireError(DropError):
    """The bytes are not a message that we know how to read, or claim an impossible size."""


class SequenceError(DropError):
    """The message is well formed but does not belong where it arrived."""


class SeriesError(BraggloopError):
    """Give up this series and go on with the next one."""


class GeometryError(SeriesError, ValueError):
    """The geometry of the scan is missing, incomplete or impossible."""


class DataError(SeriesError, ValueError):
    """The counts hold nothing to invert."""


class RetryError(BraggloopError):
    """Try again later."""


class SourceBusy(RetryError):
    """The source is not ready yet."""


class DeviceError(RetryError):
    """A Tango device did not answer, or refused."""


class RefusedError(RetryError):
    """The command does not fit what is being done now."""


class SpoolFull(RetryError):
    """The spool has no room now: its bound is reached by unfinished series, or the disk is full."""


class StopError(BraggloopError):
    """Stop and tell a person."""


class SettingsError(StopError, ValueError):
    """A setting is unknown, missing or out of range."""


class SourceError(StopError):
    """A file or a detector cannot be read as what it was said to be."""


class SpoolError(StopError):
    """The spool cannot be written, or is damaged beyond its last record."""


class ResultError(StopError):
    """A result cannot be written where it was told to be."""


@contextmanager
def raised_as(kind: type[BraggloopError]) -> Iterator[None]:
    """Give a ValueError, all that models/ raise, the kind that says what to do; its words stay."""
    try:
        yield
    except ValueError as error:
        raise kind(str(error)) from error
