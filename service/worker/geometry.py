"""The geometry of a series: from what the stream and the settings say to a checked Geometry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.bcdi.diffractometer import MNEMONICS
from models.bcdi.geometry import HC_KEV_ANGSTROM, Geometry, parse_geometry
from service.errors import GeometryError
from service.records import SeriesStart
from service.settings import GeometrySettings

Positions = Mapping[str, NDArray[np.float64]]

# An axis that strays by less than this, or by less than this share of the widest one, only jitters.
STILL_DEG = 1e-4
STILL_SHARE = 1e-3
FULL_TURN_DEG = 360.0


def geometry_of(start: SeriesStart, positions: Positions, settings: GeometrySettings) -> Geometry:
    """Build the geometry of a series from its start and the positions of its frames.

    `positions` maps axis -> float64 (frames,) in image order, NaN for a frame that is missing: its angle is taken from
    the straight line through the others. Fixed angles come from the frames, else from `start.user_data`, else from the
    settings; all else from the start, else from the settings. Raises GeometryError in one line.
    """
    user, header = start.user_data, start.header
    instrument = str(user.get("instrument", settings.instrument))
    measured = {_axis(name): values for name, values in positions.items()}
    rocking = _rocking_axis(_said_axis(user.get("rocking_axis")) or _axis(settings.rocking_axis), measured)
    still = {name: float(np.nanmean(values)) for name, values in measured.items() if name != rocking}
    facts = {
        "energy_kev": _known(user.get("energy_kev"), _energy_kev(header), settings.energy_kev),
        "distance_m": _known(user.get("distance_m"), _translation_m(header), settings.distance_m),
        "pixel_size_m": _known(_pair(header, "pixel_size"), settings.pixel_size_m),
    }
    if missing := [f"geometry.{name}" for name, value in facts.items() if value is None]:
        raise GeometryError(f"neither the scan nor the settings tell {', '.join(missing)}; give it with --settings")
    center, assumed = _beam_center(start, settings)
    try:
        return parse_geometry(
            **facts,
            instrument=instrument,
            angles_deg=_zeros(header.get("goniometer"))
            | _told_angles(settings.angles_deg)
            | _fixed_angles(user)
            | still,
            rocking_axis=rocking,
            rocking_deg=fill_missing(measured[rocking]),
            beam_center_px=center,
            beam_center_assumed=assumed,
            axes=_axes(user, instrument, settings),
        )
    except ValueError as error:
        raise GeometryError(str(error)) from error


def goniometer_positions(goniometer: Any, count: int) -> dict[str, NDArray[np.float64]]:
    """Angles that DECTRIS' `goniometer` field announces: axis -> start + increment * image (frames,), degrees.

    An axis that starts at 0 and does not move is one that nobody set.
    """
    return {
        name: start + increment * np.arange(count, dtype=np.float64)
        for name, (start, increment) in _announced(goniometer).items()
        if start or increment
    }


def _zeros(goniometer: Any) -> dict[str, float]:
    """Axes of `goniometer` that nobody set: at 0, unless something else is known."""
    return {_axis(name): 0.0 for name, announced in _announced(goniometer).items() if not any(announced)}


def _announced(goniometer: Any) -> dict[str, tuple[float, float]]:
    """Axis -> start and increment, degrees; without what cannot be read."""
    if not isinstance(goniometer, Mapping):
        return {}
    return {
        name: (axis["start"], axis["increment"])
        for name, axis in goniometer.items()
        if isinstance(axis, Mapping) and all(_is_angle(axis.get(key)) for key in ("start", "increment"))
    }


def _is_angle(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= FULL_TURN_DEG


def fill_missing(angles_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    """Put NaN on the straight line through the other angles (frames,); raise GeometryError below two of them."""
    known = np.isfinite(angles_deg)
    if known.sum() < 2:
        raise GeometryError(f"{known.sum()} rocking angles in {len(angles_deg)} frames, expected at least two")
    index = np.arange(len(angles_deg))
    line = np.polynomial.Polynomial.fit(index[known], angles_deg[known], 1)
    return np.where(known, angles_deg, line(index))


def _rocking_axis(said: str, measured: Positions) -> str:
    spans = {name: float(np.nanmax(values) - np.nanmin(values)) for name, values in measured.items()}
    if said:
        if spans.get(said, 0.0) <= STILL_DEG:
            state = "stood still" if said in spans else f"is not told: frames tell {_names(spans)}"
            raise GeometryError(f"the rocking axis {said!r} {state}")
        return said
    threshold = max(STILL_DEG, STILL_SHARE * max(spans.values(), default=0.0))
    moving = [name for name, span in spans.items() if span > threshold]
    if not measured:
        raise GeometryError(
            "no angles: no frame tells where an axis stood, expected at least the rocking axis in each;"
            " docs/reference says where they are looked for"
        )
    if len(moving) != 1:
        raise GeometryError(
            f"frames tell positions of {_names(measured)}, of which {_names(moving)} moved:"
            " expected one, name it in user_data.rocking_axis"
        )
    return moving[0]


def _fixed_angles(user: Mapping[str, Any]) -> dict[str, Any]:
    angles = user.get("positions", {})
    if not isinstance(angles, Mapping):
        raise GeometryError(f"user_data.positions is {type(angles).__name__}, expected a map axis -> degrees")
    return _told_angles(angles)


def _told_angles(angles_deg: Mapping[Any, Any]) -> dict[str, Any]:
    return {_axis(name): angle for name, angle in angles_deg.items()}


def _axes(user: Mapping[str, Any], instrument: str, settings: GeometrySettings) -> Mapping[str, Any] | None:
    axes = user.get("axes")
    if axes is not None and not isinstance(axes, Mapping):
        raise GeometryError(f"user_data.axes is {type(axes).__name__}, expected a map; see docs/reference/stream.md")
    if axes is None and settings.axes is not None and instrument.lower() == "general":
        return settings.axes.model_dump()
    return axes


def _energy_kev(header: Mapping[str, Any]) -> float | None:
    energy_ev, wavelength_angstrom = header.get("incident_energy"), header.get("incident_wavelength")
    if isinstance(energy_ev, int | float):
        return energy_ev / 1000
    if isinstance(wavelength_angstrom, int | float) and wavelength_angstrom > 0:
        return HC_KEV_ANGSTROM / wavelength_angstrom
    return None


def _translation_m(header: Mapping[str, Any]) -> float | None:
    """Distance from DECTRIS' `detector_translation` (x, y, z in m; z counts against the beam, or along it).

    None where nobody set it: it is 0 then.
    """
    match header.get("detector_translation"):
        case [_, _, int() | float() as z] if z != 0:
            return abs(z)
    return None


def _beam_center(start: SeriesStart, settings: GeometrySettings) -> tuple[Any, bool]:
    """Pixel (row, column), None where unknown, and whether it is but assumed: what was measured comes first."""
    said, assumed = _pair(start.header, "beam_center"), start.user_data.get("beam_center_assumed") is True
    told = None if said == (0, 0) else said  # detectors that nobody told it say so
    measured = _known(None if assumed else told, settings.beam_center_px)
    return _known(measured, told), measured is None


def _pair(header: Mapping[str, Any], name: str) -> Any:
    row, column = header.get(f"{name}_y"), header.get(f"{name}_x")
    return None if row is None or column is None else (row, column)


def _known(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _said_axis(name: Any) -> str:
    if name is not None and not isinstance(name, str):
        raise GeometryError(f"user_data.rocking_axis is {type(name).__name__}, expected the name of an axis")
    return _axis(name or "")


def _axis(name: Any) -> str:
    return MNEMONICS.get(str(name), str(name))


def _names(axes: Any) -> str:
    return ", ".join(sorted(axes))[:80] or "none"
