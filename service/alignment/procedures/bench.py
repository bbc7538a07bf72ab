"""What a procedure works with, and what all of them do: take some of the axes, go somewhere, fit a peak."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from models import peak
from service.alignment.chain import Chain, ChainEnded, Stage, part
from service.alignment.plan import AlignmentSettings, Plan, PlannedAxis
from service.alignment.procedures.settings import ProcedureSettings
from service.alignment.term import Term
from service.errors import DataError, SettingsError, one_line, raised_as
from service.ports import Beamline


class Result(Protocol):
    """What a procedure found."""

    def figures(self) -> dict[str, object]:
        """Return it for machines: names and numbers, in the axes' units."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """`plan` of all axes; `beamline` counts what is driven up, `centring` what tells of the crystal at any angle,
    `camera` less the squared distance, px, of a reflection's spot from where it is wanted; None where nobody looks.
    """

    plan: Plan
    settings: ProcedureSettings
    beamline: Beamline
    centring: Beamline
    chain: Chain
    camera: Beamline | None = None

    def axis(self, name: str) -> PlannedAxis:
        if name not in self.plan.axes:
            raise SettingsError(f"no axis {name!r} in alignment.axes; there are {', '.join(self.plan.axes)}")
        return self.plan.axes[name]

    def part(self, *axes: str, **changes: object) -> Plan:
        """The plan of a stage that moves some axes and ends."""
        return part(self.plan, {name: self.axis(name) for name in axes}, **{"follow": False, **changes})

    def position(self, axis: str) -> float:
        self.axis(axis)
        return self.beamline.axes[axis].read()

    def go(self, name: str, targets: Mapping[str, float]) -> Stage:
        return self.chain.run(name, self.part(*targets, method="goto", goto=tuple(targets.values())), self.beamline)

    def fitted(self, stage: Stage, axis: str) -> peak.Curve:
        """Fit a peak to what a stage measured along its one axis, by whatever method. Raises DataError."""
        with raised_as(DataError):
            return peak.along_one(
                [float(told.at[0]) for told in stage.told], [told.value for told in stage.told],
                self.axis(axis).width, self.plan.background,
            )  # fmt: skip


def bench_of(
    settings: AlignmentSettings, open_beamline: Callable[[AlignmentSettings], Beamline], chain: Chain, plan: Plan
) -> Bench:
    """The bench of some settings, whose `plan` may be another one."""
    beamline = open_beamline(settings)
    other = settings.procedures.value
    centring = open_beamline(settings.model_copy(update={"value": other})) if other else beamline
    return Bench(
        plan=plan, settings=settings.procedures, beamline=beamline, centring=centring, chain=chain,
        camera=_camera_of(settings, open_beamline),
    )  # fmt: skip


def _camera_of(settings: AlignmentSettings, open_beamline: Callable[[AlignmentSettings], Beamline]) -> Beamline | None:
    wanted = settings.procedures
    if wanted.target is None:
        return None
    spot = Term(attribute=wanted.image, measure="centring", target=wanted.target)
    return open_beamline(settings.model_copy(update={"value": "", "objective": {"spot": spot}}))


def attempted(procedure: Callable[[Bench], Result], bench: Bench) -> tuple[Result | None, str]:
    """Return what a procedure found, or None and why it found nothing: its axes stand, nobody need stop them."""
    try:
        return procedure(bench), ""
    except (ChainEnded, DataError) as error:
        return None, one_line(error)
