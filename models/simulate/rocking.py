"""Frames of a rocking scan out of one pattern: what the detector sees when motors stand elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.bcdi.geometry import Geometry, momentum_transfer, reciprocal_basis, rocking_step_deg, sample_rotation

Triple = tuple[int, int, int]


def pattern_shift(
    reference: Geometry, positions: Mapping[str, float], index: Triple, shape: Triple
) -> NDArray[np.float64]:
    """Where in the reference scan's volume the detector looks when the axes stand at `positions`.

    Returns (3,) in voxels (z, y, x), to be added to (index z, row, column) for every pixel; `index` is the voxel of the
    Bragg peak in the reference scan. Axes that `positions` lacks stand as in the reference. Rocking is exact along
    the scan's own axis; other axes enter through the exact rotation of Q at the peak, translated as a whole.
    """
    z = index[0]
    rocking = reference.rocking_axis
    here = {name: float(positions.get(name, angle)) for name, angle in reference.angles_deg.items()}
    actual = replace(reference, angles_deg=here)
    # Q of the detector pixel in the frame of the crystal, turned to the crystal's attitude in the reference scan.
    turn = sample_rotation(reference, z) @ sample_rotation(actual, z).T
    aside = turn @ momentum_transfer(actual, index, shape) - momentum_transfer(reference, index, shape)
    shift = np.linalg.solve(reciprocal_basis(reference, index, shape), aside)
    step = rocking_step_deg(reference)
    angle = positions.get(rocking, float(reference.rocking_deg[z]))
    return np.asarray(shift + np.array([(angle - reference.rocking_deg[z]) / step, 0.0, 0.0]))


def sample_frame(
    intensity: NDArray[np.float32], finer: int, start: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Cut one frame [row, column] out of an intensity [z, y, x] with `finer` samples a voxel, float32.

    `start` (z, row, column) is where pixel (0, 0) lies, in voxels. Between samples the intensity is interpolated
    linearly; outside the volume it is zero, as nothing is known there.
    """
    samples = np.asarray(start, dtype=np.float64) * finer
    first = np.floor(samples + 1e-6).astype(np.int64)
    rest = np.clip(samples - first, 0.0, 1.0)
    frame = np.zeros(shape, dtype=np.float32)
    for corner in np.ndindex(2, 2, 2):
        weight = float(np.prod(np.where(corner, rest, 1.0 - rest)))
        if weight > 1e-6:
            frame += np.float32(weight) * _plane(intensity, finer, first + corner, shape)
    return frame


def _plane(
    intensity: NDArray[np.float32], finer: int, first: NDArray[np.int64], shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Every `finer`-th sample of one plane from sample `first` (z, y, x) on, zero outside the volume."""
    frame = np.zeros(shape, dtype=np.float32)
    if not 0 <= first[0] < len(intensity):
        return frame
    source, target = [], []
    for begin, length, available in zip(first[1:], shape, intensity.shape[1:], strict=True):
        low = max(0, -(begin // finer))  # pixels before the volume
        high = min(length, -(-(available - begin) // finer))
        source.append(slice(begin + finer * low, begin + finer * max(low, high), finer))
        target.append(slice(low, max(low, high)))
    frame[tuple(target)] = intensity[first[0]][tuple(source)]
    return frame
