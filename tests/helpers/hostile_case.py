"""How a hostile case is put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.records import Frame, Message
from service.wire import messages as wire
from tests.helpers.public_format import read_public, write_public
from tests.helpers.series import bragg_peak, frame_of, series_of, start_of

HOSTILE = "hostile"
HOSTILE_ID = 666


@dataclass(frozen=True, slots=True)
class Case:
    """Payloads that arrive one after the other; `name` says what is wrong with them."""

    name: str
    payloads: tuple[bytes, ...]


def counts() -> NDArray[np.uint32]:
    return bragg_peak((5, 12, 14))


def messages_of(**start: Any) -> list[Message]:
    """A small series under the hostile name; `start` are changes of its start."""
    messages = series_of(counts(), HOSTILE, HOSTILE_ID)
    return [start_of(counts(), HOSTILE, HOSTILE_ID, **start), *messages[1:]]


def frame(index: int, **changes: Any) -> Frame:
    return frame_of(counts(), index, HOSTILE, HOSTILE_ID, **changes)


def case(name: str, messages: list[Message] | list[bytes]) -> Case:
    return Case(name, tuple(item if isinstance(item, bytes) else wire.encode(item) for item in messages))


def edited(message: Message, edit: Callable[[dict[str, Any]], Any]) -> bytes:
    """A message whose public fields were changed by `edit`."""
    fields = read_public(wire.encode(message))
    edit(fields)
    return write_public(fields)
