"""What stands in front of every move: rules, each with a name, which refuse it and say why, with both numbers.

Pure: what is known comes in, an answer goes out; the loop acts on it. A move is judged from where the axes are said to
stand to where they shall go, and everything between, as each axis goes its way at its own speed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from service.alignment.zones import Zone

Positions = Mapping[str, float]
# Positions are sums and differences of floats: nobody is refused for the last digits.
ROUNDING = 1e-9
# Of a difference the last digits are those of what was subtracted, this share of ROUNDING of it.
DIGITS = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisLimits:
    """What one axis may do, in its own unit: positions from `low` to `high`, `largest_step` at once, `largest_rate` a
    second on average between one move and the next, `largest_travel` there and back since arming; how far the
    read-back may be off the setpoint, `disagreement`.
    """

    low: float
    high: float
    largest_step: float
    largest_rate: float = math.inf
    largest_travel: float = math.inf
    disagreement: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a loop may do: `axes` by name, no other one is moved; `zones` not to be entered; `stale_s`, the oldest
    result a move may rest on; `heartbeat_s`, the longest silence of whoever must give signs of life.
    """

    axes: Mapping[str, AxisLimits]
    zones: tuple[Zone, ...] = ()
    stale_s: float = math.inf
    heartbeat_s: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known when a move is judged; times in seconds on the loop's clock.

    `armed_until_s`, None where not armed; `positions`, read back, and `setpoints`, the last ones; `travelled` since
    arming and `moved_s`, the last move of each axis (that of arming before the first); `result_s`, when the counts
    behind the move were taken, None where it rests on none; `beam` and `shutter`, as seen last; `heartbeat_s`, the last
    sign of life.
    """

    now_s: float
    armed_until_s: float | None
    positions: Positions
    setpoints: Positions = field(default_factory=dict)
    travelled: Positions = field(default_factory=dict)
    moved_s: Positions = field(default_factory=dict)
    result_s: float | None = None
    beam: bool = True
    shutter: bool = True
    heartbeat_s: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a move is not made: the rule, what it would be, what is allowed, and of which axis."""

    rule: str
    got: str
    allowed: str
    axis: str = ""

    def __str__(self) -> str:
        return f"{self.rule}{f' of {self.axis}' if self.axis else ''}: {self.got}, allowed {self.allowed}"


def refusal(limits: Limits, known: Known, targets: Positions) -> Refusal | None:
    """Return the first rule that forbids to move axes to `targets`, None where all allow it."""
    return next((found for rule in RULES for found in rule(limits, known, targets)), None)


def earliest_s(limits: Limits, known: Known, targets: Positions) -> float:
    """Return when the largest rates first allow a move to `targets`."""
    waits = (
        known.moved_s.get(axis, known.now_s) + way(known, axis, to) / limits.axes[axis].largest_rate
        for axis, to in targets.items()
        if axis in limits.axes and axis in known.positions
    )
    return max(waits, default=known.now_s)


def disagreement(limits: Limits, setpoints: Positions, positions: Positions) -> Refusal | None:
    """Return what is wrong where an axis that stands is not where it was sent, None where all are."""
    for axis, wanted in setpoints.items():
        if axis not in limits.axes:
            continue
        read, most = positions.get(axis, math.nan), limits.axes[axis].disagreement
        if not abs(read - wanted) <= most:
            got = f"{abs(read - wanted):.6g} between setpoint {wanted:.6g} and read-back {read:.6g}"
            return Refusal(rule="disagreement", axis=axis, got=got, allowed=f"{most:.6g}")
    return None


def next_leg(limits: Limits, positions: Positions, targets: Positions) -> dict[str, float]:
    """Return the next point of the straight way to `targets` that is within the largest steps: them, where they are."""
    ways = {axis: to - positions[axis] for axis, to in targets.items()}
    legs = max((abs(way) / limits.axes[axis].largest_step for axis, way in ways.items()), default=0.0)
    if legs <= 1.0:
        return dict(targets)
    return {axis: positions[axis] + way / legs for axis, way in ways.items()}


Found = Iterator[Refusal]


def _armed(limits: Limits, known: Known, targets: Positions) -> Found:
    if known.armed_until_s is None:
        yield Refusal(rule="arming", got="not armed", allowed="moves after Arm alone")
    elif not known.now_s < known.armed_until_s:
        past = known.now_s - known.armed_until_s
        yield Refusal(rule="arming", got=f"{past:.6g} s after the arming ended", allowed="0 s")


def _possible(limits: Limits, known: Known, targets: Positions) -> Found:
    for axis, to in targets.items():
        if axis not in limits.axes:
            yield Refusal(rule="axes", axis=axis, got="an axis that was not configured", allowed=", ".join(limits.axes))
        elif not math.isfinite(to):
            yield Refusal(rule="target", axis=axis, got=f"{to}", allowed="a finite number")
        elif not math.isfinite(known.positions.get(axis, math.nan)):
            yield Refusal(rule="read-back", axis=axis, got=f"{known.positions.get(axis)}", allowed="a finite number")


def _inside(limits: Limits, known: Known, targets: Positions) -> Found:
    for axis, to in targets.items():
        low, high = limits.axes[axis].low, limits.axes[axis].high
        if not low <= to <= high:
            yield Refusal(rule="soft limit", axis=axis, got=f"{to:.9g}", allowed=f"{low:.9g} to {high:.9g}")


def _steps(limits: Limits, known: Known, targets: Positions) -> Found:
    for axis, to in targets.items():
        # From where it is read: from its setpoint it may be farther, by the disagreement that is allowed.
        way, most = abs(to - known.positions[axis]), limits.axes[axis].largest_step
        if not way <= most * (1.0 + ROUNDING) + ROUNDING * DIGITS * abs(known.positions[axis]):
            yield Refusal(rule="largest step", axis=axis, got=f"{way:.6g}", allowed=f"{most:.6g}")


def _rates(limits: Limits, known: Known, targets: Positions) -> Found:
    for axis, to in targets.items():
        gone, most = way(known, axis, to), limits.axes[axis].largest_rate
        since_s = known.now_s - known.moved_s.get(axis, known.now_s)
        if math.isfinite(most) and not gone <= most * (
            since_s * (1.0 + ROUNDING) + ROUNDING * DIGITS * abs(known.now_s)
        ):
            got = f"{gone:.6g} in {since_s:.6g} s"
            yield Refusal(rule="largest rate", axis=axis, got=got, allowed=f"{most:.6g} a second")


def _travel(limits: Limits, known: Known, targets: Positions) -> Found:
    for axis, to in targets.items():
        gone, most = known.travelled.get(axis, 0.0) + way(known, axis, to), limits.axes[axis].largest_travel
        if not gone <= most:
            yield Refusal(rule="largest travel", axis=axis, got=f"{gone:.6g} since arming", allowed=f"{most:.6g}")


def _zones(limits: Limits, known: Known, targets: Positions) -> Found:
    # Where a read-back lies, the axis is where it was sent.
    told = (known.positions, known.setpoints, targets)
    points = {axis: [each[axis] for each in told if axis in each] for axis in {*known.positions, *targets}}
    spans = {axis: (min(at), max(at)) for axis, at in points.items() if all(map(math.isfinite, at))}
    for zone in limits.zones:
        if zone.touched(spans):
            ways = (
                f"{axis} {spans[axis][0]:.6g} to {spans[axis][1]:.6g}" if axis in spans else f"{axis} unknown"
                for axis in zone.axes
            )
            yield Refusal(rule="forbidden zone", got=", ".join(ways), allowed=f"nothing in {zone.text}")


def _fresh(limits: Limits, known: Known, targets: Positions) -> Found:
    age_s = 0.0 if known.result_s is None else known.now_s - known.result_s
    if not age_s <= limits.stale_s:
        yield Refusal(rule="staleness", got=f"a result {age_s:.6g} s old", allowed=f"{limits.stale_s:.6g} s")


def _lit(limits: Limits, known: Known, targets: Positions) -> Found:
    if not known.beam:
        yield Refusal(rule="beam", got="no beam", allowed="moves with beam alone")
    if not known.shutter:
        yield Refusal(rule="shutter", got="closed", allowed="moves with the shutter open alone")


def _alive(limits: Limits, known: Known, targets: Positions) -> Found:
    silent_s = known.now_s - known.heartbeat_s
    if not silent_s <= limits.heartbeat_s:
        yield Refusal(rule="heartbeat", got=f"silent for {silent_s:.6g} s", allowed=f"{limits.heartbeat_s:.6g} s")


def way(known: Known, axis: str, to: float) -> float:
    """Return how far an axis goes: from where it is read or where it was sent, whichever is farther off."""
    return max(abs(to - each[axis]) for each in (known.positions, known.setpoints) if axis in each)


# What is asked first must make sense for what is asked next.
RULES: tuple[Callable[[Limits, Known, Positions], Found], ...] = (
    _armed, _possible, _alive, _lit, _fresh, _inside, _zones, _steps, _rates, _travel,
)  # fmt: skip
