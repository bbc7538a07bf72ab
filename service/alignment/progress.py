"""Where a loop stands, as others see it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from service.alignment.guard import Positions


class Phase(StrEnum):
    IDLE = "idle"
    ARMED = "armed"
    LOOKING = "looking"
    MOVING = "moving"
    EXPOSING = "exposing"
    WAITING = "waiting"
    APPROVING = "approving"
    PAUSED = "paused"
    HALTING = "halting"
    ENDED = "ended"


class Outcome(StrEnum):
    """How a loop ended; "" while it has not."""

    NONE = ""
    ALIGNED = "aligned"
    REHEARSED = "rehearsed"  # a dry run came to its end
    EXHAUSTED = "exhausted"  # all exposures were used, no proposal was allowed, or nothing was found
    STOPPED = "stopped"
    ABORTED = "aborted"
    LOST = "lost"  # beam, shutter, results or the value itself were lost
    FAILED = "failed"  # an axis or the method failed, the arming ended or a sign of life did not come


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`start`, `best`, `positions` and `target` in the axes' units, `best_value` as measured at `best`; `beam` and
    `shutter` as seen last; `restored`: "start" or "best" once the axes are back there.
    """

    phase: Phase = Phase.IDLE
    outcome: Outcome = Outcome.NONE
    reason: str = ""
    armed_by: str = ""
    armed_until_s: float | None = None
    start: Positions | None = None
    best: Positions | None = None
    best_value: float = -math.inf
    value: float = math.nan
    positions: Positions | None = None
    target: Positions | None = None
    beam: bool = True
    shutter: bool = True
    exposures: int = 0
    moves: int = 0
    refused: int = 0
    restored: str = ""

    @property
    def running(self) -> bool:
        return self.phase not in (Phase.IDLE, Phase.ARMED, Phase.ENDED)
