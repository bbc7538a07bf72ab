"""Runs with faults on the twin's clock, watched by one who does not trust the guard and shares no code with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from service.adapters.twin_beamline import Trouble, TwinBeamline
from service.adapters.twin_scene import BEAM_M, ROCKING_DEG, beamline, near
from service.alignment import events
from service.alignment.drive import Driver
from service.alignment.journal import Journal
from service.alignment.loop import Loop
from service.alignment.methods.choose import chosen
from service.alignment.methods.port import Axis, Method, Point
from service.alignment.plan import Plan, PlannedAxis
from service.alignment.progress import Phase, Progress
from service.devices.goniometer import Failure, VirtualAxis
from service.errors import DeviceError
from service.records import Exposure, Light

ARMED_S = (20.0, 400.0)
REACH = 3.0  # widths from the start that the axes may go
STEP, RATE, TRAVEL = 1.5, 4.0, 60.0  # in widths: at once, a second, since arming
MOST_EXPOSURES = 40
MOVE_S = 15.0
# Positions are read with noise, and play is taken up: the watcher allows that much in widths.
SLACK = 0.15
WILD = "wild"
METHODS = ("peak", "seeking", "parabola", WILD)
FAULTS = (
    "none", "stale", "lost", "nan", "no beam", "shutter", "stuck", "lying", "slow", "dead", "dead worker",
    "moved by others",
)  # fmt: skip


class Wild:
    """Proposes anything: near, far, out of all limits, no numbers at all. A guard is there for such methods."""

    def __init__(self, axes: tuple[Axis, ...], start: Point, seed: int) -> None:
        self._widths = np.array([axis.width for axis in axes])
        self._start, self._random = start, np.random.default_rng(seed)

    def ask(self) -> Point | None:
        reach = self._random.choice([0.5, 2.0, 6.0, 1e3])
        there = self._start + reach * self._widths * self._random.normal(size=len(self._start))
        if self._random.uniform() < 0.02:
            there[0] = self._random.choice([math.nan, math.inf, -math.inf])
        return np.asarray(there)

    def tell(self, at: Point, value: float, time_s: float) -> None:
        pass

    def refused(self) -> None:
        pass

    def failure(self) -> str:
        return ""

    def best(self) -> Point:
        return np.asarray(self._start)


@dataclass(slots=True)
class Watcher:
    """Knows the true positions and every order to an axis; `wrong` tells each that should not have been given.

    `forbidden(positions)` says of true positions whether they are in the zone.
    """

    twin: TwinBeamline
    plan: Plan
    forbidden: Callable[[Mapping[str, float]], bool]
    armed: list[tuple[float, float]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    orders: int = 0
    last_s: dict[str, float] = field(default_factory=dict)
    gone: dict[str, float] = field(default_factory=dict)

    def true(self) -> dict[str, float]:
        return {name: axis.true_position() for name, axis in self.twin.axes.items()}

    def ordered(self, name: str, target: float) -> None:
        now_s, planned, at = self.twin.now_s(), self.plan.axes[name], self.true()[name]
        slack, way = SLACK * planned.width, abs(target - at)
        begun_s = max((begin for begin, _ in self.armed if begin <= now_s), default=math.inf)
        since_s = now_s - self.last_s.get(name, begun_s)
        self.gone[name] = self.gone.get(name, 0.0) + max(0.0, way - slack)
        checks = {
            "not armed": not any(begin <= now_s < end for begin, end in self.armed),
            "outside limits": not planned.low <= target <= planned.high,
            "step too large": way > planned.largest_step + slack,
            "too fast": way > planned.largest_rate * since_s + slack,
            "travelled too far": self.gone[name] > planned.largest_travel,
        }
        self.wrong += [f"{what}: {name} from {at} to {target} at {now_s}" for what, is_so in checks.items() if is_so]
        self.orders, self.last_s[name] = self.orders + 1, now_s

    def look(self) -> None:
        if self.forbidden(self.true()):
            self.wrong.append(f"in the forbidden zone at {self.twin.now_s()}: {self.true()}")


class WatchedAxis:
    """An axis whose orders are watched, and whose server can die."""

    def __init__(self, axis: VirtualAxis, watcher: Watcher) -> None:
        self._axis, self._watcher, self.dead = axis, watcher, False

    @property
    def name(self) -> str:
        return self._axis.name

    @property
    def moving(self) -> bool:
        self._answer()
        return self._axis.moving

    def read(self) -> float:
        self._answer()
        return self._axis.read()

    def move(self, position: float) -> None:
        self._answer()
        self._watcher.ordered(self._axis.name, position)
        self._axis.move(position)

    def abort(self) -> None:
        self._answer()
        self._axis.abort()

    def _answer(self) -> None:
        if self.dead:
            raise DeviceError(f"{self._axis.name}: no answer")


class Watched:
    """A beamline that is watched, and on which the planned fault begins at its time and may end again."""

    def __init__(
        self, twin: TwinBeamline, watcher: Watcher, fault: str, begin_s: float, end_s: float, axis: str
    ) -> None:
        self._twin, self._watcher = twin, watcher
        self.axes = {name: WatchedAxis(twin.axes[name], watcher) for name in watcher.plan.axes}
        self._fault, self._span, self._axis = fault, (begin_s, end_s), axis
        self._on = False

    def now_s(self) -> float:
        return self._twin.now_s()

    def rest(self, seconds: float) -> None:
        self._twin.rest(seconds)
        self._suffer()
        self._watcher.look()

    def light(self) -> Light:
        return self._twin.light()

    def expose(self) -> Exposure:
        self._suffer()
        if self._on and self._fault == "dead worker":
            self._twin.rest(5.0)
            raise DeviceError("the worker does not answer")
        return self._twin.expose()

    def _suffer(self) -> None:
        begin_s, end_s = self._span
        on = begin_s <= self._twin.now_s() < end_s
        if on == self._on:
            return
        self._on = on
        if self._fault in tuple(Trouble):
            self._twin.trouble = Trouble(self._fault if on else "none")
        elif self._fault in tuple(Failure):
            self._twin.axes[self._axis].fail(self._fault if on else "none")
        elif self._fault == "dead":
            self.axes[self._axis].dead = on
        elif self._fault == "moved by others" and on:
            self._meddle()

    def _meddle(self) -> None:
        """A person moves the same motor, within its limits, and not into the zone, wherever the others go."""
        axis = self._twin.axes[self._axis]
        there = axis.true_position() + 0.5 * self._watcher.plan.axes[self._axis].width
        farthest = {name: max(each.true_position(), each.status.target) for name, each in self._twin.axes.items()}
        if not self._watcher.forbidden({**farthest, self._axis: there}):
            axis.move(there)


class Ended(NamedTuple):
    """How a run ended. `wrong`, what the watcher saw; `still` whether all axes stood at the end."""

    fault: str
    method: str
    progress: Progress
    wrong: tuple[str, ...]
    still: bool
    orders: int

    @property
    def safe(self) -> bool:
        told = self.progress.phase is Phase.ENDED and bool(self.progress.outcome) and bool(self.progress.reason)
        return told and not self.wrong and (self.still or self.fault == "dead")


def faulty_run(seed: int, journal: Journal | None = None) -> Ended:
    """Align once, with a fault and with commands at random times; return how it ended and what the watcher saw."""
    random = np.random.default_rng((seed, 2))
    scene = near(seed)
    twin = beamline(scene)
    method, fault = str(random.choice(METHODS)), str(random.choice(FAULTS))
    asked = _plan(random, scene.start, method)
    watcher = Watcher(twin, asked, _forbidden(scene.start))
    begin_s = random.uniform(0.0, 15.0)
    end_s = begin_s + random.choice([0.5, 5.0, 1e6])
    watched = Watched(twin, watcher, fault, begin_s, end_s, str(random.choice(list(asked.axes))))

    def choose(plan: Plan, start: Point) -> Method:
        return Wild(plan.sought(), start, seed) if method == WILD else chosen(plan, start)

    armed_s = random.uniform(*ARMED_S)
    watcher.armed.append((0.0, armed_s))
    loop = Loop(asked, choose)
    driver = Driver(loop, watched, journal, _commands(random, twin, loop), move_s=MOVE_S)
    progress = driver.align("safety", armed_s)
    still = not any(axis.moving for axis in twin.axes.values())
    return Ended(fault, method, progress, tuple(watcher.wrong), still, watcher.orders)


def _plan(random: np.random.Generator, start: Mapping[str, float], method: str) -> Plan:
    def axis(name: str, width: float) -> PlannedAxis:
        return PlannedAxis(
            low=start[name] - REACH * width, high=start[name] + REACH * width, width=width, tolerance=0.03 * width,
            largest_step=STEP * width, largest_rate=RATE * width, largest_travel=TRAVEL * width,
            disagreement=0.3 * width, fringed=name == "eta",
        )  # fmt: skip

    axes = {name: axis(name, ROCKING_DEG if name == "eta" else BEAM_M) for name in start}
    # Lengths in beam sizes, so that the zone can be read.
    zone = f"x / {BEAM_M!r} + y / {BEAM_M!r} > {sum(start[name] / BEAM_M for name in ('x', 'y')) + 2.5!r}"
    return Plan(
        axes=axes, method="peak" if method == WILD else method, background=2.0, zones=(zone,), stale_s=5.0,
        most_exposures=MOST_EXPOSURES, light_patience_s=10.0, on_stop=random.choice(["stay", "start", "best"]),
        dry_run=bool(random.uniform() < 0.05), seed=int(random.integers(1000)),
    )  # fmt: skip


def _forbidden(start: Mapping[str, float]) -> Callable[[Mapping[str, float]], bool]:
    def inside(at: Mapping[str, float]) -> bool:
        return sum((at[name] - start[name]) / BEAM_M for name in ("x", "y")) > 2.5 + 2.0 * SLACK

    return inside


def _commands(random: np.random.Generator, twin: TwinBeamline, loop: Loop) -> Callable[[], events.AnyEvent | None]:
    """A person who now and then pauses, resumes, stops or aborts."""
    script: list[tuple[float, type[events.Event]]] = []
    if random.uniform() < 0.3:
        at_s = random.uniform(0.0, 10.0)
        script += [(at_s, events.Pause), (at_s + random.uniform(0.0, 20.0), events.Resume)]
    if random.uniform() < 0.3:
        script.append((random.uniform(0.0, 15.0), events.Stop if random.uniform() < 0.5 else events.Abort))
    script.sort(key=lambda one: one[0])

    def next_command() -> events.AnyEvent | None:
        if script and twin.now_s() >= script[0][0]:
            return script.pop(0)[1](now_s=twin.now_s())  # type: ignore[return-value]
        return None

    return next_command
