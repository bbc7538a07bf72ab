"""A crystal's unit cell and the reflections that were found of it, as diffcalc-core takes them.

Circles and frame are those of You (J. Appl. Cryst. 32 (1999) 614): the sample turns on mu, eta, chi and phi, from the
outermost, the detector on nu and delta; x points up, y along the beam, z completes the right hand.
docs/reference/frames.md has the way to our laboratory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from diffcalc.hkl.geometry import Position, get_q_phi
from diffcalc.ub.crystal import Crystal
from numpy.typing import NDArray

from models.bcdi.geometry import HC_KEV_ANGSTROM
from service.errors import GeometryError, SettingsError, one_line

AXES = ("mu", "delta", "nu", "eta", "chi", "phi")  # diffcalc-core's order
CELL = ("a_angstrom", "b_angstrom", "c_angstrom", "alpha_deg", "beta_deg", "gamma_deg")
SYMMETRY_TOLERANCE = 1e-6  # angstrom or degrees by which a cell may miss its system: the digits of a file
SMALLEST_TWO_THETA_DEG = 1e-3  # below, the detector stands in the direct beam

Hkl = tuple[float, float, float]
Array = NDArray[np.float64]
System = Literal["cubic", "tetragonal", "hexagonal", "rhombohedral", "orthorhombic", "monoclinic", "triclinic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """Unit cell: edges in angstrom, angles in degrees, and the system whose symmetry a fit keeps.

    The free angle of a monoclinic cell is beta; gamma of a hexagonal one is 120. Raises SettingsError where the numbers
    are no cell, or not one of the system.
    """

    name: str
    a_angstrom: float
    b_angstrom: float
    c_angstrom: float
    alpha_deg: float = 90.0
    beta_deg: float = 90.0
    gamma_deg: float = 90.0
    system: System = "triclinic"

    def __post_init__(self) -> None:
        given = f"lattice of {self.name}: {shown(self.cell)}"
        if not all(math.isfinite(value) and value > 0 for value in self.cell):
            raise SettingsError(f"{given} is no cell, expected edges and angles that are finite and positive")
        try:
            kept = crystal(self).get_lattice()[1:]
        except (TypeError, ValueError, ArithmeticError) as error:
            raise SettingsError(f"{given} is no {self.system} cell, see its angles and the system") from error
        if not np.allclose(kept, self.cell, rtol=0.0, atol=SYMMETRY_TOLERANCE):
            raise SettingsError(f"{given} is not {self.system}, which would be {shown(kept)}")

    @property
    def cell(self) -> tuple[float, ...]:
        """a, b, c in angstrom; alpha, beta, gamma in degrees."""
        return tuple(float(getattr(self, name)) for name in CELL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reflection:
    """A reflection that was found: Miller indices, where the six circles stood (degrees), photon energy.

    Raises GeometryError for 0 0 0, angles that are missing, unknown or not finite, and a detector in the direct beam.
    """

    hkl: Hkl
    angles_deg: Mapping[str, float]
    energy_kev: float
    tag: str = ""

    def __post_init__(self) -> None:
        require_hkl(self.hkl)
        wavelength_angstrom(self.energy_kev)
        if self.two_theta_deg < SMALLEST_TWO_THETA_DEG:
            raise GeometryError(f"reflection {self.label}: nu and delta leave the detector in the direct beam")

    @property
    def label(self) -> str:
        """Indices, with the tag where there is one."""
        return f"{shown(self.hkl)} ({self.tag})" if self.tag else shown(self.hkl)

    @property
    def direction(self) -> Array:
        """Unit vector (3,) of q in You's frame, the sample circles turned back to zero (You's equation 12)."""
        q: Array = get_q_phi(position(self.angles_deg))[:, 0]
        return q / np.linalg.norm(q)

    @property
    def two_theta_deg(self) -> float:
        """Scattering angle at which it was found, degrees."""
        half = float(np.linalg.norm(get_q_phi(position(self.angles_deg)))) / 2.0
        return math.degrees(2.0 * math.asin(min(half, 1.0)))


def with_cell(lattice: Lattice, cell: Sequence[float]) -> Lattice:
    """Return the same crystal with another cell, (a, b, c, alpha, beta, gamma)."""
    edges_and_angles: dict[str, Any] = dict(zip(CELL, map(float, cell), strict=True))
    return replace(lattice, **edges_and_angles)


def crystal(lattice: Lattice) -> Any:
    """Return diffcalc-core's crystal; its `B` is (3, 3) in 1/angstrom with 2 pi."""
    return Crystal(lattice.name, lattice.system.capitalize(), *lattice.cell)


def two_theta_deg(lattice: Lattice, hkl: Hkl, energy_kev: float) -> float:
    """Return the scattering angle in degrees; raise GeometryError for a reflection beyond the Ewald sphere."""
    length = float(np.linalg.norm(crystal(lattice).B @ hkl))
    longest = 4.0 * math.pi / wavelength_angstrom(energy_kev)
    if length > longest:
        raise GeometryError(
            f"reflection {shown(hkl)} is beyond the Ewald sphere: |q| is {length:.4f} 1/angstrom,"
            f" at {energy_kev:g} keV at most {longest:.4f}; raise the energy"
        )
    return math.degrees(2.0 * math.asin(length / longest))


def position(angles_deg: Mapping[str, float]) -> Any:
    """Return diffcalc-core's position; raise GeometryError unless exactly its six angles are given, all finite."""
    if missing := [axis for axis in AXES if axis not in angles_deg]:
        raise GeometryError(f"angles lack {', '.join(missing)}: expected {', '.join(AXES)}")
    require_axes(angles_deg)
    for axis in AXES:
        if not math.isfinite(angles_deg[axis]):
            raise GeometryError(f"{axis} is {angles_deg[axis]:g} deg: expected a finite angle")
    return Position(**{axis: float(angles_deg[axis]) for axis in AXES})


def require_axes(axes: Iterable[str]) -> None:
    """Raise GeometryError where a name is none of the six circles."""
    if unknown := [axis for axis in axes if axis not in AXES]:
        raise GeometryError(f"there is no axis {', '.join(unknown)}: expected {', '.join(AXES)}")


def require_hkl(hkl: Hkl) -> None:
    """Raise GeometryError for 0 0 0 and for indices that are not three finite numbers."""
    if len(hkl) != 3 or not all(map(math.isfinite, hkl)):
        raise GeometryError(f"hkl is {shown(hkl)}: expected three finite numbers")
    if not any(hkl):
        raise GeometryError("hkl is 0 0 0, the direct beam: expected a reflection")


def wavelength_angstrom(energy_kev: float) -> float:
    """Return h c / E; raise GeometryError unless the energy is finite and positive."""
    if not (math.isfinite(energy_kev) and energy_kev > 0):
        raise GeometryError(f"photon energy is {energy_kev:g} keV: expected a finite positive one")
    return HC_KEV_ANGSTROM / energy_kev


def shown(numbers: Iterable[float]) -> str:
    """Return numbers as indices are written, such as '1 -1 0.5'."""
    return " ".join(f"{number:g}" for number in numbers)


def words(error: Exception) -> str:
    """Return what diffcalc-core says, in one line without its box of stars."""
    return one_line(error.args[0] if error.args else type(error).__name__)
