"""A crystal that is nowhere: found first by what shines at any angle, then by its reflection, then aligned.

spiral      x and y, in the fluorescence, outwards until it shines
middle      x and y, on its peak
tilt        the same at another angle: how far the crystal lies from the axis of rotation
height      z brings it onto the axis: it stays in the beam as eta turns
middle      x and y once more
sweep       eta, in the reflection
align       as planned
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple

from service.alignment.drive import Commands, Driver
from service.alignment.journal import Journal
from service.alignment.loop import Loop
from service.alignment.methods.choose import chosen
from service.alignment.plan import Plan, PlannedAxis
from service.alignment.progress import Outcome, Progress
from service.alignment.rotation_centre import two_angles
from service.errors import DataError
from service.ports import Beamline

# A look in passing, s; the fluorescence is centred with exposures as long as those of the alignment.
COARSE_S = 0.03
# Where the crystal is in the fluorescence is wanted to this share of its width: enough to see the reflection.
CENTRED = 0.05
# The crystal must stay in sight of its former place when it is tilted.
TILT_DEG = 0.5
# How far the reflection may be from where eta stands, in rocking widths; the tilt comes on top.
SWEPT = 60.0
MOST = 20_000

Count = Callable[[str, float], Beamline]
"""count(counter, seconds) -> the beamline, counting with that counter for so long."""


class Stage(NamedTuple):
    name: str
    progress: Progress


class Failed(Exception):
    """A stage did not succeed; those after it make no sense."""


@dataclass(slots=True, kw_only=True)
class Finder:
    """`plan` of x, y and eta, `height` of z, which it moves along the beam; `rates_hz` of each counter without crystal.

    Every stage is a loop of its own with every rule of the plan, armed `by` somebody for what is left of `seconds`; the
    largest travel is that of a stage.
    """

    plan: Plan
    height: PlannedAxis
    rates_hz: Mapping[str, float]
    exposure_s: float
    count: Count
    by: str
    seconds: float
    told: Callable[[Progress], None] = lambda _: None
    journal: Callable[[str, Plan], AbstractContextManager[Journal | None]] = lambda _, __: contextlib.nullcontext()
    commands: Commands = lambda: None
    done: list[Stage] = field(default_factory=list)
    _until_s: float | None = None

    def run(self) -> tuple[Stage, ...]:
        """Go through the stages; return those that were tried, the last one unsuccessful or `align`."""
        with contextlib.suppress(Failed, DataError):
            self._stages()
        return tuple(self.done)

    def _stages(self) -> None:
        across = {name: self.plan.axes[name] for name in ("x", "y")}
        loosely = {name: axis.model_copy(update={"tolerance": CENTRED * axis.width}) for name, axis in across.items()}
        angle = {"eta": self.plan.axes["eta"]}

        self._stage("spiral", across, "spiral", "fluorescence", COARSE_S)
        self._stage("middle", loosely, "peak", "fluorescence", self.exposure_s)
        before = self._positions()
        self._go("tilt", angle, (before["eta"] + TILT_DEG,))
        self._stage("tilted", loosely, "peak", "fluorescence", self.exposure_s)
        after = self._positions()
        centre = two_angles((before["y"], after["y"]), (before["eta"], after["eta"]))
        # z rides on eta, too: what it lifts the crystal by is taken back by y.
        lifted_m = -centre.along_m * math.tan(math.radians(after["eta"]))
        height = {"y": self.plan.axes["y"], "z": self.height}
        self._go("height", height, (after["y"] + lifted_m, after["z"] - centre.along_m))
        self._stage("middle", loosely, "peak", "fluorescence", self.exposure_s)
        self._stage("sweep", angle, "sweep", "reflection", COARSE_S)
        self._run("align", self.plan, "reflection", self.exposure_s)

    def _stage(self, name: str, axes: Mapping[str, PlannedAxis], method: str, counter: str, seconds: float) -> None:
        background = self.rates_hz[counter] * seconds
        self._run(name, self._part(axes, method=method, background=background), counter, seconds)

    def _go(self, name: str, axes: Mapping[str, PlannedAxis], positions: tuple[float, ...]) -> None:
        self._run(name, self._part(axes, method="goto", goto=positions), "fluorescence", COARSE_S)

    def _part(self, axes: Mapping[str, PlannedAxis], **changes: object) -> Plan:
        if changes.get("method") in ("spiral", "sweep"):
            changes = {"most_exposures": MOST, "reach": SWEPT, **changes}
        given = {**self.plan.model_dump(), "collapse_share": 0.0, **changes}
        return Plan.model_validate({**given, "axes": {name: axis.model_dump() for name, axis in axes.items()}})

    def _run(self, name: str, plan: Plan, counter: str, seconds: float) -> None:
        beamline = self.count(counter, seconds)
        now_s = beamline.now_s()
        self._until_s = now_s + self.seconds if self._until_s is None else self._until_s
        left_s = self._until_s - now_s
        if left_s <= 0.0:
            raise Failed(name)
        with self.journal(name, plan) as journal:
            driver = Driver(Loop(plan, chosen), beamline, journal, self.commands, self.told)
            progress = driver.align(self.by, left_s)
        self.done.append(Stage(name, progress))
        if progress.outcome is not Outcome.ALIGNED:
            raise Failed(name)

    def _positions(self) -> dict[str, float]:
        axes = self.count("fluorescence", COARSE_S).axes
        return {name: axis.read() for name, axis in axes.items()}
