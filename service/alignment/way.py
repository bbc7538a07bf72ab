"""The way to a target: its legs, what the guard must know of it, and how far the axes have come on it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from service.alignment import guard
from service.alignment.guard import Known, Positions, Refusal
from service.alignment.plan import Plan
from service.alignment.progress import Progress

# At the best point the axes are sent again where they stand off it by this share of the tolerance, and it is not
# reached where they stand off it by so many tolerances at last.
TRIMMED, OFF = 0.7, 3.0


class Way:
    """Keeps what moves leave behind: setpoints, ways since arming, times. Decides nothing but what the guard says."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._limits = plan, plan.limits()
        self.travelled: dict[str, float] = {}
        self._moved_s: dict[str, float] = {}
        self._setpoints: dict[str, float] = {}
        self._target: dict[str, float] = {}
        self._sent: dict[str, float] = {}
        self._beat_s = math.inf
        self.trims = 0

    def arm(self, now_s: float, travelled: Positions) -> None:
        self.travelled = {**dict.fromkeys(self._plan.axes, 0.0), **travelled}
        self._moved_s = dict.fromkeys(self._plan.axes, now_s)
        self._beat_s = now_s
        self._setpoints = {}

    def forget(self) -> None:
        """Axes may stand elsewhere than they were sent: where they are read is where they are."""
        self._setpoints = {}

    def heard(self, now_s: float) -> None:
        self._beat_s = now_s

    @property
    def silent_from_s(self) -> float:
        """When the silence of whoever must give signs of life is too long; infinite where nobody must."""
        return self._beat_s + self._limits.heartbeat_s

    def silence(self, now_s: float) -> str:
        allowed_s = self._limits.heartbeat_s
        return f"heartbeat: silent for {now_s - self._beat_s:.6g} s, allowed {allowed_s:.6g} s"

    def aim(self, target: Positions) -> None:
        self._target, self._sent, self.trims = dict(target), dict(target), 0

    def leg(self, positions: Positions) -> dict[str, float]:
        return guard.next_leg(self._limits, positions, self._sent)

    def known(self, progress: Progress, now_s: float, result_s: float | None, restoring: bool) -> Known:
        """What the guard is told; on the way back it asks neither for light nor for a fresh result."""
        return Known(
            now_s=now_s,
            armed_until_s=progress.armed_until_s,
            positions=progress.positions or {},
            setpoints=self._setpoints,
            travelled=self.travelled,
            moved_s=self._moved_s,
            result_s=None if restoring else result_s,
            beam=restoring or progress.beam,
            shutter=restoring or progress.shutter,
            heartbeat_s=self._beat_s,
        )

    def earliest_s(self, known: Known, leg: Positions) -> float:
        return guard.earliest_s(self._limits, known, leg)

    def refusal(self, known: Known, leg: Positions) -> Refusal | None:
        return guard.refusal(self._limits, known, leg)

    def go(self, leg: Positions, known: Known) -> None:
        """Account for a leg that is about to be made."""
        for axis, to in leg.items():
            self.travelled[axis] = self.travelled.get(axis, 0.0) + guard.way(known, axis, to)
            self._moved_s[axis] = known.now_s
            self._setpoints[axis] = to

    @property
    def done(self) -> bool:
        """Whether the last leg led to the end."""
        return all(self._setpoints.get(axis) == to for axis, to in self._sent.items())

    def disagreement(self, positions: Positions) -> Refusal | None:
        return guard.disagreement(self._limits, self._setpoints, positions)

    def trim(self, positions: Positions) -> bool:
        """Send axes past the target by what play keeps them short of it; False where none is beyond tolerance."""
        off = {axis: to - positions[axis] for axis, to in self._target.items()}
        if all(abs(way) <= TRIMMED * self._tolerances[axis] for axis, way in off.items()):
            return False
        self._sent = {axis: to + off[axis] for axis, to in self._sent.items()}
        self.trims += 1
        return True

    def off(self, positions: Positions) -> Refusal | None:
        """What is wrong where an axis does not stand at the target."""
        for axis, to in self._target.items():
            read, most = positions[axis], OFF * self._tolerances[axis]
            if not abs(read - to) <= most:
                return Refusal(rule="best point", axis=axis, got=f"{abs(read - to):.6g} off it", allowed=f"{most:.6g}")
        return None

    @property
    def _tolerances(self) -> Mapping[str, float]:
        return {name: axis.tolerance for name, axis in self._plan.axes.items()}
