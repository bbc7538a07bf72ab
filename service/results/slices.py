"""The central slices of a result, the same for the file, the picture and the live view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from service.records import Reconstruction, Repaired, Volume

SURFACE_SHARE = 0.5  # of the median amplitude
DENSER = 4  # points of lines in the live picture


def fields_of(reconstruction: Reconstruction) -> dict[str, NDArray[np.float32]]:
    """Return amplitude (its largest voxel is 1), phase (rad, wrapped) and strain, float32 [z, y, x], laboratory grid.

    Phase and strain are NaN outside the support.
    """
    inside = reconstruction.support_lab
    amplitude = np.abs(reconstruction.object_lab)
    phase = np.where(inside, np.angle(reconstruction.object_lab), np.nan)
    return {
        "amplitude": (amplitude / max(float(amplitude.max()), np.finfo(np.float32).tiny)).astype(np.float32),
        "phase": phase.astype(np.float32),
        "strain": reconstruction.strain,
    }


def bulk_of(object_lab: NDArray[np.complex64], support_lab: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the inside of the crystal, bool [z, y, x]: no surface voxels, all of the support where nothing is left.

    The surface lies where the amplitude is half of the crystal's; a voxel at it is half air, so that its phase, and the
    strain from it, is mostly noise.
    """
    amplitude = np.abs(object_lab)
    if not support_lab.any():
        return support_lab
    solid = support_lab & (amplitude >= SURFACE_SHARE * np.median(amplitude[support_lab]))
    bulk = ndimage.binary_erosion(solid)
    return np.asarray(bulk if bulk.any() else support_lab)


def centre_of(support: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Return the voxel [z, y, x] nearest to the centre of mass of `support`, the grid's middle where it is empty."""
    where = np.argwhere(support)
    z, y, x = where.mean(axis=0).round().astype(int) if len(where) else np.array(support.shape) // 2
    return int(z), int(y), int(x)


def lines_nm(reconstruction: Reconstruction) -> list[NDArray[np.float64]]:
    """Return the dislocation lines of the object, each (n, 3) along laboratory z, y, x in nm from the middle voxel of
    the laboratory grid, which is the support's centre of mass.
    """
    if reconstruction.defects is None:
        return []
    middle = np.argwhere(reconstruction.support).mean(axis=0)
    steps = reconstruction.basis_nm[::-1]
    return [(line.points - middle) @ steps.T for line in reconstruction.defects.lines]


def lines_seen(reconstruction: Reconstruction) -> NDArray[np.float32]:
    """Return the dislocation lines as one sees them through the crystal along the beam, float32 [y, x] of the
    laboratory grid: the number of the line from 1 on, the longest in front, 0 where there is none.
    """
    shape = reconstruction.object_lab.shape
    seen = np.zeros(shape[1:], np.float32)
    vortices = () if reconstruction.defects is None else reconstruction.defects.lines
    for number, (line, vortex) in reversed([*enumerate(zip(lines_nm(reconstruction), vortices, strict=True), 1)]):
        points_nm = line if vortex.closed else _dense(line)  # those of a loop are in no order
        places = (points_nm / reconstruction.voxel_nm + (np.array(shape) - 1) / 2).round().astype(int)
        inside = ((places >= 0) & (places < shape)).all(1)
        seen[tuple(places[inside, 1:].T)] = number
    return seen


def _dense(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (n, 3) between those of a line as well: voxels of the object may be longer than those of the grid."""
    between = np.linspace(0, len(line) - 1, DENSER * (len(line) - 1) + 1)
    return np.stack([np.interp(between, np.arange(len(line)), along) for along in line.T], 1)


def central_slices(reconstruction: Reconstruction) -> dict[str, NDArray[np.float32]]:
    """Return 'amplitude', 'phase', 'strain' and 'displacement' (nm) -> float32 [y, x], across the beam through the
    crystal's centre, and 'defect_lines' where somebody looked for them.
    """
    z, _, _ = centre_of(reconstruction.support_lab)
    fields = fields_of(reconstruction) | {"displacement": reconstruction.displacement_nm}
    slices = {name: np.ascontiguousarray(field[z]) for name, field in fields.items()}
    return slices if reconstruction.defects is None else slices | {"defect_lines": lines_seen(reconstruction)}


def measured_window(reconstruction: Reconstruction, volume: Volume) -> tuple[slice, slice, slice]:
    """Return the part of the measured volume [z, y, x] that was inverted; a crop may reach beyond what was measured."""
    crop = reconstruction.crop
    z, y, x = (
        slice(max(int(start), 0), min(int(stop), size))
        for start, stop, size in zip(crop["start"], crop["stop"], volume.counts.shape, strict=True)
    )
    return z, y, x


def brightest_frame(reconstruction: Reconstruction, volume: Volume) -> NDArray[np.float32]:
    """Return the measured counts of the crop's brightest frame, float32 [row, column], NaN where they are not good."""
    window = measured_window(reconstruction, volume)
    counts, mask = volume.counts[window], volume.mask[window]
    brightest = int(counts.sum(axis=(1, 2), where=mask).argmax())
    return np.where(mask[brightest], counts[brightest], np.nan).astype(np.float32)


def before_and_after(repaired: Repaired | None) -> dict[str, NDArray[np.float32]]:
    """Return 'measured' and 'repaired' -> counts float32 [row, column] of the crop's brightest frame, NaN where nothing
    is known; empty where no network was asked.
    """
    if repaired is None or repaired.measured is None or repaired.shown is None:
        return {}
    brightest = int(np.nansum(repaired.measured, axis=(1, 2)).argmax())
    return {
        "measured": np.ascontiguousarray(repaired.measured[brightest]),
        "repaired": np.ascontiguousarray(repaired.shown[brightest]),
    }
