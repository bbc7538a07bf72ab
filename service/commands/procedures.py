"""`braggloop align` rocking, rotation, height, reflection and track: one procedure, on the twin or on Tango devices."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from service.adapters import twin_scene
from service.adapters.twin_beamline import Counting, TwinBeamline
from service.adapters.twin_camera import detector_axes, twin_camera
from service.alignment import events
from service.alignment.chain import Chain, part
from service.alignment.journal import new_name, stage_journals
from service.alignment.plan import Plan
from service.alignment.procedures.bench import Bench, Result, attempted, bench_of
from service.alignment.procedures.height import eucentric_height
from service.alignment.procedures.reflection import centre_reflection
from service.alignment.procedures.rocking import RockingCurve, rocking_curve
from service.alignment.procedures.rotation import centre_of_rotation
from service.alignment.procedures.settings import ProcedureSettings
from service.alignment.procedures.track import HOUR_S, track
from service.commands.align import Asked, Followed, changes_of, said
from service.commands.align_view import AlignView
from service.commands.motors import must_go_by_itself, must_own_motors, who
from service.commands.report import Report
from service.errors import DeviceError, SettingsError
from service.results.alignment_picture import write_alignment
from service.results.durable import require_writable
from service.results.rocking_picture import write_rocking
from service.settings import Settings, parse_section
from service.signals import handled

# Exposures that a procedure takes, about: for the progress bar alone.
ABOUT = {"rocking": 41, "rotation": 40, "height": 80, "reflection": 14, "track": 1000}
# Options that not every procedure knows.
KNOWN = {
    "axis": ("rocking", "rotation", "height"), "points": ("rocking",), "widths": ("rocking",), "correct": ("rotation",),
    "hours": ("track",), "exposures": ("track",),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which procedure, `what`, and what it is told beside the settings; None: as these say.

    `axis` of rotation; `points` and `widths` of the rocking curve; whether to `correct` the centre of rotation; for how
    many `hours` and `exposures` to track.
    """

    what: str
    axis: str | None = None
    points: int | None = None
    widths: float | None = None
    correct: bool = False
    hours: float | None = None
    exposures: int | None = None


class Interrupts:
    """The first Ctrl-C is a Stop, which the loop ends in order; the next one ends it at once."""

    def __init__(self) -> None:
        self._asked, self._told = False, False

    def __call__(self) -> events.AnyEvent | None:
        if self._told or not self._asked:
            return None
        self._told = True
        return events.Stop(now_s=0.0)

    def ask(self, *_: object) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True


def procedure(wanted: Wanted, asked: Asked, settings: Settings, report: Report) -> None:
    """Run it, and write journals and a picture into the folder `out`. Raises DeviceError where it did not succeed."""
    _must_be_known(wanted, asked)
    require_writable(settings.out, "out")
    name = new_name(settings.out)
    journals: list[Path] = []
    interrupts = Interrupts()
    seconds = asked.seconds if wanted.hours is None else wanted.hours * HOUR_S
    view = AlignView(most=wanted.exposures or ABOUT[wanted.what])
    with report.live(view) as advance:
        followed = Followed(advance, view)
        chain = Chain(
            by=who(asked.by), seconds=seconds, told=followed, journal=stage_journals(name, journals),
            commands=interrupts,
        )  # fmt: skip
        run = _on_devices if settings.alignment.axes else _on_twin
        with handled(interrupts.ask) if wanted.what == "track" else contextlib.nullcontext():
            result, error, truth = run(wanted, asked, settings, chain)
    picture = name.with_suffix(".png")
    title = f"{wanted.what}: {error or 'done'}"
    if isinstance(result, RockingCurve):
        write_rocking(result, picture)
    else:
        write_alignment(followed.measured, title, picture)
    found: dict[str, Any] = {
        "procedure": wanted.what,
        **(result.figures() if result else {}),
        **truth,
        "exposures": len(followed.measured),
        "stages": [stage.name for stage in chain.done],
        "journal": journals,
        "picture": picture,
    }
    report.table("", [(name, said(value)) for name, value in found.items()])
    if result is None:
        raise DeviceError(f"{title}; see {picture}")
    report.finish(found)


Run = tuple[Result | None, str, dict[str, Any]]
"""What was found, None and why where nothing was, and the truth, which only the twin knows."""


def _must_be_known(wanted: Wanted, asked: Asked) -> None:
    for option, procedures in KNOWN.items():
        if getattr(wanted, option) not in (None, False) and wanted.what not in procedures:
            raise SettingsError(f"--{option} is for {', '.join(procedures)}, not for {wanted.what}")
    if wanted.what not in ABOUT:
        raise SettingsError(f"align {wanted.what!r}: unknown; choose one of crystal, {', '.join(ABOUT)}")
    if asked.far:
        raise SettingsError(f"--far is for a crystal, not for {wanted.what}, which begins in the beam")
    if asked.dry_run:
        raise SettingsError(f"--dry-run is for a crystal, not for {wanted.what}, which rests on what it moved")
    if asked.method and wanted.what == "rocking":
        raise SettingsError("--method is not for rocking, which counts at even steps")


def _procedure(wanted: Wanted) -> Callable[[Bench], Result]:
    known: dict[str, Callable[[Bench], Result]] = {
        "rocking": rocking_curve,
        "rotation": partial(centre_of_rotation, correct=wanted.correct),
        "height": eucentric_height,
        "reflection": centre_reflection,
        "track": partial(track, exposures=wanted.exposures),
    }
    return known[wanted.what]


def _settings(wanted: Wanted, settings: Settings) -> ProcedureSettings:
    given = {"rotation": wanted.axis, "rocking_points": wanted.points, "rocking_widths": wanted.widths}
    changes = {name: value for name, value in given.items() if value is not None}
    return parse_section(ProcedureSettings, {**settings.alignment.procedures.model_dump(), **changes})


def _on_devices(wanted: Wanted, asked: Asked, settings: Settings, chain: Chain) -> Run:
    from service.adapters.tango_beamline import TangoBeamline
    from service.alignment.dead_man import DeadMan

    must_own_motors(settings.alignment)
    must_go_by_itself(settings.alignment, "CrystalAlignment and its Approve")
    alignment = settings.alignment.model_copy(update={"procedures": _settings(wanted, settings)})
    plan = parse_section(Plan, {**alignment.plan().model_dump(), **changes_of(asked)})
    with DeadMan(alignment.devices, alignment.dead_man_s) as dead_man:
        chain.alive = dead_man.beat
        return *attempted(_procedure(wanted), bench_of(alignment, TangoBeamline, chain, plan)), {}


def _on_twin(wanted: Wanted, asked: Asked, settings: Settings, chain: Chain) -> Run:
    twin = twin_scene.beamline(twin_scene.centred(asked.seed))
    plan = twin_scene.plan(settings.alignment.method, settings.alignment.most_exposures)
    plan = parse_section(Plan, {**plan.model_dump(), **changes_of(asked)})
    camera, of_detector = twin_camera(asked.seed), wanted.what == "reflection"
    bench = Bench(
        plan=part(plan, detector_axes() if of_detector else {**plan.axes, "z": twin_scene.translation()}),
        settings=_settings(wanted, settings), beamline=twin,
        centring=Counting(twin, "fluorescence", twin_scene.EXPOSURE_S), chain=chain, camera=camera,
    )  # fmt: skip
    result, why = attempted(_procedure(wanted), bench)
    return result, why, {"true_off_px": camera.off_px()} if of_detector else _truth(twin)


def _truth(twin: TwinBeamline) -> dict[str, Any]:
    off = twin.off()
    return {
        "offset": {"x_m": off.x_m, "y_m": off.y_m, "eta_deg": off.eta_deg, "off_axis_m": twin.off_axis_m()},
        "seconds": round(twin.now_s(), 1),
    }
