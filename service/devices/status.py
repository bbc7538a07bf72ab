"""What a controller shows of itself: a state, a line for people, and readings that carry their own description."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

NO_LIMITS = (None, None)


class State(StrEnum):
    """What a controller is doing, in the words of the Tango guidelines."""

    INIT = "INIT"  # preparing
    STANDBY = "STANDBY"  # not prepared
    ON = "ON"  # ready
    RUNNING = "RUNNING"
    MOVING = "MOVING"
    ALARM = "ALARM"  # works, but somebody should look
    FAULT = "FAULT"  # does not work until Reset
    UNKNOWN = "UNKNOWN"  # nothing was heard yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How one field of a status is shown: declared once, used by Tango, by the reference page and by Bliss.

    `limits` are what the value can be (and what a write accepts), `alarm` where it begins to be abnormal, both
    (low, high) in `unit`, None where open.
    A `writable` field is handed to the controller's `write(field, value)`.
    """

    label: str
    description: str
    unit: str = ""
    format: str = "%s"
    limits: tuple[float | None, float | None] = NO_LIMITS
    alarm: tuple[float | None, float | None] = NO_LIMITS
    writable: bool = False


def described(**how: Any) -> dict[str, Reading]:
    """Metadata of a dataclass field; arguments are the fields of Reading."""
    return {"reading": Reading(**how)}


def reading(default: Any, **how: Any) -> Any:
    """Field of a status dataclass with its `Reading`; arguments are the fields of Reading."""
    return dataclasses.field(default=default, metadata=described(**how))


def count(label: str, description: str) -> Any:
    """Field of a status dataclass that counts, from 0."""
    return reading(0, label=label, description=description, format="%d", limits=(0, None))


def no_image() -> NDArray[np.float32]:
    """What an image shows before there is one."""
    return np.full((1, 1), np.nan, dtype=np.float32)


def readings(status: type[Any]) -> Mapping[str, Reading]:
    """Field -> Reading of a status dataclass, in the order of declaration."""
    return {item.name: item.metadata["reading"] for item in dataclasses.fields(status) if "reading" in item.metadata}


@dataclass(frozen=True, kw_only=True)
class Status:
    """Root of all statuses."""

    state: State = State.UNKNOWN
    message: str = ""


StatusT = TypeVar("StatusT", bound=Status)


class Board(Generic[StatusT]):
    """Holds the one current status of a controller; safe from every thread."""

    def __init__(self, status: StatusT) -> None:
        self._status = status
        self._changed = threading.Condition()

    @property
    def status(self) -> StatusT:
        return self._status

    def update(self, **changes: Any) -> None:
        """Replace some fields and wake whoever waits."""
        with self._changed:
            self._status = dataclasses.replace(self._status, **changes)
            self._changed.notify_all()

    def wait(self, seen: StatusT | None, timeout_s: float) -> StatusT:
        """Return the status as soon as it is another than `seen`, or as it is after `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self._status is not seen, timeout_s)
            return self._status
