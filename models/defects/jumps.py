"""Where the phase of a crystal jumps or winds without a line running through: ribbons and planes of fault, small loops.

A plane of stacking fault shifts what lies beyond it by a third of a period, a ribbon does so up to where it ends; a
loop of a few voxels winds around itself, too short to be told as a line. A perfect crystal does neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects, median_filter
from scipy.spatial import cKDTree

from models.defects.vortices import MOST_PIERCED, Vortex, connected, pierced, wrapped

# From one voxel to the next, against the median of so many steps along the axis, rad: strain is smooth, a third of a
# period is more, also where an image spreads it over two steps.
JUMP_RAD, STEPS = 0.8, 5
# Nearer to the surface phases are noise, but of small crystals no more than this share of the inner radius is left out;
# nearer to a line they jump and wind for its sake.
DEEP_VOXELS, DEEPEST = 2.0, 0.5
BESIDE_VOXELS = 3.0
# So few voxels make no plane; what is that near to them is theirs.
FEWEST, NEAR_VOXELS = 4, 1.5


class Jumps(NamedTuple):
    """Of the phase deep in a crystal, away from its lines: `area` of what it jumps across, as a share of the
    cross-section of a sphere as large; `across` the share of the plane through these voxels that they fill, 0 where
    they are FEWEST or fewer; `wound` the most faces of voxels next to each other around which it winds.
    """

    area: float
    across: float
    wound: int


# Of a perfect crystal, and of where nothing can be told.
SMOOTH = Jumps(0.0, 0.0, 0)


def jumps(object_: NDArray[np.complex64], body: NDArray[np.bool_], lines: Sequence[Vortex] = ()) -> Jumps:
    """Return what the phase of `object_` complex64 [z, y, x] does within `body` bool, where the crystal is, away from
    its `lines`. A phase that is noise jumps and winds everywhere: nothing is told of it.
    """
    if not body.any():
        return SMOOTH
    box = find_objects(body.astype(np.int8))[0]
    depth = distance_transform_edt(np.pad(body[box], 1))[1:-1, 1:-1, 1:-1]
    deep = depth > min(DEEP_VOXELS, DEEPEST * float(depth.max()))
    # That of a sphere of this volume.
    section = np.pi * (0.75 * np.count_nonzero(deep) / np.pi) ** (2.0 / 3.0)
    corner = np.array([part.start for part in box])
    deep &= ~_beside([line.points - corner for line in lines], deep.shape)
    phase = np.angle(object_[box])
    starts, ends = pierced(phase, deep)
    if len(starts) > MOST_PIERCED * np.count_nonzero(deep):
        return SMOOTH
    jumping = [_jumping(phase, deep, axis) for axis in range(3)]
    # A plane is as large as what it covers, seen along the axes, together.
    seen = [np.count_nonzero(along.any(axis)) for axis, along in enumerate(jumping)]
    return Jumps(
        area=float(np.linalg.norm(seen) / section),
        across=_share_of_plane(np.argwhere(np.logical_or.reduce(jumping)), np.argwhere(deep)),
        wound=max((len(piece) for piece, _ in connected(starts, ends)), default=0),
    )


def _jumping(phase: NDArray[np.float32], deep: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """Return the voxels, bool [z, y, x], from which the phase jumps to the next along an axis, both of them `deep`."""
    before = tuple(slice(None, -1) if n == axis else slice(None) for n in range(3))
    after = tuple(slice(1, None) if n == axis else slice(None) for n in range(3))
    step = wrapped(phase[after] - phase[before])
    usual = median_filter(step, [STEPS if n == axis else 1 for n in range(3)], mode="nearest")
    found = np.zeros(deep.shape, bool)
    found[before] = deep[before] & deep[after] & (np.abs(wrapped(step - usual)) > JUMP_RAD)
    return found


def _beside(lines: Sequence[NDArray[np.float64]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the voxels near points (n, 3) of lines, bool of `shape`."""
    away = np.ones(shape, bool)
    for points in lines:
        nearest = np.clip(np.rint(points).astype(int), 0, np.array(shape) - 1)
        away[tuple(nearest.T)] = False
    return np.asarray(distance_transform_edt(away) <= BESIDE_VOXELS if lines else ~away)


def _share_of_plane(jumping: NDArray[np.int64], deep: NDArray[np.int64]) -> float:
    """Return how much of the plane through the points `jumping` (n, 3) is near to them, of what `deep` (m, 3) has."""
    if len(jumping) <= FEWEST:
        return 0.0
    middle = jumping.mean(0)
    normal = np.linalg.svd(jumping - middle, full_matrices=False)[2][2]
    on_plane = deep[np.abs((deep - middle) @ normal) < 0.5]
    if not len(on_plane):
        return 0.0
    return float(np.mean(cKDTree(jumping).query(on_plane, distance_upper_bound=NEAR_VOXELS)[0] < NEAR_VOXELS))
