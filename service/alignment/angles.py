"""Where the circles must go for a reflection, within their limits, and where in hkl they stand, by diffcalc-core.

Angles are in degrees by the names of You's six circles (`service.alignment.reflection`). Nothing is moved here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import diffcalc.hkl.calc
import diffcalc.hkl.calc_detector
import numpy as np
from diffcalc.hkl.calc import HklCalculation
from diffcalc.hkl.constraints import Constraints
from diffcalc.ub.calc import UBCalculation
from diffcalc.util import DiffcalcException

from service.alignment.orientation import Orientation
from service.alignment.reflection import (
    AXES,
    Hkl,
    crystal,
    position,
    require_axes,
    require_hkl,
    shown,
    two_theta_deg,
    wavelength_angstrom,
    words,
)
from service.errors import GeometryError, SettingsError

# They print about azimuths and choices near the axis of phi, where a command's output goes.
for module in (diffcalc.hkl.calc, diffcalc.hkl.calc_detector):
    module.print = lambda *_: None

FREE = (-np.inf, np.inf)
PHI_AXIS = (0.0, 0.0, 1.0)  # You's frame, circles at zero
ROUNDING_DEG = 1e-6  # below any encoder: a limit is met, two solutions are one
STEPS = round(360.0 / ROUNDING_DEG)

Limits = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """What is held while the circles go to a reflection: three constraints by diffcalc-core's names.

    `constraints` maps delta, nu, qaz, naz, alpha, beta, psi, betain, betaout, mu, eta, chi, phi, omega -> degrees, and
    a_eq_b, bin_eq_bout, bisect -> True. The azimuthal reference (alpha, beta, psi, naz) and the surface's normal
    (betain, betaout) are reciprocal vectors; None is the axis of phi. Raises GeometryError where one is 0 0 0.
    """

    constraints: Mapping[str, float | bool]
    reference_hkl: Hkl | None = None
    surface_hkl: Hkl | None = None

    def __post_init__(self) -> None:
        for vector in (self.reference_hkl, self.surface_hkl):
            if vector is not None:
                require_hkl(vector)

    def __str__(self) -> str:
        held = [name if value is True else f"{name} {value:g}" for name, value in self.constraints.items()]
        return ", ".join(held) or "none"


def angles_for(
    orientation: Orientation,
    hkl: Hkl,
    energy_kev: float,
    *,
    mode: Mode,
    limits_deg: Limits,
    current_deg: Mapping[str, float],
) -> list[dict[str, float]]:
    """Return every position {axis: degrees} at which `hkl` diffracts within the limits, the least travel first.

    As `positions_for`; raises GeometryError also where no position is within limits.
    """
    found = positions_for(orientation, hkl, energy_kev, mode=mode, limits_deg=limits_deg, current_deg=current_deg)
    return within_limits(hkl, found, limits_deg)


def positions_for(
    orientation: Orientation,
    hkl: Hkl,
    energy_kev: float,
    *,
    mode: Mode,
    limits_deg: Limits,
    current_deg: Mapping[str, float],
) -> list[dict[str, float]]:
    """Return every position {axis: degrees} at which `hkl` diffracts, within limits or not, the least travel first.

    `limits_deg` maps axis -> (low, high), an axis that it does not name turns freely; angles are told in the turn that
    the limits allow and that is nearest to `current_deg`. Travel is the sum over the axes. Raises GeometryError where
    the reflection is beyond the Ewald sphere or the mode cannot reach it; SettingsError for a mode or limits that say
    nothing.
    """
    require_hkl(hkl)
    two_theta_deg(orientation.lattice, hkl, energy_kev)
    position(current_deg)
    _require_limits(limits_deg)
    found = _solutions(orientation, hkl, energy_kev, mode)
    turned = [_turned(angles, limits_deg, current_deg) for angles in found]
    once = {tuple(round(angle / ROUNDING_DEG) % STEPS for angle in angles.values()): angles for angles in turned}
    return sorted(once.values(), key=lambda angles: sum(abs(angles[axis] - current_deg[axis]) for axis in AXES))


def within_limits(hkl: Hkl, positions: Sequence[dict[str, float]], limits_deg: Limits) -> list[dict[str, float]]:
    """Return the positions {axis: degrees} within limits; raise GeometryError where there is none, with the nearest."""
    within = [angles for angles in positions if not _outside_deg(angles, limits_deg)]
    if not within:
        raise GeometryError(_nearest_told(hkl, positions, limits_deg))
    return within


def hkl_at(orientation: Orientation, angles_deg: Mapping[str, float], energy_kev: float) -> Hkl:
    """Return the Miller indices, not rounded, of what diffracts into the detector's centre at these angles."""
    calculation = HklCalculation(_calculation(orientation), Constraints())
    indices = calculation.get_hkl(position(angles_deg), wavelength_angstrom(energy_kev))
    return float(indices[0]), float(indices[1]), float(indices[2])


def _calculation(orientation: Orientation) -> Any:
    calculation = UBCalculation(orientation.lattice.name)
    calculation.crystal = crystal(orientation.lattice)
    calculation.U, calculation.UB = orientation.u, orientation.ub  # its own setters print
    calculation.n_phi = calculation.surf_nphi = PHI_AXIS
    return calculation


def _solutions(orientation: Orientation, hkl: Hkl, energy_kev: float, mode: Mode) -> list[dict[str, float]]:
    """Return diffcalc-core's positions, whatever the limits; raise GeometryError where it has none."""
    calculation = _calculation(orientation)
    if mode.reference_hkl is not None:
        calculation.n_hkl = mode.reference_hkl
    if mode.surface_hkl is not None:
        calculation.surf_nhkl = mode.surface_hkl
    solver = HklCalculation(calculation, _constraints(mode))
    try:
        pairs = solver.get_position(*hkl, wavelength_angstrom(energy_kev))
    except (DiffcalcException, AssertionError, ArithmeticError, ValueError) as error:
        raise GeometryError(f"reflection {shown(hkl)} cannot be reached with {mode}: {words(error)}") from error
    return [found.asdict for found, _ in pairs]


def _constraints(mode: Mode) -> Any:
    """Return diffcalc-core's constraints: it drops one that another pushes out, so the names are compared."""
    for name, value in mode.constraints.items():
        if not math.isfinite(value):
            raise SettingsError(f"constraints {mode}: {name} is {value:g} deg, expected a finite angle")
    try:
        held = Constraints(dict(mode.constraints))
    except (DiffcalcException, AttributeError, TypeError) as error:
        raise SettingsError(f"constraints {mode}: {words(error)}") from error
    kept = held.asdict
    if len(kept) != 3 or kept.keys() != mode.constraints.keys() or not held.is_current_mode_implemented():
        raise SettingsError(
            f"constraints {mode}: expected three that diffcalc-core solves together, at most one of"
            " the detector (delta, nu, qaz, naz) and one of the reference (alpha, beta, psi, a_eq_b, ...)"
        )
    return held


def _require_limits(limits_deg: Limits) -> None:
    require_axes(limits_deg)
    for axis, (low, high) in limits_deg.items():
        if not low <= high:
            raise SettingsError(f"limits of {axis} are {low:g} to {high:g} deg: expected the lower one first")


def _turned(angles_deg: Mapping[str, float], limits_deg: Limits, current_deg: Mapping[str, float]) -> dict[str, float]:
    """Return the same position, each circle in the turn within its limits that is nearest to where it stands."""
    return {axis: _in_turn(angle, limits_deg.get(axis, FREE), current_deg[axis]) for axis, angle in angles_deg.items()}


def _in_turn(angle_deg: float, limit_deg: tuple[float, float], current_deg: float) -> float:
    low, high = limit_deg
    fewest = np.ceil((low - ROUNDING_DEG - angle_deg) / 360.0)
    most = np.floor((high + ROUNDING_DEG - angle_deg) / 360.0)
    if fewest <= most:
        turns = np.clip(np.round((current_deg - angle_deg) / 360.0), fewest, most)
        return float(np.clip(angle_deg + 360.0 * turns, low, high))
    return float(min((angle_deg + 360.0 * turns for turns in (fewest, most)), key=lambda a: _excess_deg(a, limit_deg)))


def _excess_deg(angle_deg: float, limit_deg: tuple[float, float]) -> float:
    low, high = limit_deg
    return max(low - angle_deg, angle_deg - high, 0.0)


def _outside_deg(angles_deg: Mapping[str, float], limits_deg: Limits) -> dict[str, float]:
    """Return by how much each circle that is outside is so."""
    excess = {axis: _excess_deg(angles_deg[axis], limit) for axis, limit in limits_deg.items()}
    return {axis: value for axis, value in excess.items() if value > 0.0}


def _nearest_told(hkl: Hkl, positions: Sequence[Mapping[str, float]], limits_deg: Limits) -> str:
    """Say what keeps the position that is least outside from its limits."""
    nearest = min(positions, key=lambda angles: sum(_outside_deg(angles, limits_deg).values()))
    wanted = [
        f"{axis} at {nearest[axis]:.3f} deg, limits {limits_deg[axis][0]:g} to {limits_deg[axis][1]:g} deg"
        for axis in _outside_deg(nearest, limits_deg)
    ]
    return f"reflection {shown(hkl)} has no position within limits: the nearest has {' and '.join(wanted)}"
