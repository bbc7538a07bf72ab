"""Displacement and heterogeneous strain along Q from the phase of an object."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.restoration import unwrap_phase

from models.bcdi.geometry import ANGSTROM_PER_NM


def displacement_and_strain(
    object_lab: NDArray[np.complex64], support_lab: NDArray[np.bool_], q_lab: ArrayLike, voxel_nm: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Displacement along Q in nm and strain along Q, float32 [z, y, x], NaN outside the support.

    `object_lab` complex64 and `support_lab` bool [z, y, x] on cubes of `voxel_nm`; `q_lab` (3,) as (x, y, z) of the
    same frame in 1/angstrom with the 2 pi. For psi(q) = sum rho(r) exp(-i q.r) the phase is -Q.u, so u_Q = -phase / |Q|
    and strain = d u_Q / d r_Q: positive where the planes are further apart (Robinson and Harder, Nature Mater. 8, 291
    (2009)). Mean strain and mean rotation are in the phase ramp, which is taken off: what is left is heterogeneous.
    Strain is NaN too where a voxel has no neighbour to differ from. Raises ValueError where nothing is inside.
    """
    q = np.asarray(q_lab, dtype=np.float64)
    length = float(np.linalg.norm(q))
    if q.shape != (3,) or not length > 0.0 or not voxel_nm > 0.0:
        raise ValueError(
            f"expected Q of three numbers, not all zero, and a positive voxel, got {q.tolist()}, {voxel_nm}"
        )
    phase = remove_ramp(unwrap(np.angle(object_lab), support_lab), support_lab, np.abs(object_lab))
    gradient = np.stack([phase_gradient(phase, axis) for axis in range(3)], axis=-1) / voxel_nm
    nm_per_radian = -1.0 / (length * ANGSTROM_PER_NM)
    strain = nm_per_radian * (gradient @ (q[::-1] / length))
    return (nm_per_radian * phase).astype(np.float32), strain.astype(np.float32)


def unwrap(phase: NDArray[np.floating], support: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Phase without 2 pi jumps inside the support, float64 [z, y, x], NaN outside.

    Reliability sorting (Abdul-Rahman et al., Appl. Opt. 46, 6623 (2007)). Pieces of the support that do not touch keep
    an unknown multiple of 2 pi between them.
    """
    if not support.any():
        raise ValueError("the support is empty: no phase to unwrap")
    masked = np.ma.masked_array(phase.astype(np.float64), mask=~support)
    # The sorting breaks ties at random; a fixed seed keeps results equal from run to run.
    smooth = np.ma.getdata(unwrap_phase(masked, rng=0))  # type: ignore[no-untyped-call]
    unwrapped: NDArray[np.float64] = np.where(support, smooth, np.nan)
    return unwrapped


def remove_ramp(
    phase: NDArray[np.float64], support: NDArray[np.bool_], amplitude: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Phase [z, y, x] minus its least-squares plane over the support, voxels weighted by their `amplitude`, any unit.

    Errors of a reconstructed density are about equal in all voxels, so that of the phase goes with 1 / amplitude. Left
    unweighted, surface voxels (half air, and half of all voxels of a small crystal) tilt the plane, and a tilt is an
    offset of the strain everywhere.
    """
    places = np.argwhere(support)
    weight = amplitude[support].astype(np.float64)
    plane = np.column_stack([places - places.mean(axis=0), np.ones(len(places))])
    coefficients, *_ = np.linalg.lstsq(plane * weight[:, None], phase[support] * weight, rcond=None)
    flat = np.full(phase.shape, np.nan)
    flat[support] = phase[support] - plane @ coefficients
    return flat


def phase_gradient(phase: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Radians a voxel along `axis`; central in the bulk, one-sided at the surface, NaN where both neighbours are NaN.

    Each difference is wrapped into +-pi, so a 2 pi sheet that unwrapping leaves behind a dislocation is no strain.
    """
    ahead = np.diff(phase, axis=axis)
    ahead -= 2.0 * np.pi * np.round(ahead / (2.0 * np.pi))
    edge = np.full_like(np.take(phase, [0], axis=axis), np.nan)
    pair = np.stack([np.concatenate([ahead, edge], axis=axis), np.concatenate([edge, ahead], axis=axis)])
    known = np.isfinite(pair)
    count = known.sum(axis=0)
    total = np.where(known, pair, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
