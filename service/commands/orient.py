"""`braggloop orient`: reflections, UB, where a reflection is in an instrument's own axes, and going there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.alignment.angles import ROUNDING_DEG
from service.alignment.goto_plan import goto_plan, moved, require_way
from service.alignment.orientation import Orientation
from service.alignment.orienting import Orienting, Position
from service.alignment.plan import Plan
from service.alignment.progress import Outcome, Progress
from service.alignment.reflection import Hkl, shown, two_theta_deg
from service.alignment.reflection_list import Kept
from service.commands.motors import driven, must_go_by_itself, must_own_motors
from service.commands.report import Advance, Report
from service.errors import BraggloopError, DeviceError, SettingsError
from service.results.durable import require_writable
from service.settings import Settings

Rows = list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """Where axes stand as a person says ("AXIS=DEGREES" each; motors tell the others), and the photon energy."""

    angles: Sequence[str] = ()
    energy_kev: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Going:
    """How to go: to which of the positions, from 1; armed `by` whom for how many `seconds`; or only told of."""

    choose: int = 1
    by: str = ""
    seconds: float = 3600.0
    dry_run: bool = False


def add(hkl: Hkl, stand: Stand, tag: str, settings: Settings, report: Report) -> None:
    """Keep a reflection that is found where the axes stand, and tell how it fits the lattice."""
    orienting = Orienting(settings)
    number, kept = orienting.add(hkl, _standing(orienting, stand, settings), stand.energy_kev, tag)
    record = {**_of_kept(number, kept), **_two_theta(orienting, kept), "file": str(orienting.reflections_file)}
    report.table("", _rows(record))
    expected_deg = record["lattice_two_theta_deg"]
    off_deg = 0.0 if expected_deg is None else abs(record["two_theta_deg"] - expected_deg)
    if off_deg > settings.orientation.two_theta_tolerance_deg:
        report.note(f"2 theta is {off_deg:.3f} deg off the lattice's: see indices, energy and lattice, or remove it")
    count = len(orienting.reflections())
    report.note(f"{count} kept; " + ("now 'braggloop orient fit'" if count > 1 else "one more, and UB can be fitted"))
    report.finish(record)


def list_kept(settings: Settings, report: Report) -> None:
    """Show all reflections that are kept."""
    orienting = Orienting(settings)
    records = [
        {**_of_kept(number, kept), **_two_theta(orienting, kept)} for number, kept in orienting.reflections().items()
    ]
    for record in records:
        report.table(f"{record['number']}  {shown(record['hkl'])} {record['tag']}", _rows(record)[2:])
    if not records:
        report.note(f"no reflection is kept in {orienting.reflections_file}: braggloop orient add H K L")
    report.finish({"reflections": records, "file": str(orienting.reflections_file)})


def remove(numbers: Sequence[int], settings: Settings, report: Report) -> None:
    """Leave reflections out from now on; they stay in the file."""
    orienting = Orienting(settings)
    orienting.remove(numbers)
    left = sorted(orienting.reflections())
    report.table("", [("left", ", ".join(map(str, left)) or "none")])
    report.finish({"removed": list(numbers), "left": left, "file": str(orienting.reflections_file)})


def fit(settings: Settings, report: Report) -> None:
    """Fit U to the reflections, keep it and show it."""
    orienting = Orienting(settings)
    _show(orienting, orienting.fit(), report)


def fit_with_lattice(settings: Settings, report: Report) -> None:
    """Fit the lattice, then U, keep both and show them."""
    orienting = Orienting(settings)
    _show(orienting, orienting.fit_with_lattice(), report)


def show(settings: Settings, report: Report) -> None:
    """Show the orientation that was fitted last."""
    orienting = Orienting(settings)
    _show(orienting, orienting.orientation(), report)


def where(stand: Stand, settings: Settings, report: Report) -> None:
    """Tell the Miller indices of what diffracts where the axes stand."""
    orienting = Orienting(settings)
    axes_deg = _standing(orienting, stand, settings)
    record = {"hkl": list(orienting.hkl_at(axes_deg, stand.energy_kev)), "axes_deg": axes_deg}
    report.table("", _rows(record))
    report.finish(record)


def angles(hkl: Hkl, stand: Stand, settings: Settings, report: Report) -> None:
    """Tell every place within limits at which a reflection diffracts, the least travel first."""
    orienting = Orienting(settings)
    axes_deg = _standing(orienting, stand, settings)
    positions = _positions(orienting, hkl, axes_deg, stand, settings)
    for number, position in enumerate(positions, 1):
        report.table(f"{number}  travel {position.travel_deg:.3f} deg", _ways(position, axes_deg))
    if not orienting.limits(settings.alignment.axes, axes_deg):
        report.note("no limits: [alignment.axes] names none of these axes")
    report.finish({"hkl": list(hkl), "positions": [_of_position(position) for position in positions]})


def goto(hkl: Hkl, stand: Stand, going: Going, settings: Settings, report: Report) -> None:
    """Move the axes to a reflection within all limits; raise DeviceError where they did not arrive."""
    orienting = Orienting(settings)
    axes_deg = _standing(orienting, stand, settings)
    positions = _positions(orienting, hkl, axes_deg, stand, settings)
    if not 1 <= going.choose <= len(positions):
        raise SettingsError(f"--choose {going.choose}: expected 1 to {len(positions)}, see 'braggloop orient angles'")
    position = positions[going.choose - 1]
    report.table(f"to {shown(hkl)}, travel {position.travel_deg:.3f} deg", _ways(position, axes_deg))
    there = moved(position.axes_deg, axes_deg, ROUNDING_DEG)
    record = {"hkl": list(hkl), **_of_position(position)}
    if not there:
        report.note("the axes stand there already: nothing was moved")
        report.finish({**record, "moved": False, "outcome": "", "reason": "the axes stand there already"})
        return
    report.finish({**record, **_gone(there, orienting, stand, going, settings, report)})


def _gone(
    there: Mapping[str, float], orienting: Orienting, stand: Stand, going: Going, settings: Settings, report: Report
) -> dict[str, Any]:
    """Go there under guard, journal and dead man; return how it ended."""
    plan = goto_plan(settings.alignment, there)
    must_own_motors(settings.alignment)
    must_go_by_itself(settings.alignment, "GotoHkl and Approve of CrystalAlignment")
    if going.dry_run:
        plan = plan.model_copy(update={"dry_run": True})
    require_writable(settings.out, "out")
    with report.progress() as advance:
        progress, journal = _driven(plan, going, settings, _following(plan, advance))
    if progress.outcome not in (Outcome.ALIGNED, Outcome.REHEARSED):
        raise DeviceError(f"not there, {progress.outcome}: {progress.reason}; see {journal}")
    stands = {axis: at for axis, at in (progress.positions or {}).items() if axis in orienting.axes}
    found: dict[str, Any] = {
        "moved": not plan.dry_run,
        "outcome": str(progress.outcome),
        "reason": "dry run: no move was made" if plan.dry_run else "all axes are there",
        "stand_deg": stands,
        "hkl_there": list(orienting.hkl_at(stands, stand.energy_kev)),
        "journal": str(journal),
    }
    report.table("", _rows(found))
    return found


def _driven(plan: Plan, going: Going, settings: Settings, told: Callable[[Progress], None]) -> tuple[Progress, Path]:
    from service.adapters.tango_beamline import TangoBeamline
    from service.alignment.dead_man import DeadMan
    from service.alignment.journal import new_name

    beamline = TangoBeamline(settings.alignment)
    require_way(plan, {axis: motor.read() for axis, motor in beamline.axes.items()})
    path = new_name(settings.out).with_suffix(".jsonl")
    with DeadMan(settings.alignment.devices, settings.alignment.dead_man_s) as dead_man:
        return driven(plan, beamline, path, going.by, going.seconds, told, dead_man.beat), path


def _following(plan: Plan, advance: Advance) -> Callable[[Progress], None]:
    """Show how much of the way is gone: of the axis that has the most left."""
    there = dict(zip(plan.axes, plan.goto, strict=True))

    def follow(progress: Progress) -> None:
        at, start = progress.positions, progress.start
        if at is None or start is None:
            return
        left = max(abs(to - at[axis]) / max(abs(to - start[axis]), ROUNDING_DEG) for axis, to in there.items())
        advance("going, " + ", ".join(f"{axis} {at[axis]:.4f}" for axis in there), max(0.0, 1.0 - left))

    return follow


def _standing(orienting: Orienting, stand: Stand, settings: Settings) -> dict[str, float]:
    """Return where all axes stand: as a person says, else the motors, else the settings."""
    told = dict(map(_angle, stand.angles))
    devices = settings.alignment.devices
    asked = {axis: devices[axis] for axis in orienting.axes if axis in devices and axis not in told}
    if asked:
        from service.adapters.tango import AxisPositions

        return orienting.standing({**AxisPositions(asked)(), **told})
    return orienting.standing(told)


def _angle(text: str) -> tuple[str, float]:
    axis, _, angle = text.partition("=")
    try:
        return axis.strip(), float(angle)
    except ValueError:
        raise SettingsError(f"--angle {text!r}: expected AXIS=DEGREES, such as theta=12.5") from None


def _positions(
    orienting: Orienting, hkl: Hkl, axes_deg: Mapping[str, float], stand: Stand, settings: Settings
) -> list[Position]:
    limits_deg = orienting.limits(settings.alignment.axes, axes_deg)
    return orienting.positions(hkl, axes_deg, stand.energy_kev, limits_deg)


# What is said


def _of_kept(number: int, kept: Kept) -> dict[str, Any]:
    found = kept.reflection
    return {
        "number": number, "hkl": list(found.hkl), "tag": found.tag, "axes_deg": dict(kept.axes_deg),
        "circles_deg": dict(found.angles_deg), "energy_kev": found.energy_kev, "added": kept.added.isoformat(),
    }  # fmt: skip


def _two_theta(orienting: Orienting, kept: Kept) -> dict[str, Any]:
    """2 theta as found and as the lattice says, which a person compares before anything is fitted."""
    found = kept.reflection
    try:
        expected_deg: float | None = two_theta_deg(orienting.lattice, found.hkl, found.energy_kev)
    except BraggloopError:  # no lattice yet, or one in which it cannot diffract: it is kept all the same
        expected_deg = None
    return {"two_theta_deg": found.two_theta_deg, "lattice_two_theta_deg": expected_deg}


def _of_position(position: Position) -> dict[str, Any]:
    return {
        "axes_deg": dict(position.axes_deg),
        "circles_deg": dict(position.circles_deg),
        "travel_deg": position.travel_deg,
    }


def _ways(position: Position, axes_deg: Mapping[str, float]) -> Rows:
    ways = [(axis, f"{axes_deg[axis]:10.4f} -> {to:10.4f} deg") for axis, to in position.axes_deg.items()]
    return [*ways, ("You's circles", _said(position.circles_deg))]


def _show(orienting: Orienting, orientation: Orientation, report: Report) -> None:
    found, lattice, fits = orientation.reflections, orientation.lattice, orienting.current(orientation)
    record = {
        "crystal": lattice.name,
        "system": lattice.system,
        "cell": list(lattice.cell),
        "energy_kev": orientation.energy_kev,
        "wavelength_angstrom": orientation.wavelength_angstrom,
        "u": orientation.u.tolist(),
        "ub_per_angstrom": orientation.ub.tolist(),
        "reflections": [reflection.label for reflection in found],
        "residuals_deg": list(orientation.residuals_deg),
        "two_theta_offsets_deg": list(orientation.two_theta_offsets_deg),
        "of_all_reflections": fits,
        "file": str(orienting.file),
    }
    report.table(f"{lattice.name}, {lattice.system}", _rows({"cell": record["cell"]}))
    report.table("U, You's frame", _matrix(record["u"]))
    report.table("UB, 1/angstrom with 2 pi", _matrix(record["ub_per_angstrom"]))
    report.table(
        "reflections",
        [
            (label, f"residual {residual:.4f} deg, 2 theta off by {offset:+.4f} deg")
            for label, residual, offset in zip(
                record["reflections"], record["residuals_deg"], record["two_theta_offsets_deg"], strict=True
            )
        ],
    )
    report.table("", _rows({name: record[name] for name in ("energy_kev", "wavelength_angstrom", "file")}))
    if not fits:
        report.note("reflections were added or removed since: 'braggloop orient fit' takes them all")
    report.finish(record)


def _matrix(rows: Any) -> Rows:
    return [("", "  ".join(f"{number: .6f}" for number in row)) for row in rows]


def _rows(record: Mapping[str, Any]) -> Rows:
    return [(name, _said(value)) for name, value in record.items()]


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_said(part)}" for name, part in value.items())
    if isinstance(value, list):
        return " ".join(map(_said, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
