"""A crystal of gold on 34-ID-C whose orientation is known, and where its reflections are found there.

Positions come from the geometry of phase retrieval (`models/bcdi/diffractometer`): theta turned until |k + Q| = |k|,
then the detector where k + Q points. Nothing of diffcalc-core or of the map to You's circles is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from models.bcdi.diffractometer import BEAM, chain, diffractometer
from models.bcdi.geometry import HC_KEV_ANGSTROM

A_ANGSTROM = 4.078


@dataclass(frozen=True, slots=True, kw_only=True)
class Crystal:
    """`u` (3, 3) turns hkl / a to q in the laboratory with the sample circles at zero."""

    u: NDArray[np.float64]
    chi_deg: float = 85.0
    phi_deg: float = -5.0
    energy_kev: float = 9.0


GOLD = Crystal(u=Rotation.from_euler("XYZ", [20.0, 15.0, 40.0], degrees=True).as_matrix())


def found_axes(crystal: Crystal, hkl: Any) -> dict[str, float]:
    """Return the axes (degrees) at which a reflection diffracts; of two thetas the one nearer to zero."""
    wavenumber = 2.0 * np.pi * crystal.energy_kev / HC_KEV_ANGSTROM
    sample = diffractometer("34-ID-C").sample
    inner = chain(sample, {"theta": 0.0, "chi": crystal.chi_deg, "phi": crystal.phi_deg})
    x, y, z = inner @ crystal.u @ np.array(hkl, dtype=float) * (2.0 * np.pi / A_ANGSTROM)
    # Turned about y by theta, z becomes z cos - x sin: it must be -|Q|^2 / 2k.
    wanted = -(x * x + y * y + z * z) / (2.0 * wavenumber)
    across, first = np.hypot(x, z), np.arctan2(x, z)
    thetas = [float(np.rad2deg(sign * np.arccos(wanted / across) - first)) for sign in (1, -1)]
    theta = min((_turned(each) for each in thetas), key=abs)
    q = chain(sample, {"theta": theta, "chi": crystal.chi_deg, "phi": crystal.phi_deg}) @ crystal.u @ np.array(hkl)
    out = wavenumber * BEAM + q * (2.0 * np.pi / A_ANGSTROM)
    assert abs(np.linalg.norm(out) - wavenumber) < 1e-9
    delta, gamma = np.arctan2(out[0], out[2]), np.arcsin(out[1] / wavenumber)
    return {
        "theta": theta, "chi": crystal.chi_deg, "phi": crystal.phi_deg,
        "delta": float(np.rad2deg(delta)), "gamma": float(np.rad2deg(gamma)),
    }  # fmt: skip


def _turned(angle_deg: float) -> float:
    return (angle_deg + 180.0) % 360.0 - 180.0
