"""Beams of other shapes than the one whose profile is fitted, by off-centre distance in widths at half height."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.simulate.goniometer import Profile

SINC_HALF = 0.8859  # width at half height of sinc(u)^2, in u
EDGE = 6.0  # the exponent of a flat top: steep edges


def gaussian(off: ArrayLike) -> NDArray[np.float64]:
    """Without tails."""
    return np.asarray(np.exp(-4.0 * math.log(2.0) * np.square(np.asarray(off, dtype=np.float64))))


def slit(off: ArrayLike) -> NDArray[np.float64]:
    """Diffraction of the aperture of a focusing optic: side lobes of a twentieth."""
    return np.asarray(np.sinc(SINC_HALF * np.asarray(off, dtype=np.float64)) ** 2)


def flat_top(off: ArrayLike) -> NDArray[np.float64]:
    """As a beam that slits cut: flat in the middle, steep at its edges."""
    return np.asarray(np.exp(-math.log(2.0) * np.abs(2.0 * np.asarray(off, dtype=np.float64)) ** EDGE))


BEAMS: Mapping[str, Profile] = {"gaussian": gaussian, "slit": slit, "flat top": flat_top}
