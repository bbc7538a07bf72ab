"""Where the crystal lies from the axis of rotation, from the positions that keep it in the beam at several angles.

The translation rides on the rotation. A crystal at `along` in its frame, along the beam at 0 degrees, stays at the
height b of the beam while

    (up + y) cos(eta) - along sin(eta) = b ,

so that the centred y changes by along / cos(eta)^2 a radian where the beam meets the axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from service.errors import DataError

# A translation that runs nearly along the beam, and angles that differ by less than rounding, tell nothing.
STEEPEST, WORST = 0.05, 1e10


class RotationCentre(NamedTuple):
    """How far the crystal lies from the axis along the beam, and the standard deviation of that, m."""

    along_m: float
    deviation_m: float


class Correction(NamedTuple):
    """Moves of the translations across and along the beam at 0 degrees, m."""

    across_m: float
    along_m: float


def correction(along_m: float, angle_deg: float) -> Correction:
    """Return the moves that bring a crystal `along_m` off the axis (in the frame, along the beam at 0 degrees) onto it.

    The translation along rides on the rotation, too: what it lifts the crystal by at `angle_deg`, the other one takes
    back, so that the crystal stays in the beam.
    """
    return Correction(-along_m * math.tan(math.radians(angle_deg)), -along_m)


def two_angles(
    positions_m: tuple[float, float], angles_deg: tuple[float, float], deviation_m: float = 0.0
) -> RotationCentre:
    """Return the distance from the axis by the two-angle method of ID01: how far the centred position moves by a turn.

    `positions_m` of the translation across the beam at which the crystal is centred at each of `angles_deg`, each known
    to `deviation_m`. Small angles between the two; the distance is that along the beam, where the crystal is. Raises
    DataError where both angles are the same.
    """
    turned = math.radians(angles_deg[1] - angles_deg[0])
    if not (math.isfinite(turned) and turned and all(map(math.isfinite, positions_m))):
        raise DataError(f"centre of rotation: angles {angles_deg} deg, positions {positions_m} m; expected two angles")
    return RotationCentre((positions_m[1] - positions_m[0]) / turned, math.sqrt(2.0) * deviation_m / abs(turned))


def several_angles(positions_m: Sequence[float], angles_deg: Sequence[float], deviation_m: float) -> RotationCentre:
    """Return the distance along the beam at 0 degrees from three angles or more, over any span: least squares.

    Nothing needs to be known of the height of the beam over the axis. Raises DataError where angles do not tell.
    """
    if len(positions_m) != len(angles_deg) or len(set(angles_deg)) < 3:
        different = f"{len(positions_m)} positions at {len(set(angles_deg))} different angles"
        raise DataError(f"centre of rotation: {different}, expected as many, and 3 or more")
    if not np.all(np.isfinite([*positions_m, *angles_deg])) or np.min(np.cos(np.radians(angles_deg))) < STEEPEST:
        raise DataError(
            f"centre of rotation: positions {list(positions_m)} m at {list(angles_deg)} deg; expected numbers, "
            "and angles at which the translation runs across the beam"
        )
    angles = np.radians(np.asarray(angles_deg, dtype=np.float64))
    # y cos = b + along sin - up cos, each row known to deviation cos
    matrix = np.stack([np.ones_like(angles), np.sin(angles), -np.cos(angles)], axis=1) / np.cos(angles)[:, None]
    if np.linalg.cond(matrix) > WORST:
        raise DataError(f"centre of rotation: angles {list(angles_deg)} deg are too close to each other to tell it")
    solved, *_ = np.linalg.lstsq(matrix, np.asarray(positions_m, dtype=np.float64), rcond=None)
    covariance = np.linalg.inv(matrix.T @ matrix) * deviation_m**2
    return RotationCentre(float(solved[1]), float(np.sqrt(covariance[1, 1])))
