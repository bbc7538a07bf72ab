"""Repeated scans of one crystal: checked to be that, aligned and summed to one longer exposure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from models.bcdi.combine import CombinedScan, combine_scans, shifted
from models.bcdi.corrections import efficiency, find_hot_pixels, saturation_level
from models.bcdi.geometry import PARKED_DEG, UNEVEN_STEPS, Geometry, rocking_step_deg
from models.layouts import chip_edges, chosen_layout
from service.adapters.scans.plane import detector_planes
from service.errors import DataError, GeometryError, raised_as
from service.records import Accounting, Volume
from service.results.durable import digest
from service.settings import DetectorSettings, Settings

# Scales are known within a scan, not between scans; where a voxel is masked in some, their exposures must be alike.
EXPOSURE_TOLERANCE = 0.1
# Energies, distances and pixels are written down, not measured again: a change is meant, rounding is not.
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Summed:
    """The sum of repeated scans: `volume` in the frame of the first, `settings` without what it has used up."""

    volume: Volume
    settings: Settings
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def sum_scans(volumes: Sequence[Volume], settings: Settings) -> Summed:
    """Align repeated scans to the first and sum their counts; the frames of the result are those of the first.

    A scan that is shifted takes along what belongs to its pixels: mask, saturated voxels, flat field and dark. Raises
    GeometryError or DataError in one line where the scans differ in shape or geometry, SourceError where a mask, dark
    or flat of the settings cannot be read.
    """
    first = volumes[0]
    for other in volumes[1:]:
        _check_alike(first, other)
    scans = [_exposed(volume, settings.detector) for volume in volumes]
    combined = combine_scans(scans)
    _check_exposures(volumes, scans, combined)
    return Summed(
        volume=_summed_volume(volumes, scans, combined),
        settings=_without_planes(settings),
        notes=combined.notes,
        warnings=tuple(
            f"{volume.series_unique_id}: saturated voxels masked: {scan.saturated}; attenuate the beam"
            for volume, scan in zip(volumes, scans, strict=True)
            if scan.saturated
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exposed:
    """One scan with what belongs to its pixels: `scale` and the others [rocking, row, column], `dark` [row, column]."""

    counts: NDArray[np.float32]
    mask: NDArray[np.bool_]
    scale: NDArray[np.float32]
    dark: NDArray[np.float32] | None
    saturated: int


def _exposed(volume: Volume, detector: DetectorSettings) -> _Exposed:
    user, dark, flat = detector_planes(detector)
    dark, flat = (volume.dark if dark is None else dark), (volume.flat if flat is None else flat)
    for name, plane in (("user mask", user), ("dark", dark), ("flat field", flat)):
        if plane is not None and plane.shape != volume.counts.shape[1:]:
            raise DataError(f"{name} has shape {plane.shape}, frames {volume.counts.shape[1:]}")
    relative, usable = _efficiency(flat)
    mask = volume.mask & usable & (np.True_ if user is None else user.astype(bool))
    if chips := chosen_layout(detector.chip_layout, volume.counts.shape[1:]):
        mask &= chip_edges(volume.counts.shape[1:], chips)
    mask &= ~find_hot_pixels(volume.counts, mask)
    level = detector.saturation_counts or saturation_level(volume.counts, mask)
    below = np.True_ if level is None else volume.counts < level
    known = np.False_ if volume.saturated is None else volume.saturated
    return _Exposed(
        counts=volume.counts,
        mask=mask & below,
        scale=(volume.scale[:, None, None] * relative * np.ones_like(volume.counts)).astype(np.float32),
        dark=None if dark is None else dark.astype(np.float32),
        saturated=int(np.count_nonzero((mask & ~below) | known)),
    )


def _efficiency(flat: NDArray[np.float32] | None) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    if flat is None:
        return np.ones((1, 1), np.float32), np.ones((1, 1), np.bool_)
    with raised_as(DataError):
        return efficiency(flat.astype(np.float32))


def _summed_volume(volumes: Sequence[Volume], scans: Sequence[_Exposed], combined: CombinedScan) -> Volume:
    used = [volume for volume, use in zip(volumes, combined.used, strict=True) if use]
    dark, seen = _dark_of(scans, combined)
    told = {name: value for name, value in volumes[0].metadata.items() if name != "ended_s"}
    return replace(
        volumes[0],
        series_unique_id=_name([volume.series_unique_id for volume in volumes]),
        counts=combined.counts,
        mask=combined.mask & seen,
        scale=combined.scale,
        accounting=_accounting(used),
        dark=dark,
        flat=None,
        received=None,
        working=None,
        metadata={**told, "summed": [volume.series_unique_id for volume in used]},
    )


def _dark_of(
    scans: Sequence[_Exposed], combined: CombinedScan
) -> tuple[NDArray[np.float32] | None, NDArray[np.bool_] | np.bool_]:
    """Dark [row, column] of the sum, and where it holds: in voxels that every scan saw."""
    used = [(scan, shift) for scan, shift, use in zip(scans, combined.shifts, combined.used, strict=True) if use]
    darks = [(scan.dark, shift) for scan, shift in used if scan.dark is not None]
    if not darks:
        return None, np.True_
    moved = [shifted(one[None], (0, *shift[1:]))[0] for one, shift in darks]
    dark = np.asarray(np.sum(moved, axis=0), dtype=np.float32)
    return dark, np.logical_and.reduce([shifted(scan.mask, shift) for scan, shift in used])


def _check_exposures(volumes: Sequence[Volume], scans: Sequence[_Exposed], combined: CombinedScan) -> None:
    """Raise DataError where a scan that is used counted more, or less, than the first in the voxels that both saw."""
    first = scans[0]
    for volume, scan, shift, use in zip(volumes, scans, combined.shifts, combined.used, strict=True):
        both = first.mask & shifted(scan.mask, shift)
        ratio = float(shifted(scan.counts, shift)[both].sum(dtype=np.float64) / max(first.counts[both].sum(), 1.0))
        if use and abs(ratio - 1.0) > EXPOSURE_TOLERANCE:
            raise DataError(
                f"{volume.series_unique_id} counts {ratio:.3g} times as much as {volumes[0].series_unique_id}: sum only"
                f" scans of one exposure, within {EXPOSURE_TOLERANCE:.0%}"
            )


def _accounting(volumes: Sequence[Volume]) -> Accounting:
    names = [field.name for field in fields(Accounting)]
    return Accounting(**{name: sum(getattr(volume.accounting, name) for volume in volumes) for name in names})


def _without_planes(settings: Settings) -> Settings:
    """Settings that do not mask, subtract or divide a second time what was done scan by scan."""
    done = {"mask": None, "dark": None, "flat": None, "saturation_counts": None}
    return settings.model_copy(update={"detector": settings.detector.model_copy(update=done)})


def _check_alike(first: Volume, other: Volume) -> None:
    names = f"{other.series_unique_id} does not repeat {first.series_unique_id}"
    if first.counts.shape != other.counts.shape:
        shapes = (" x ".join(map(str, volume.counts.shape)) for volume in (other, first))
        raise DataError(f"{names}: frames x rows x columns are {', expected '.join(shapes)}")
    if difference := _difference(first.geometry, other.geometry):
        raise GeometryError(f"{names}: {difference}")


def _difference(first: Geometry, other: Geometry) -> str:
    """What of the geometry differs by more than motors that come back, in words; empty where nothing does."""
    for name in ("instrument", "axes", "rocking_axis"):
        if getattr(first, name) != getattr(other, name):
            return f"{name} is {getattr(other, name)!r}, expected {getattr(first, name)!r}"
    for name in ("energy_kev", "distance_m", "pixel_size_m", "beam_center_px"):
        expected, got = getattr(first, name), getattr(other, name)
        if (expected is None) != (got is None) or (got is not None and not np.allclose(got, expected, ROUNDING)):
            return f"{name} is {got}, expected {expected}"
    for name in sorted({*first.angles_deg, *other.angles_deg}):
        expected_deg, got_deg = (angles.get(name, 0.0) for angles in (first.angles_deg, other.angles_deg))
        if abs(got_deg - expected_deg) > PARKED_DEG:
            return f"{name} stands at {got_deg:g} deg, expected {expected_deg:g}"
    away_deg = float(np.abs(other.rocking_deg - first.rocking_deg).max())
    if away_deg > UNEVEN_STEPS * abs(rocking_step_deg(first)):
        return f"{first.rocking_axis} is up to {away_deg:.3g} deg off, expected half a step at most"
    return ""


def _name(names: Sequence[str]) -> str:
    """Name the sum after its first scan; the digest tells it from its sums with others."""
    return f"{names[0]}_and_{len(names) - 1}_more_{digest(' '.join(names))}"
