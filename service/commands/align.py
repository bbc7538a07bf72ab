"""`braggloop align`: a crystal brought into the beam and onto its reflection, on the twin or on Tango devices."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from service.adapters import twin_scene
from service.adapters.twin_beamline import COUNTERS, Counting, TwinBeamline
from service.alignment.chain import Chain
from service.alignment.find import Finder
from service.alignment.journal import new_name, stage_journals
from service.alignment.plan import Plan
from service.alignment.progress import Outcome, Progress
from service.commands.align_view import AlignView
from service.commands.motors import driven, must_go_by_itself, must_own_motors, who
from service.commands.report import Advance, Report
from service.errors import DeviceError, SettingsError
from service.ports import Beamline
from service.records import Measured
from service.results.alignment_picture import write_alignment
from service.results.durable import require_writable
from service.settings import Settings, parse_section

REHEARSED = 20  # exposures of a dry run, in which nothing moves and so no method arrives


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How to align: by which `method` ("": as the settings say), armed `by` whom for how many `seconds`; `far`: from
    where there is no signal, and `seed` of the crystal, both of the twin; moves are only written down in a `dry_run`.
    """

    method: str = ""
    by: str = ""
    seconds: float = 3600.0
    far: bool = False
    seed: int = 0
    dry_run: bool = False


@dataclass(slots=True)
class Followed:
    """Collects what was measured, and tells of it; `view` draws it."""

    advance: Advance
    view: AlignView
    measured: list[Measured] = field(default_factory=list)
    seen: int = 0

    def __call__(self, progress: Progress) -> None:
        self.view.progress = progress
        if progress.exposures == self.seen or not math.isfinite(progress.value) or progress.positions is None:
            self.seen = min(self.seen, progress.exposures)
            return
        self.seen = progress.exposures
        self.measured.append(Measured(value=progress.value, positions=dict(progress.positions)))
        self.view.values.append(progress.value)
        self.advance(f"aligning, {self.seen}: {progress.value:.6g}", min(1.0, self.seen / self.view.most))


def align(asked: Asked, settings: Settings, report: Report) -> None:
    """Align, and write the journal and a picture into the folder `out`. Raises DeviceError where it did not succeed."""
    require_writable(settings.out, "out")
    given = settings.alignment
    if not given.axes and (given.client or given.devices or given.terms):
        raise SettingsError("alignment: no axes; name them in [alignment.axes], or leave [alignment] out for the twin")
    name = new_name(settings.out)
    view = AlignView(most=settings.alignment.most_exposures)
    with report.live(view) as advance:
        run = _on_devices if settings.alignment.axes else _on_twin
        followed = Followed(advance, view)
        progress, record, journals = run(asked, settings, name, followed)
    picture = write_alignment(followed.measured, f"{progress.outcome}: {progress.reason}", name.with_suffix(".png"))
    aligned = bool(record.pop("aligned"))
    found: dict[str, Any] = {
        "aligned": aligned,
        "of": "your axes" if given.axes else "the twin",
        **record,
        "exposures": len(followed.measured),
        "outcome": str(progress.outcome),
        "reason": progress.reason,
        "stands": dict(progress.positions or {}),
        "best": dict(progress.best or {}),
        "best_value": progress.best_value if math.isfinite(progress.best_value) else None,
        "journal": journals,
        "picture": picture,
    }
    report.table("", [(name, said(value)) for name, value in found.items()])
    if not aligned and progress.outcome is not Outcome.REHEARSED:
        raise DeviceError(f"not aligned, {progress.outcome}: {progress.reason}; see {picture}")
    report.finish(found)


Run = tuple[Progress, dict[str, Any], list[Path]]


def _on_devices(asked: Asked, settings: Settings, name: Path, followed: Followed) -> Run:
    from service.adapters.tango_beamline import TangoBeamline
    from service.alignment.dead_man import DeadMan

    if asked.far:
        raise SettingsError("--far is the twin's: devices begin where they stand")
    must_own_motors(settings.alignment)
    must_go_by_itself(settings.alignment, "CrystalAlignment and its Approve")
    plan = parse_section(Plan, {**settings.alignment.plan().model_dump(), **changes_of(asked)})
    beamline = TangoBeamline(settings.alignment)
    with DeadMan(settings.alignment.devices, settings.alignment.dead_man_s) as dead_man:
        progress, journal = _run(plan, beamline, asked, name, followed, dead_man.beat)
    return progress, {"aligned": progress.outcome is Outcome.ALIGNED}, [journal]


def _on_twin(asked: Asked, settings: Settings, name: Path, followed: Followed) -> Run:
    scene = (twin_scene.far if asked.far else twin_scene.near)(asked.seed)
    twin = twin_scene.beamline(scene)
    plan = twin_scene.plan(settings.alignment.method, settings.alignment.most_exposures)
    plan = parse_section(Plan, {**plan.model_dump(), **changes_of(asked)})
    journals: list[Path] = []
    if asked.far:
        progress = _found(plan, twin, asked, name, followed, journals)
    else:
        progress, journal = _run(plan, twin, asked, name, followed)
        journals.append(journal)
    off = twin.off()
    there = twin_scene.aligned(off) and progress.outcome is Outcome.ALIGNED
    offset = {"x_m": off.x_m, "y_m": off.y_m, "eta_deg": off.eta_deg}
    return progress, {"aligned": there, "offset": offset, "seconds": round(twin.now_s(), 1)}, journals


def _run(
    plan: Plan, beamline: Beamline, asked: Asked, name: Path, told: Callable[[Progress], None],
    alive: Callable[[], None] = lambda: None,
) -> tuple[Progress, Path]:  # fmt: skip
    path = name.with_suffix(".jsonl")
    return driven(plan, beamline, path, asked.by, asked.seconds, told, alive), path


def _found(
    plan: Plan, twin: TwinBeamline, asked: Asked, name: Path, told: Callable[[Progress], None], journals: list[Path]
) -> Progress:
    stages = Finder(
        plan=plan, height=twin_scene.translation(), rates_hz=dict.fromkeys(COUNTERS, twin.background_hz),
        exposure_s=twin_scene.EXPOSURE_S, count=partial(Counting, twin),
        chain=Chain(by=who(asked.by), seconds=asked.seconds, told=told, journal=stage_journals(name, journals)),
    ).run()  # fmt: skip
    return stages[-1].progress


def changes_of(asked: Asked) -> dict[str, Any]:
    changes: dict[str, Any] = {"method": asked.method} if asked.method else {}
    return {**changes, "dry_run": True, "most_exposures": REHEARSED} if asked.dry_run else changes


def said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {said(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
