"""What a loop is told and what it answers: the words between it, whoever moves and measures for it, and the journal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter


class Event(BaseModel):
    """Something that happened at `now_s` (s, on the loop's clock)."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")
    now_s: FiniteFloat


class Arm(Event):
    """A person, by name, allows moves for some seconds; axes have `travelled` before, in a loop of the same arming."""

    kind: Literal["arm"] = "arm"
    by: str
    seconds: float
    travelled: Mapping[str, float] = Field(default_factory=dict)


class Start(Event):
    kind: Literal["start"] = "start"


class Pause(Event):
    kind: Literal["pause"] = "pause"


class Resume(Event):
    kind: Literal["resume"] = "resume"


class Stop(Event):
    """Stop all axes, then go where the plan says a stopped loop goes."""

    kind: Literal["stop"] = "stop"


class Abort(Event):
    """Stop all axes and leave them there."""

    kind: Literal["abort"] = "abort"


class Restore(Event):
    """Bring an ended loop's axes back, while it is armed."""

    kind: Literal["restore"] = "restore"
    to: Literal["start", "best"]


class Approve(Event):
    """A person allows the move that waits for it."""

    kind: Literal["approve"] = "approve"


class Reject(Event):
    """A person forbids the move that waits."""

    kind: Literal["reject"] = "reject"


class Beat(Event):
    """A sign of life of whoever must give one."""

    kind: Literal["beat"] = "beat"


class Tick(Event):
    """Time passed: the loop's deadline, or the end of a Wait."""

    kind: Literal["tick"] = "tick"


class Standing(Event):
    """All axes stand, at `positions`, read back; whether there is `beam`, and the `shutter` open."""

    kind: Literal["standing"] = "standing"
    positions: Mapping[str, float]
    beam: bool = True
    shutter: bool = True


class Exposed(Event):
    """A value was measured, taken at `taken_s` with the axes at `positions`; `beam` and `shutter` as they were then;
    `left_out` of its readings were wild.
    """

    kind: Literal["exposed"] = "exposed"
    value: float
    taken_s: float
    positions: Mapping[str, float]
    beam: bool = True
    shutter: bool = True
    left_out: int = 0


class AxesFailed(Event):
    """An axis did not obey, or does not answer."""

    kind: Literal["axes failed"] = "axes failed"
    what: str


class ResultLost(Event):
    """No value came in time."""

    kind: Literal["result lost"] = "result lost"
    what: str


AnyEvent = Annotated[
    Arm | Start | Pause | Resume | Stop | Abort | Restore | Approve | Reject | Beat | Tick | Standing | Exposed
    | AxesFailed | ResultLost,
    Field(discriminator="kind"),
]  # fmt: skip


class Action(BaseModel):
    """What the loop wants done; the one who does it answers with an event."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Look(Action):
    """Read all axes: Standing."""

    kind: Literal["look"] = "look"


class Move(Action):
    """Move axes and wait until they stand: Standing, or AxesFailed."""

    kind: Literal["move"] = "move"
    targets: Mapping[str, float]


class Expose(Action):
    """Measure: Exposed, or ResultLost; in a dry run `instead_of` a move that would have been made."""

    kind: Literal["expose"] = "expose"
    instead_of: Mapping[str, float] | None = None


class Wait(Action):
    """Wait: Tick."""

    kind: Literal["wait"] = "wait"
    seconds: float


class Halt(Action):
    """Stop all axes at once, those too that the loop did not move: Standing, or AxesFailed."""

    kind: Literal["halt"] = "halt"
    why: str


AnyAction = Annotated[Look | Move | Expose | Wait | Halt, Field(discriminator="kind")]
EVENT: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)
ACTION: TypeAdapter[AnyAction] = TypeAdapter(AnyAction)
