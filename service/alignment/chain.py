"""Loops one after another, each with every rule of its plan, all within the time that a person allowed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple

from service.alignment.drive import Commands, Driver
from service.alignment.journal import Journal
from service.alignment.loop import Loop
from service.alignment.methods.choose import chosen
from service.alignment.methods.port import Around, Method, Point
from service.alignment.plan import Plan, PlannedAxis
from service.alignment.progress import Outcome, Phase, Progress
from service.errors import DeviceError
from service.ports import Beamline
from service.settings import parse_section


class Told(NamedTuple):
    """What a method was told: where the axes stood, float64 (axes,) in the order of the plan, the value, and when."""

    at: Point
    value: float
    time_s: float


class Stage(NamedTuple):
    name: str
    progress: Progress
    told: tuple[Told, ...]


class ChainEnded(DeviceError):
    """A stage did not succeed; those after it make no sense."""


class _Recorded(Around):
    """A method whose measurements are kept."""

    def __init__(self, method: Method, kept: list[Told]) -> None:
        super().__init__(method)
        self._kept = kept

    def tell(self, at: Point, value: float, time_s: float) -> None:
        self._kept.append(Told(at, value, time_s))
        super().tell(at, value, time_s)


@dataclass(slots=True, kw_only=True)
class Chain:
    """Armed `by` somebody for `seconds` from the first look at `left_s` on; the largest travel is that of all
    stages.

    `make` makes the loop of a stage, `journal` opens its journal, `told` hears of every step, `commands` come in
    between, and `alive` is called while it goes on well. `done` are the stages that were tried.
    """

    by: str
    seconds: float
    told: Callable[[Progress], None] = lambda _: None
    commands: Commands = lambda: None
    alive: Callable[[], None] = lambda: None
    journal: Callable[[str, Plan], AbstractContextManager[Journal | None]] = lambda _, __: contextlib.nullcontext()
    make: Callable[[Plan, Callable[[Plan, Point], Method]], Loop] = Loop
    done: list[Stage] = field(default_factory=list)
    _until_s: float | None = None
    _travelled: dict[str, float] = field(default_factory=dict)

    def run(
        self,
        name: str,
        plan: Plan,
        beamline: Beamline,
        fine: Collection[Outcome] = (Outcome.ALIGNED,),
        told: Callable[[Progress], None] = lambda _: None,
    ) -> Stage:
        """Run one stage and return it; raise ChainEnded with its reason where it did not end in a `fine` way."""
        left_s = self.left_s(beamline)
        if left_s <= 0.0:
            late = f"the arming ended {-left_s:.6g} s ago"
            stage = Stage(name, Progress(phase=Phase.ENDED, outcome=Outcome.FAILED, reason=late), ())
        else:
            stage = self._stage(name, plan, beamline, left_s, told)
        self.done.append(stage)
        if stage.progress.outcome not in fine:
            raise ChainEnded(f"{name}: {stage.progress.outcome}: {stage.progress.reason}")
        return stage

    def left_s(self, beamline: Beamline) -> float:
        """How long the axes are armed yet."""
        now_s = beamline.now_s()
        self._until_s = now_s + self.seconds if self._until_s is None else self._until_s
        return self._until_s - now_s

    def _stage(
        self, name: str, plan: Plan, beamline: Beamline, left_s: float, told: Callable[[Progress], None]
    ) -> Stage:
        kept: list[Told] = []
        loop = self.make(plan, lambda plan, start: _Recorded(chosen(plan, start), kept))

        def both(progress: Progress) -> None:
            self.told(progress)
            told(progress)

        with self.journal(name, plan) as journal:
            driver = Driver(loop, beamline, journal, self.commands, both, alive=self.alive)
            progress = driver.align(self.by, left_s, self._travelled)
        self._travelled |= loop.travelled
        return Stage(name, progress, tuple(kept))


def part(plan: Plan, axes: Mapping[str, PlannedAxis], **changes: object) -> Plan:
    """Return the plan of a stage: that of an alignment with other axes; a value that falls is no collapse there."""
    given = {**plan.model_dump(), "collapse_share": 0.0, **changes}
    return parse_section(Plan, {**given, "axes": {name: axis.model_dump() for name, axis in axes.items()}})
