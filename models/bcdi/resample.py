"""From the object's skewed grid to orthogonal laboratory and crystal grids."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

# Voxels of air around the support, so that its surface is interpolated like the rest.
MARGIN = 3
# A finer voxel than the data deserve fills the memory: 512^3 complex64 is 1 GiB.
MAX_VOXELS = 512**3

Resampled = tuple[NDArray[np.complex64], NDArray[np.bool_], float]


def to_lab(
    object_: NDArray[np.complex64],
    support: NDArray[np.bool_],
    direct_basis_nm: NDArray[np.float64],
    voxel_nm: float | None = None,
) -> Resampled:
    """Resample an object onto cubic voxels of the laboratory frame: (object_lab, support_lab, voxel_nm).

    `object_` complex64 and `support` bool, both [z, y, x] on the grid of `direct_basis_nm` (3, 3; columns are the
    laboratory steps x, y, z along z, y, x). The results are [z, y, x] along laboratory z (beam), y (up), x; their
    central voxel is the support's centre of mass, and they reach a little beyond the support. `voxel_nm` is the edge
    of the cubes; without it the shortest edge of the skewed voxel, so that no direction loses detail.

    The mean phase ramp over the support is taken off first, as trilinear interpolation dims what turns quickly.
    Raises ValueError where shapes differ, the support is empty or the grid would be huge.
    """
    if object_.shape != support.shape or object_.ndim != 3:
        raise ValueError(f"object and support must be volumes of one shape, got {object_.shape} and {support.shape}")
    if not support.any():
        raise ValueError("the support is empty: nothing to resample")
    edge = float(np.linalg.norm(direct_basis_nm, axis=0).min()) if voxel_nm is None else float(voxel_nm)
    if not np.isfinite(edge) or edge <= 0.0:
        raise ValueError(f"voxel_nm must be positive, got {edge}")
    inside = np.argwhere(support)
    middle = inside.mean(axis=0)
    # Rows of the basis are x, y, z and axes of the array z, y, x.
    steps = direct_basis_nm[::-1] / edge
    shape = _odd_box((inside - middle) @ steps.T)
    matrix = np.linalg.inv(steps)
    offset = middle - matrix @ ((np.array(shape) - 1) / 2)
    flat = remove_mean_ramp(object_, support)
    object_lab = affine_transform(flat, matrix, offset, shape, order=1, output=np.complex64)
    covered = affine_transform(support.astype(np.float32), matrix, offset, shape, order=1)
    return object_lab, covered >= 0.5, edge


def to_crystal(
    object_: NDArray[np.complex64],
    support: NDArray[np.bool_],
    direct_basis_nm: NDArray[np.float64],
    rotation: NDArray[np.float64],
    voxel_nm: float | None = None,
) -> Resampled:
    """As `to_lab`, onto axes turned by `rotation` (3, 3), from laboratory to crystal components (x, y, z).

    One interpolation from the skewed grid, not a second one from the laboratory grid. `along_q` gives the rotation
    that needs no more than Q, `along_crystal_axes` the one from an orientation matrix.
    """
    return to_lab(object_, support, rotation @ direct_basis_nm, voxel_nm)


def along_q(q_lab: ArrayLike) -> NDArray[np.float64]:
    """The smallest rotation (3, 3) that lays Q (3,), laboratory, along z: from laboratory to crystal components."""
    q = np.asarray(q_lab, dtype=np.float64)
    length = np.linalg.norm(q)
    if q.shape != (3,) or not length > 0.0:
        raise ValueError(f"Q must be three numbers, not all zero, got {q.tolist()}")
    axis = np.cross(q / length, (0.0, 0.0, 1.0))
    sine = np.hypot(axis[0], axis[1])  # a sum of squares would be lost where Q is off the beam by 1e-160 of itself
    # Where Q runs along the beam any axis across it will do: x.
    across = axis / sine if sine > 0.0 else np.array([1.0, 0.0, 0.0])
    turn: NDArray[np.float64] = Rotation.from_rotvec(across * np.arctan2(sine, q[2] / length)).as_matrix()
    return turn


def along_crystal_axes(
    ub: NDArray[np.float64], sample_rotation: NDArray[np.float64], x_hkl: ArrayLike, y_hkl: ArrayLike
) -> NDArray[np.float64]:
    """Rotation (3, 3) from laboratory components to axes along the reciprocal vectors x_hkl, y_hkl and their normal z.

    `ub` (3, 3) in 1/angstrom takes hkl to Q at zero angles (Busing and Levy, Acta Cryst. 22, 457 (1967), with the
    2 pi, laboratory frame of this package), `sample_rotation` (3, 3) turns the sample to where it was at the peak.
    y is squared up against x.
    """
    x = sample_rotation @ ub @ np.asarray(x_hkl, dtype=np.float64)
    y = sample_rotation @ ub @ np.asarray(y_hkl, dtype=np.float64)
    z = np.cross(x, y)
    lengths = np.linalg.norm(x), np.linalg.norm(y), np.linalg.norm(z)
    if not lengths[2] > 1e-6 * lengths[0] * lengths[1]:
        raise ValueError(f"crystal axes {x_hkl!r} and {y_hkl!r} are parallel or zero")
    z = z / lengths[2]
    x = x / lengths[0]
    return np.array([x, np.cross(z, x), z])


def remove_mean_ramp(object_: NDArray[np.complex64], support: NDArray[np.bool_]) -> NDArray[np.complex64]:
    """`object_` complex64 [z, y, x] without its mean phase gradient inside `support`, and with mean phase zero there.

    The gradient is the phase of the sum of products of neighbours: amplitude-weighted, and blind to phase wraps.
    """
    inside = np.where(support, object_, 0)
    flat = object_.astype(np.complex128)
    for axis, size in enumerate(object_.shape):
        ahead = np.take(inside, range(1, size), axis=axis)
        behind = np.take(inside, range(size - 1), axis=axis)
        slope = np.angle(np.vdot(behind, ahead))
        ramp = np.exp(-1j * slope * np.arange(size)).reshape([-1 if a == axis else 1 for a in range(3)])
        flat = flat * ramp
    offset = np.angle(np.sum(np.where(support, flat, 0)))
    centred: NDArray[np.complex64] = (flat * np.exp(-1j * offset)).astype(np.complex64)
    return centred


def _odd_box(points: NDArray[np.float64]) -> tuple[int, int, int]:
    """Odd shape that holds points (n, 3), in voxels from its centre, with the margin."""
    z, y, x = (2 * (np.ceil(np.abs(points).max(axis=0)).astype(int) + MARGIN) + 1).tolist()
    if z * y * x > MAX_VOXELS:
        raise ValueError(f"the orthogonal grid would be {z} x {y} x {x} voxels: give a larger voxel_nm")
    return (z, y, x)
