"""What an alignment shows in Tango."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.alignment.progress import Outcome, Phase, Progress
from service.devices.status import State, Status, count, described, no_image, reading

NAN = float("nan")
STATES = {Phase.IDLE: State.STANDBY, Phase.ARMED: State.ON, Phase.MOVING: State.MOVING, Phase.APPROVING: State.ON}
ENDS = {Outcome.ALIGNED: State.STANDBY, Outcome.FAILED: State.FAULT}


@dataclass(frozen=True, kw_only=True, eq=False)
class AlignmentStatus(Status):
    """What an alignment shows; positions in the axes' own units, in the order of `axes`."""

    phase: str = reading("idle", label="Phase", description="What the loop is doing.")
    outcome: str = reading("", label="Outcome", description="How the last loop ended; empty while one runs.")
    reason: str = reading("", label="Reason", description="Why it ended, with the rule and both numbers.")
    armed_by: str = reading("", label="Armed by", description="Who allowed moves; empty where nobody does.")
    method: str = reading("", label="Method", description="How the best point is looked for.")
    axes: tuple[str, ...] = reading((), label="Axes", description="Axes that the loop may move.")
    positions: tuple[float, ...] = reading((), label="Positions", description="Where the axes stand.", format="%.9g")
    target: tuple[float, ...] = reading((), label="Target", description="Where they go.", format="%.9g")
    best: tuple[float, ...] = reading((), label="Best point", description="Where most was measured.", format="%.9g")
    start_point: tuple[float, ...] = reading(
        (), label="Start", description="Where the axes stood at Start.", format="%.9g"
    )
    value: float = reading(NAN, label="Value", description="What was measured last.", format="%.6g")
    best_value: float = reading(NAN, label="Best value", description="The most that was measured.", format="%.6g")
    history: tuple[float, ...] = reading((), label="History", description="The last values.", format="%.6g")
    points: NDArray[np.float32] = field(
        default_factory=no_image,
        metadata=described(
            label="Points",
            description="Where the last values were measured: a row for each, positions in the order of axes, then the"
            " value.",
            format="%.9g",
        ),
    )
    exposures: int = count("Exposures", "Measurements since Start.")
    moves: int = count("Moves", "Moves since Start.")
    refused: int = count("Refused", "Moves that the guard refused since Start.")
    restored: str = reading("", label="Restored", description="Where the axes were brought back to: start or best.")
    journal: str = reading("", label="Journal", description="File of all proposals, decisions and moves.")
    reflections: tuple[str, ...] = reading(
        (), label="Reflections", description="Reflections that are kept: number, h k l, tag; or why there are none."
    )
    ub: tuple[float, ...] = reading(
        (), label="UB", description="UB row by row, with 2 pi, You's frame; empty before a fit.", unit="1/angstrom",
        format="%.9g",
    )  # fmt: skip
    residual_deg: float = reading(
        NAN, label="Residual", description="Largest angle between a reflection and where UB puts it.", unit="deg",
        format="%.4f", limits=(0, None),
    )  # fmt: skip
    procedure: str = reading("", label="Procedure", description="The procedure that runs, or the last one; or empty.")
    result: str = reading("", label="Result", description="What the last procedure found, as JSON; empty until then.")


def shown(progress: Progress, axes: Sequence[str]) -> dict[str, Any]:
    """Return the fields that follow from where a loop over `axes` stands."""

    def at(point: Mapping[str, float] | None) -> tuple[float, ...]:
        return tuple(point.get(name, NAN) for name in axes) if point else ()

    return {
        "state": _state(progress),
        "message": _said(progress),
        "phase": str(progress.phase),
        "outcome": str(progress.outcome),
        "reason": progress.reason,
        "armed_by": progress.armed_by if progress.armed_until_s is not None else "",
        "positions": at(progress.positions),
        "target": at(progress.target),
        "best": at(progress.best),
        "start_point": at(progress.start),
        "value": progress.value,
        "best_value": progress.best_value if progress.best else NAN,
        "exposures": progress.exposures,
        "moves": progress.moves,
        "refused": progress.refused,
        "restored": progress.restored,
    }


def point(progress: Progress, axes: Sequence[str]) -> tuple[float, ...]:
    """Return where the last value was measured and the value itself; NaN for an axis that nobody knows of."""
    positions = progress.positions or {}
    return (*(positions.get(name, NAN) for name in axes), progress.value)


def measured(points: Sequence[tuple[float, ...]]) -> dict[str, Any]:
    """Return the fields that follow from the points that were measured."""
    return {
        "history": tuple(row[-1] for row in points),
        "points": np.array(points, np.float32) if points else no_image(),
    }


def _state(progress: Progress) -> State:
    if progress.phase is Phase.ENDED:
        return ENDS.get(progress.outcome, State.ALARM if progress.outcome is Outcome.LOST else State.STANDBY)
    return STATES.get(progress.phase, State.RUNNING)


def _said(progress: Progress) -> str:
    if progress.phase is Phase.ENDED:
        return f"{progress.outcome}: {progress.reason}" + (
            "; Reset acknowledges" if _state(progress) is State.FAULT else ""
        )
    by = f", armed by {progress.armed_by}" if progress.armed_by else ""
    return f"{progress.phase}{by}: exposures: {progress.exposures}, moves: {progress.moves}"
