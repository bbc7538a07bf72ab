"""Virtual axes of the twin: they take time to move, stop when told, keep to their limits, and fail on command."""

from __future__ import annotations

import math
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from service.devices.status import State, Status, reading
from service.errors import SettingsError
from service.settings import AxisSettings

SLOWER = 20.0
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
    failure: str = reading(
        "none", label="Failure", description="What the axis suffers from, on command: none, stuck, lying or slow.",
        writable=True,
    )  # fmt: skip
    low_limit: float = reading(
        0.0, label="Low limit", description="Smallest position that a move accepts.", format="%.9g"
    )
    high_limit: float = reading(
        0.0, label="High limit", description="Largest position that a move accepts.", format="%.9g"
    )


class Failure(StrEnum):
    """What a virtual axis can be told to suffer from."""

    NONE = "none"
    STUCK = "stuck"  # the motor turns, the axis stays, and the encoder says so
    LYING = "lying"  # the axis moves, the encoder goes on telling where it was
    SLOW = "slow"  # a move takes SLOWER times as long


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """Straight motion of a motor at constant speed, and of the axis that it takes along.

    Where the motor began, where it goes, when it began (s on the axis' clock); where the `axis` stood then, which
    follows once half of the `play` is used up, infinite where it is stuck.
    """

    start: float
    target: float
    velocity: float
    began_s: float
    axis: float
    play: float = 0.0

    def motor(self, now_s: float) -> float:
        way = self.target - self.start
        gone = self.velocity * max(0.0, now_s - self.began_s)
        return self.target if gone >= abs(way) else self.start + math.copysign(gone, way)

    def position(self, now_s: float) -> float:
        motor = self.motor(now_s)
        return min(max(self.axis, motor - self.play / 2.0), motor + self.play / 2.0)

    def over(self, now_s: float) -> bool:
        return self.velocity * (now_s - self.began_s) >= abs(self.target - self.start)


class VirtualAxis:
    """One simulated axis, an Actuator; safe from every thread."""

    def __init__(self, name: str, settings: AxisSettings, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._settings = settings
        self._clock_s = clock_s
        self._changed = threading.Condition()
        self._velocity = settings.velocity
        self._failure, self._told = Failure.NONE, settings.position
        at = settings.position
        self._motion = Motion(
            start=at, target=at, velocity=settings.velocity, began_s=clock_s(), axis=at, play=settings.backlash
        )

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
        """Return what the encoder tells."""
        if self._failure is Failure.LYING:
            return self._told
        now_s = self._clock_s()
        return self._motion.position(now_s) + self._noise(now_s)

    def true_position(self) -> float:
        """Return where the axis is, which only a twin can know."""
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
        self._velocity = velocity
        self._replan()

    def write(self, field: str, value: Any) -> None:
        """Take a new value of a writable field of the status."""
        writers: Mapping[str, Callable[[Any], None]] = {
            "position": self.move,
            "velocity": self.set_velocity,
            "failure": self.fail,
        }
        writers[field](value)

    def fail(self, failure: str) -> None:
        """Suffer from a Failure from now on, of a running move too; "none" mends it."""
        try:
            wanted = Failure(failure)
        except ValueError:
            known = ", ".join(Failure)
            raise SettingsError(f"{self._name}: failure {failure!r} is unknown; choose one of {known}") from None
        self._told, axis = self.read(), self.true_position()
        mended = self._failure is Failure.STUCK and wanted is not Failure.STUCK
        self._failure = wanted
        # The motor of an axis that was stuck is homed: it begins from where the axis is.
        self._replan(target=axis, start=axis) if mended else self._replan()

    def abort(self) -> None:
        """Stop where the motor is."""
        self._replan(target=self._motion.motor(self._clock_s()))

    def close(self) -> None:
        """Stop; nothing else is held."""
        self.abort()

    def _replan(self, target: float | None = None, start: float | None = None) -> None:
        """Go on from here, to another target, at another velocity or with another failure."""
        with self._changed:
            old, now_s = self._motion, self._clock_s()
            self._motion = Motion(
                start=old.motor(now_s) if start is None else start,
                target=old.target if target is None else target,
                velocity=self._velocity / (SLOWER if self._failure is Failure.SLOW else 1.0),
                began_s=now_s,
                axis=old.position(now_s),
                play=math.inf if self._failure is Failure.STUCK else self._settings.backlash,
            )
            self._changed.notify_all()

    def _noise(self, now_s: float) -> float:
        """The encoder's, another one every STEP_S, the same for all who read it then."""
        if not self._settings.encoder_noise:
            return 0.0
        seed = zlib.crc32(self._name.encode()), int(now_s / STEP_S)
        return self._settings.encoder_noise * float(np.random.default_rng(seed).normal())

    @property
    def status(self) -> AxisStatus:
        motion, now_s = self._motion, self._clock_s()
        moving, (low, high) = not motion.over(now_s), self.limits
        where = self.read()
        doing = f"moving to {motion.target:.6g}" if moving else f"standing at {where:.6g}"
        return AxisStatus(
            state=State.MOVING if moving else State.ON,
            message=f"{self._name} {doing} {self.unit}",
            position=where,
            target=motion.target,
            velocity=self._velocity,
            failure=str(self._failure),
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
