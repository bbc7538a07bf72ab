"""How a crystal sits on the diffractometer: its UB matrix from reflections that were found, by diffcalc-core.

UB does not depend on the wavelength: each reflection has its own, and so has each later move.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from diffcalc.ub.calc import UBCalculation
from diffcalc.ub.crystal import Crystal
from diffcalc.ub.fitting import fit_crystal
from scipy.spatial.transform import Rotation

from service.alignment.reflection import (
    Array,
    Lattice,
    Reflection,
    crystal,
    position,
    two_theta_deg,
    wavelength_angstrom,
    with_cell,
)
from service.errors import GeometryError

TWO_THETA_TOLERANCE_DEG = 0.5  # 1 % of strain at 2 theta = 47 deg; gold's 200 is 5 deg from its 111 at 10 keV
SMALLEST_SPREAD_DEG = 1.0  # between reflections: below, an error of 0.01 deg turns the crystal by more than 0.5 deg
SMALLEST_SLOPE = 1e-4  # of |q| with a lattice parameter, both relative: below, reflections say nothing about it
SLOPE_STEP = 1e-6
FIT_HC_KEV_ANGSTROM = 12.3984  # what diffcalc-core's fits divide by: without it lattices come out 1.6e-6 too long


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Orientation:
    """A crystal on the diffractometer, and the reflections that told.

    `u` float64 (3, 3), a rotation: Busing and Levy's crystal axes -> You's frame with the sample circles at zero.
    """

    lattice: Lattice
    reflections: tuple[Reflection, ...]
    u: Array

    @property
    def ub(self) -> Array:
        """float64 (3, 3), 1/angstrom WITH 2 pi: hkl -> q in the frame of `u` (Acta Cryst. 22 (1967) 457)."""
        turned: Array = self.u @ crystal(self.lattice).B
        return turned

    @property
    def energy_kev(self) -> float:
        """Photon energy of the first reflection."""
        return self.reflections[0].energy_kev

    @property
    def wavelength_angstrom(self) -> float:
        """Wavelength of the first reflection."""
        return wavelength_angstrom(self.energy_kev)

    @property
    def residuals_deg(self) -> tuple[float, ...]:
        """Angle between where each reflection was found and where UB puts it."""
        expected, found = _calculated(self.lattice, self.reflections) @ self.u.T, _measured(self.reflections)
        across, along = np.linalg.norm(np.cross(expected, found), axis=1), np.sum(expected * found, axis=1)
        return tuple(np.rad2deg(np.arctan2(across, along)).tolist())

    @property
    def two_theta_offsets_deg(self) -> tuple[float, ...]:
        """Measured less calculated 2 theta of each reflection: by what lattice, energy or detector arm are off."""
        return tuple(_two_theta_offset_deg(self.lattice, reflection) for reflection in self.reflections)


def orient(
    lattice: Lattice, reflections: Sequence[Reflection], tolerance_deg: float = TWO_THETA_TOLERANCE_DEG
) -> Orientation:
    """Return UB from the first two reflections: the first exactly, the second in its plane (Busing and Levy 1967).

    Others only add their residuals. Raises GeometryError for fewer than two, for two along one line, and for a 2 theta
    further than `tolerance_deg` from the lattice's.
    """
    _require_usable(lattice, reflections, decisive=2, tolerance_deg=tolerance_deg)
    calculation = UBCalculation(lattice.name)
    calculation.crystal = crystal(lattice)
    for reflection in reflections[:2]:  # as unit vectors: diffcalc-core takes those at small angles for parallel
        length = np.linalg.norm(calculation.crystal.B @ reflection.hkl)
        calculation.add_orientation(np.array(reflection.hkl) / length, reflection.direction)
    calculation.calc_ub()
    return Orientation(lattice=lattice, reflections=tuple(reflections), u=calculation.U)


def refined(
    lattice: Lattice, reflections: Sequence[Reflection], tolerance_deg: float = TWO_THETA_TOLERANCE_DEG
) -> Orientation:
    """Return the UB that is nearest to all reflections, the lattice held: least squares of their directions (Wahba).

    Raises GeometryError as `orient` does; here any two must not lie along one line.
    """
    _require_usable(lattice, reflections, decisive=len(reflections), tolerance_deg=tolerance_deg)
    turn, _ = Rotation.align_vectors(_measured(reflections), _calculated(lattice, reflections))
    return Orientation(lattice=lattice, reflections=tuple(reflections), u=turn.as_matrix())


def refined_with_lattice(
    lattice: Lattice, reflections: Sequence[Reflection], tolerance_deg: float = TWO_THETA_TOLERANCE_DEG
) -> Orientation:
    """Return `refined` with the lattice fitted first, within its system, to each |q| (triclinic: to each q).

    It is the fitted lattice that each 2 theta is held against. Raises GeometryError as `refined` does, and where the
    reflections leave a number of the lattice open.
    """
    _require_determined(lattice, reflections)
    calculation = _fit_input(lattice, reflections)
    if lattice.system == "triclinic":
        cell = calculation.fit_ub(range(1, len(reflections) + 1))[1][1:]
    else:
        cell = fit_crystal(calculation.crystal, calculation.reflist.reflections).get_lattice()[1:]
    return refined(with_cell(lattice, cell), reflections, tolerance_deg)


def _fit_input(lattice: Lattice, reflections: Sequence[Reflection]) -> Any:
    calculation = UBCalculation(lattice.name)
    calculation.crystal = crystal(lattice)
    for found in reflections:
        energy = FIT_HC_KEV_ANGSTROM / wavelength_angstrom(found.energy_kev)
        calculation.add_reflection(found.hkl, position(found.angles_deg), energy, found.tag)
    return calculation


def _measured(reflections: Sequence[Reflection]) -> Array:
    """Return unit vectors (reflection, 3) of q as found, in You's frame."""
    return np.array([reflection.direction for reflection in reflections])


def _calculated(lattice: Lattice, reflections: Sequence[Reflection]) -> Array:
    """Return unit vectors (reflection, 3) of B h, along Busing and Levy's crystal axes."""
    vectors = _indices(reflections) @ crystal(lattice).B.T
    units: Array = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return units


def _indices(reflections: Sequence[Reflection]) -> Array:
    return np.array([reflection.hkl for reflection in reflections], dtype=np.float64).reshape(-1, 3)


def _two_theta_offset_deg(lattice: Lattice, reflection: Reflection) -> float:
    return reflection.two_theta_deg - two_theta_deg(lattice, reflection.hkl, reflection.energy_kev)


def _require_usable(
    lattice: Lattice, reflections: Sequence[Reflection], *, decisive: int, tolerance_deg: float
) -> None:
    """Raise GeometryError unless all reflections fit the lattice and the first `decisive` give an orientation."""
    if len(reflections) < 2:
        raise GeometryError(f"an orientation needs two reflections or more, got {len(reflections)}")
    for reflection in reflections:
        _require_spacing(lattice, reflection, tolerance_deg)
    for vectors in (_calculated(lattice, reflections[:decisive]), _measured(reflections[:decisive])):
        _require_spread(vectors, reflections[:decisive])


def _require_spacing(lattice: Lattice, reflection: Reflection, tolerance_deg: float) -> None:
    expected_deg = two_theta_deg(lattice, reflection.hkl, reflection.energy_kev)
    if not abs(reflection.two_theta_deg - expected_deg) <= tolerance_deg:
        raise GeometryError(
            f"reflection {reflection.label} was found at 2 theta {reflection.two_theta_deg:.3f} deg, the lattice says"
            f" {expected_deg:.3f} deg at {reflection.energy_kev:g} keV (tolerance {tolerance_deg:g} deg);"
            " see indices, energy and lattice"
        )


def _require_spread(vectors: Array, reflections: Sequence[Reflection]) -> None:
    """Raise GeometryError where all unit vectors (reflection, 3) lie along one line."""
    widest_deg = np.rad2deg(np.arcsin(min(np.linalg.norm(np.cross(vectors[0], vectors), axis=1).max(), 1.0)))
    if widest_deg < SMALLEST_SPREAD_DEG:
        raise GeometryError(
            f"reflections {_labels(reflections)} lie along one line, within {widest_deg:.3f} deg:"
            f" expected one at least {SMALLEST_SPREAD_DEG:g} deg from it"
        )


def _require_determined(lattice: Lattice, reflections: Sequence[Reflection]) -> None:
    """Raise GeometryError where a free number of the lattice changes no reflection."""
    indices = _indices(reflections)
    if lattice.system == "triclinic":  # fitted to vectors: three that span space give all six
        smallest = np.sin(np.deg2rad(SMALLEST_SPREAD_DEG))
        ranks = [
            np.linalg.matrix_rank(units, tol=smallest)
            for units in (_calculated(lattice, reflections), _measured(reflections))
        ]
        needed, told, what = 3, min(ranks), "directions"
    else:
        slopes = _slopes(lattice, indices)
        needed, told, what = len(slopes), np.linalg.matrix_rank(slopes, tol=SMALLEST_SLOPE), "numbers"
    if told < needed:
        raise GeometryError(
            f"reflections {_labels(reflections)} tell {told} of the {needed} {what} of a {lattice.system} lattice:"
            " add others, or refine the orientation alone"
        )


def _slopes(lattice: Lattice, indices: Array) -> Array:
    """Return d ln |q| / d ln p of each free number p of the lattice, (p, reflection)."""
    given = crystal(lattice)
    system, free = given.get_lattice_params()
    lengths = np.linalg.norm(indices @ given.B.T, axis=1)
    rows = []
    for number, value in enumerate(free):
        moved = Crystal(lattice.name, system, *free[:number], value * (1.0 + SLOPE_STEP), *free[number + 1 :])
        rows.append((np.linalg.norm(indices @ moved.B.T, axis=1) / lengths - 1.0) / SLOPE_STEP)
    return np.array(rows)


def _labels(reflections: Sequence[Reflection]) -> str:
    return ", ".join(reflection.label for reflection in reflections)
