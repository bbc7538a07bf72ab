"""The plan of a loop that only goes somewhere, and whether the guard would let it go all the way."""

from __future__ import annotations

import math
from collections.abc import Mapping

from service.alignment import guard
from service.alignment.guard import Known, Positions, Refusal
from service.alignment.plan import AlignmentSettings, Plan
from service.errors import RefusedError, SettingsError
from service.settings import parse_section


def goto_plan(settings: AlignmentSettings, there: Positions) -> Plan:
    """Return the plan that takes some of the axes to `there` ({axis: position}) and leaves the others.

    Raises SettingsError where an axis is not in [alignment.axes].
    """
    if unknown := [axis for axis in there if axis not in settings.axes]:
        raise SettingsError(
            f"{', '.join(unknown)} must move, but has no limits: expected it in [alignment.axes], which has"
            f" {', '.join(settings.axes) or 'none'}"
        )
    tree = settings.plan().model_dump()
    axes = {axis: tree["axes"][axis] for axis in there}
    return parse_section(Plan, {**tree, "axes": axes, "method": "goto", "goto": tuple(there.values())})


def require_way(plan: Plan, positions: Positions) -> None:
    """Raise RefusedError where the guard would refuse a leg of the way from `positions` to where the plan goes.

    Asked before the first move, so that no crystal is left half way; time, light and signs of life are not looked at.
    """
    found = refusal_on_the_way(plan, positions)
    if found is not None:
        raise RefusedError(f"nothing was moved: {found}")


def refusal_on_the_way(plan: Plan, positions: Positions) -> Refusal | None:
    """Return the first refusal on the way, None where all legs are allowed."""
    limits, there = plan.limits(), dict(zip(plan.axes, plan.goto, strict=True))
    if unread := [axis for axis in there if axis not in positions]:
        raise RefusedError(f"nothing was moved: where {', '.join(unread)} stands is not known")
    at, travelled = dict(positions), dict.fromkeys(there, 0.0)
    long_ago = dict.fromkeys(there, -math.inf)
    while True:
        known = Known(now_s=0.0, armed_until_s=math.inf, positions=at, travelled=travelled, moved_s=long_ago)
        leg = guard.next_leg(limits, at, there)
        found = guard.refusal(limits, known, leg)
        if found is not None or leg == there:
            return found
        travelled = {axis: gone + abs(leg[axis] - at[axis]) for axis, gone in travelled.items()}
        at = {**at, **leg}


def moved(there: Mapping[str, float], standing: Mapping[str, float], rounding: float) -> dict[str, float]:
    """Return the axes of `there` that do not stand there yet, within `rounding`."""
    return {axis: to for axis, to in there.items() if abs(to - standing[axis]) > rounding}
