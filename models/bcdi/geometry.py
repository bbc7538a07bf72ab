"""From voxel of a rocking scan to momentum transfer, and from there to the voxel of the object.

Everything is in the NeXus laboratory frame (z along the beam, y up) unless a name says otherwise; q in 1/angstrom with
the 2 pi. Volumes are [z = rocking, y = row, x = column], pixel centres lie at whole indices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.bcdi.diffractometer import BEAM, MNEMONICS, Diffractometer, chain, diffractometer, rotation

HC_KEV_ANGSTROM = 12.398419843320026  # CODATA 2018, exact
ANGSTROM_PER_NM = 10.0

# What an X-ray diffractometer can be; outside it a unit was mistaken (eV for keV, mm for m, um for m).
ENERGY_KEV = (1.0, 200.0)
DISTANCE_M = (0.01, 100.0)
PIXEL_SIZE_M = (1e-7, 1e-2)
# Encoders jitter, but half a step off the straight line puts a frame where its neighbour belongs.
UNEVEN_STEPS = 0.5
# A motor read-back this close to zero stands at zero.
PARKED_DEG = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """One rocking scan: instrument, fixed angles, rocking angles.

    `instrument` names a diffractometer known to `diffractometer()` ('34-ID-C', 'ID01') or 'general' with `axes`.
    `angles_deg` maps every axis that stood still -> degrees; `rocking_axis` names the one that moved and `rocking_deg`
    (n_frames,) its angle at each frame. `pixel_size_m` is (height of a row, width of a column). `beam_center_px` is the
    pixel (row, column) that the direct beam hits at zero detector angles, None where unknown (then the detector arm
    points at the centre of the detector); `beam_center_assumed` where nobody measured it.
    """

    instrument: str
    energy_kev: float
    distance_m: float
    pixel_size_m: tuple[float, float]
    beam_center_px: tuple[float, float] | None
    angles_deg: Mapping[str, float]
    rocking_axis: str
    rocking_deg: NDArray[np.float64]
    axes: Mapping[str, Any] | None = None
    beam_center_assumed: bool = False


def parse_geometry(
    *,
    instrument: str,
    energy_kev: Any,
    distance_m: Any,
    pixel_size_m: Any,
    angles_deg: Mapping[str, Any],
    rocking_axis: str,
    rocking_deg: Any,
    beam_center_px: Any = None,
    axes: Mapping[str, Any] | None = None,
    beam_center_assumed: bool = False,
) -> Geometry:
    """Build a checked geometry from what a file or a stream says; None stands for a missing value.

    `pixel_size_m` is one number or (row, column); names that SPEC gives to circles ('th', 'del', 'gam') are understood.
    Raises ValueError in one line that names what is missing or impossible.
    """
    pixel = _numbers("pixel_size_m", pixel_size_m, 2 if np.size(pixel_size_m) == 2 else 1)
    geometry = Geometry(
        instrument=instrument,
        energy_kev=_numbers("energy_kev", energy_kev, 1)[0],
        distance_m=_numbers("distance_m", distance_m, 1)[0],
        pixel_size_m=(pixel[0], pixel[-1]),
        beam_center_px=None if beam_center_px is None else _pair(_numbers("beam_center_px", beam_center_px, 2)),
        angles_deg={
            MNEMONICS.get(name, name): _numbers(f"angle {name}", angle, 1)[0] for name, angle in angles_deg.items()
        },
        rocking_axis=MNEMONICS.get(rocking_axis, rocking_axis),
        rocking_deg=np.array(_numbers("rocking_deg", rocking_deg, np.size(rocking_deg))),
        axes=axes,
        beam_center_assumed=beam_center_px is None or beam_center_assumed,
    )
    check_geometry(geometry)
    return geometry


def check_geometry(geometry: Geometry) -> None:
    """Raise ValueError in one line where the geometry lacks an angle, holds NaN or cannot be."""
    _check_range("energy_kev", geometry.energy_kev, ENERGY_KEV)
    _check_range("distance_m", geometry.distance_m, DISTANCE_M)
    for size in geometry.pixel_size_m:
        _check_range("pixel_size_m", size, PIXEL_SIZE_M)
    if geometry.beam_center_px is not None and not np.all(np.isfinite(geometry.beam_center_px)):
        raise ValueError(f"beam_center_px must be finite, got {geometry.beam_center_px}")
    _check_circles(geometry)
    _check_rocking(geometry)


def _check_circles(geometry: Geometry) -> None:
    instrument = described(geometry)
    sample = [circle.name for circle in instrument.sample]
    if geometry.rocking_axis not in sample:
        raise ValueError(f"rocking axis {geometry.rocking_axis!r} is not a sample circle: expected {', '.join(sample)}")
    still = {*sample, *(circle.name for circle in instrument.detector)} - {geometry.rocking_axis}
    missing = sorted(still - instrument.optional - set(geometry.angles_deg))
    if missing:
        raise ValueError(f"angles of {', '.join(missing)} are missing for {instrument.name}")
    for name in sorted(still & set(geometry.angles_deg)):
        _check_range(f"angle {name}", geometry.angles_deg[name], (-360.0, 360.0))
    for name in sorted(instrument.parked & set(geometry.angles_deg)):
        if not abs(geometry.angles_deg[name]) <= PARKED_DEG:
            raise ValueError(
                f"{name} of {instrument.name} is not modelled: expected 0, got {geometry.angles_deg[name]}"
            )


def _check_rocking(geometry: Geometry) -> None:
    angles = geometry.rocking_deg
    if angles.ndim != 1 or len(angles) < 2:
        raise ValueError(f"a rocking curve needs at least two angles, got shape {angles.shape}")
    if not np.all(np.isfinite(angles)):
        raise ValueError(f"{np.count_nonzero(~np.isfinite(angles))} of {len(angles)} rocking angles are not finite")
    step = rocking_step_deg(geometry)
    line = angles.mean() + step * (np.arange(len(angles)) - (len(angles) - 1) / 2)
    worst = float(np.abs(angles - line).max())
    if step == 0.0 or worst > UNEVEN_STEPS * abs(step):
        raise ValueError(f"rocking steps are uneven: mean step {step:.3g} deg, up to {worst:.3g} deg off the line")


def _check_range(name: str, value: float, bounds: tuple[float, float]) -> None:
    if not bounds[0] <= value <= bounds[1]:
        raise ValueError(f"{name} must lie between {bounds[0]:g} and {bounds[1]:g}, got {value!r}")


def _numbers(name: str, value: Any, count: int) -> list[float]:
    """`value` as a list of `count` floats; ValueError where it is missing or something else."""
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numeric, got {value!r}") from error
    if value is None or numbers.size != count or count == 0:
        raise ValueError(f"{name} must be {count or 'at least one'} number(s), got {value!r}")
    return [float(number) for number in numbers.ravel()]


def _pair(numbers: list[float]) -> tuple[float, float]:
    first, second = numbers
    return (first, second)


def momentum_transfer(
    geometry: Geometry, index: ArrayLike, shape: tuple[int, int, int] | None = None
) -> NDArray[np.float64]:
    """Q = k_out - k_in (..., 3) in 1/angstrom at voxels `index` (..., 3) as (z, y, x), fractions allowed.

    The laboratory Q of a pixel does not depend on z. `shape` of the whole detector's volume is needed only where the
    beam centre is unknown. Raises ValueError where the geometry is impossible.
    """
    ray = _ray(geometry, np.asarray(index, dtype=np.float64), shape)
    unit = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    transfer: NDArray[np.float64] = wavenumber(geometry) * (unit - BEAM)
    return transfer


def crystal_momentum_transfer(
    geometry: Geometry, index: ArrayLike, frame: float, shape: tuple[int, int, int] | None = None
) -> NDArray[np.float64]:
    """Q (..., 3) in 1/angstrom at voxels `index` (..., 3), turned with the crystal to its attitude at `frame`.

    Here z matters: the crystal's reciprocal space is sampled along arcs about the rocking axis, on the curved Ewald
    sphere. Both curves are exact; `reciprocal_basis` is the tangent of this map at the peak.
    """
    index = np.asarray(index, dtype=np.float64)
    turned_deg = rocking_angle(geometry, frame) - rocking_angle(geometry, index[..., 0])
    turns = rotation(rocking_direction(geometry), turned_deg)
    transfer: NDArray[np.float64] = np.einsum("...ij,...j->...i", turns, momentum_transfer(geometry, index, shape))
    return transfer


def reciprocal_basis(geometry: Geometry, peak_index: ArrayLike, shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Step of Q in 1/angstrom, float64 (3, 3): columns for one voxel along z (rocking), y (row), x (column).

    Taken at the peak; rows are laboratory x, y, z with the crystal as it stands there. The step along z comes from the
    straight line through all rocking angles, as the Fourier transform assumes even steps. Raises ValueError where the
    geometry is impossible, the steps are uneven or the three columns lie in a plane.
    """
    check_geometry(geometry)
    peak = np.asarray(peak_index, dtype=np.float64)
    if peak.shape != (3,) or not np.all((peak >= 0) & (peak <= np.array(shape) - 1)):
        raise ValueError(f"the peak must lie inside the volume {tuple(shape)}, got index {peak.tolist()}")
    ray = _ray(geometry, peak, shape)
    distance = float(np.linalg.norm(ray))
    unit = ray / distance
    across = np.eye(3) - np.outer(unit, unit)
    pixels = wavenumber(geometry) / distance * (across @ _pixel_steps_m(geometry))
    step_rad = np.deg2rad(rocking_step_deg(geometry))
    rocking = -step_rad * np.cross(rocking_direction(geometry), wavenumber(geometry) * (unit - BEAM))
    basis = np.column_stack([rocking, pixels])
    lengths = np.linalg.norm(basis, axis=0)
    # A millionth of a box volume: no real scan rocks so flat.
    if abs(np.linalg.det(basis)) <= 1e-6 * np.prod(lengths):
        raise ValueError(f"rocking {geometry.rocking_axis} does not sweep the Ewald sphere: Q steps lie in one plane")
    return basis


def direct_basis(reciprocal_basis: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Step in nm of one voxel of the object, float64 (3, 3): columns along z, y, x, rows laboratory x, y, z.

    Dual of the reciprocal basis for psi(q) = sum rho(r) exp(-i q.r) by an FFT of `shape`:
    direct^T reciprocal = 2 pi diag(1 / shape).
    """
    angstrom = np.linalg.inv(reciprocal_basis).T * (2.0 * np.pi / np.array(shape))
    nm: NDArray[np.float64] = angstrom / ANGSTROM_PER_NM
    return nm


def wavenumber(geometry: Geometry) -> float:
    """2 pi / wavelength in 1/angstrom."""
    return 2.0 * np.pi * geometry.energy_kev / HC_KEV_ANGSTROM


def sample_rotation(geometry: Geometry, frame: float) -> NDArray[np.float64]:
    """Rotation (3, 3) of the sample at a frame (fractions allowed), from its attitude at zero angles."""
    angles = {**geometry.angles_deg, geometry.rocking_axis: float(rocking_angle(geometry, frame))}
    return chain(described(geometry).sample, angles)


def rocking_direction(geometry: Geometry) -> NDArray[np.float64]:
    """Direction (3,) of the rocking axis in the laboratory, as the circles outside it stand."""
    circles = described(geometry).sample
    names = [circle.name for circle in circles]
    place = names.index(geometry.rocking_axis)
    direction: NDArray[np.float64] = chain(circles[:place], geometry.angles_deg) @ np.array(circles[place].direction)
    return direction


def rocking_angle(geometry: Geometry, frame: ArrayLike) -> NDArray[np.float64]:
    """Rocking angle in degrees at frames (...,), fractions allowed; beyond the scan it goes on with the mean step."""
    frame = np.asarray(frame, dtype=np.float64)
    last = len(geometry.rocking_deg) - 1
    inside = np.interp(frame, np.arange(last + 1), geometry.rocking_deg)
    angle: NDArray[np.float64] = inside + (frame - np.clip(frame, 0, last)) * rocking_step_deg(geometry)
    return angle


def rocking_step_deg(geometry: Geometry) -> float:
    """Slope of the straight line through the rocking angles, degrees a frame."""
    frames = np.arange(len(geometry.rocking_deg), dtype=np.float64)
    frames -= frames.mean()
    return float(frames @ geometry.rocking_deg / (frames @ frames))


def described(geometry: Geometry) -> Diffractometer:
    """The diffractometer of this geometry."""
    return diffractometer(geometry.instrument, geometry.axes)


def crop_geometry(geometry: Geometry, start: tuple[int, int, int], shape: tuple[int, int, int]) -> Geometry:
    """Geometry of the crop that begins at voxel `start` (z, y, x) with `shape`; either may reach beyond the volume."""
    row, column = _known_center(geometry, None)
    return replace(
        geometry,
        beam_center_px=(row - start[1], column - start[2]),
        rocking_deg=rocking_angle(geometry, start[0] + np.arange(shape[0])),
    )


def bin_geometry(geometry: Geometry, factors: tuple[int, int, int]) -> Geometry:
    """Geometry after summing blocks of `factors` (z, y, x) voxels; frames of an unfinished block are dropped."""
    along_z, along_y, along_x = factors
    row, column = _known_center(geometry, None)
    whole = len(geometry.rocking_deg) // along_z * along_z
    return replace(
        geometry,
        pixel_size_m=(geometry.pixel_size_m[0] * along_y, geometry.pixel_size_m[1] * along_x),
        beam_center_px=((row - (along_y - 1) / 2) / along_y, (column - (along_x - 1) / 2) / along_x),
        rocking_deg=geometry.rocking_deg[:whole].reshape(-1, along_z).mean(axis=1),
    )


def center_beam(geometry: Geometry, detector_shape: tuple[int, int]) -> Geometry:
    """Geometry with a known beam centre: its own, or the middle of a detector of (rows, columns)."""
    return replace(geometry, beam_center_px=_known_center(geometry, (1, *detector_shape)))


def _known_center(geometry: Geometry, shape: tuple[int, int, int] | None) -> tuple[float, float]:
    if geometry.beam_center_px is not None:
        return geometry.beam_center_px
    if shape is None:
        raise ValueError("the beam centre is unknown and so is the detector's shape: give one of them")
    return ((shape[1] - 1) / 2, (shape[2] - 1) / 2)


def _ray(geometry: Geometry, index: NDArray[np.float64], shape: tuple[int, int, int] | None) -> NDArray[np.float64]:
    """Vectors (..., 3) in m from the sample to the pixels of `index` (..., 3)."""
    arm = chain(described(geometry).detector, geometry.angles_deg)
    offset_px = index[..., 1:] - np.array(_known_center(geometry, shape))
    ray: NDArray[np.float64] = geometry.distance_m * (arm @ BEAM) + offset_px @ _pixel_steps_m(geometry).T
    return ray


def _pixel_steps_m(geometry: Geometry) -> NDArray[np.float64]:
    """Laboratory steps (3, 2) in m of one pixel along a column of pixels (row + 1) and along a row (column + 1)."""
    instrument = described(geometry)
    directions = np.column_stack([instrument.row, instrument.column])
    steps: NDArray[np.float64] = chain(instrument.detector, geometry.angles_deg) @ directions * geometry.pixel_size_m
    return steps
