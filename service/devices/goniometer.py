"""Virtual axes of the twin: they take time to move, stop when told and keep to their limits."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from service.devices.status import State, Status, reading
from service.errors import SettingsError
from service.settings import AxisSettings

STEP_S = 0.05  # between two positions shown while an axis moves: smooth to the eye, cheap to push


@dataclass(frozen=True, kw_only=True)
class AxisStatus(Status):
    """What one axis shows; positions in the axis' own unit (degrees, or metres for translations)."""

    position: float = reading(
        0.0, label="Position", description="Where the axis is; writing it starts a move.", format="%.9g",
        writable=True,
    )  # fmt: skip
    target: float = reading(0.0, label="Target", description="Where the last move goes or went.", format="%.9g")
    velocity: float = reading(
        1.0, label="Velocity", description="Speed of a move, in the axis' unit a second.", format="%.9g",
        limits=(1e-6, 1e6), writable=True,
    )  # fmt: skip
    low_limit: float = reading(
        0.0, label="Low limit", description="Smallest position that a move accepts.", format="%.9g"
    )
    high_limit: float = reading(
        0.0, label="High limit", description="Largest position that a move accepts.", format="%.9g"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """Straight motion at constant speed: where it began, where it goes, when it began (s on the axis' clock)."""

    start: float
    target: float
    velocity: float
    began_s: float

    def position(self, now_s: float) -> float:
        way = self.target - self.start
        gone = self.velocity * max(0.0, now_s - self.began_s)
        return self.target if gone >= abs(way) else self.start + math.copysign(gone, way)

    def over(self, now_s: float) -> bool:
        return self.velocity * (now_s - self.began_s) >= abs(self.target - self.start)


class VirtualAxis:
    """One simulated axis, an Actuator; safe from every thread."""

    def __init__(self, name: str, settings: AxisSettings, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._settings = settings
        self._clock_s = clock_s
        self._changed = threading.Condition()
        at = settings.position
        self._motion = Motion(start=at, target=at, velocity=settings.velocity, began_s=clock_s())

    @property
    def name(self) -> str:
        return self._name

    @property
    def unit(self) -> str:
        return self._settings.unit

    @property
    def limits(self) -> tuple[float, float]:
        return self._settings.low_limit, self._settings.high_limit

    def read(self) -> float:
        return self._motion.position(self._clock_s())

    @property
    def moving(self) -> bool:
        return not self._motion.over(self._clock_s())

    def move(self, position: float) -> None:
        """Start a move; `moving` is True before this returns. Raise SettingsError outside the limits."""
        low, high = self.limits
        if not low <= position <= high:
            raise SettingsError(f"{self._name}: {position} is outside {low} to {high} {self.unit}; choose one inside")
        self._replan(target=position)

    def set_velocity(self, velocity: float) -> None:
        """Change the speed, of a running move too; units a second."""
        if not (math.isfinite(velocity) and velocity > 0):
            raise SettingsError(f"{self._name}: velocity {velocity} {self.unit}/s; it must be above zero")
        self._replan(velocity=velocity)

    def write(self, field: str, value: float) -> None:
        """Take a new value of a writable field of the status."""
        {"position": self.move, "velocity": self.set_velocity}[field](value)

    def abort(self) -> None:
        """Stop where the axis is."""
        self._replan(target=self.read())

    def close(self) -> None:
        """Stop; nothing else is held."""
        self.abort()

    def _replan(self, target: float | None = None, velocity: float | None = None) -> None:
        """Go on from here to another target or at another velocity."""
        with self._changed:
            old, now_s = self._motion, self._clock_s()
            self._motion = Motion(
                start=old.position(now_s),
                target=old.target if target is None else target,
                velocity=old.velocity if velocity is None else velocity,
                began_s=now_s,
            )
            self._changed.notify_all()

    @property
    def status(self) -> AxisStatus:
        motion, now_s = self._motion, self._clock_s()
        moving, (low, high) = not motion.over(now_s), self.limits
        where = motion.position(now_s)
        doing = f"moving to {motion.target:.6g}" if moving else f"standing at {where:.6g}"
        return AxisStatus(
            state=State.MOVING if moving else State.ON,
            message=f"{self._name} {doing} {self.unit}",
            position=where,
            target=motion.target,
            velocity=motion.velocity,
            low_limit=low,
            high_limit=high,
        )

    def wait(self, seen: AxisStatus | None, timeout_s: float) -> AxisStatus:
        """Return the status at the next change, after STEP_S while moving, or after `timeout_s`."""
        with self._changed:
            if self.status == seen:
                self._changed.wait(min(timeout_s, STEP_S) if self.moving else timeout_s)
            elif self.moving and seen is not None and seen.state is State.MOVING:
                self._changed.wait(min(timeout_s, STEP_S))
        return self.status
