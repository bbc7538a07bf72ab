"""What the settings say of a crystal's orientation: its lattice, the instrument's circles, what is held, the file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from models.simulate.metals import LATTICE_NM
from service.alignment.circles import CIRCLES, PRESENT, CircleMap, Constraints
from service.sections import Section

System = Literal["cubic", "tetragonal", "hexagonal", "rhombohedral", "orthorhombic", "monoclinic", "triclinic"]
Indices = tuple[float, float, float]


class LatticeSettings(Section):
    name: str = Field("crystal", description="what the crystal is called")
    system: System = Field("triclinic", description="whose symmetry a fit of the lattice keeps")
    a_angstrom: float = Field(gt=0, description="edge a, angstrom")
    b_angstrom: float | None = Field(None, gt=0, description="edge b, angstrom; none: as a")
    c_angstrom: float | None = Field(None, gt=0, description="edge c, angstrom; none: as a")
    alpha_deg: float = Field(90.0, gt=0, lt=180, description="angle between b and c, deg")
    beta_deg: float = Field(90.0, gt=0, lt=180, description="angle between a and c, deg")
    gamma_deg: float | None = Field(
        None, gt=0, lt=180, description="angle between a and b, deg; none: 120 of a hexagonal cell, else 90"
    )


class OrientationSettings(Section):
    file: Path = Field(
        Path("orientation.json"),
        description="where U and UB are kept, in the folder `out` unless it is absolute; reflections beside it",
    )
    element: str = Field("", description=f"a metal whose lattice is known: {', '.join(LATTICE_NM)}")
    lattice: LatticeSettings | None = Field(
        None, description="or its lattice: name, system, a_angstrom, b_angstrom, c_angstrom, alpha_deg, ..."
    )
    circles: CircleMap = Field(
        default_factory=dict,
        description="each of You's circles (mu, eta, chi, phi, nu, delta) -> {axis, sign, offset_deg}, You's angle ="
        " sign * axis + offset_deg, or the angle at which it stands where the instrument has none, deg; empty: those of"
        " `geometry.instrument`",
    )
    constraints: Constraints = Field(
        default_factory=dict,
        description="what is held on the way to a reflection, three with the circles that stand: diffcalc-core's names"
        " (mu, eta, chi, phi, nu, delta, qaz, naz, alpha, beta, psi, omega, ...) -> You's angle in deg, 'present' where"
        " a circle stays, or true (a_eq_b, bisect); empty: all sample circles of a known instrument but one",
    )
    reference_hkl: Indices | None = Field(
        None, description="h, k, l of the azimuthal reference (alpha, beta, psi, naz); none: the axis of phi"
    )
    surface_hkl: Indices | None = Field(
        None, description="h, k, l of the surface's normal (betain, betaout); none: the axis of phi"
    )
    two_theta_tolerance_deg: float = Field(
        0.5, gt=0, description="most that a reflection may be off the lattice's 2 theta, deg"
    )

    @field_validator("element")
    @classmethod
    def _element_is_known(cls, element: str) -> str:
        if element and element not in LATTICE_NM:
            raise ValueError(f"expected one of {', '.join(LATTICE_NM)}, or [orientation.lattice]")
        return element

    @field_validator("constraints")
    @classmethod
    def _present_is_of_circles(cls, constraints: Constraints) -> Constraints:
        for name, held in constraints.items():
            if held == PRESENT and name not in CIRCLES:
                raise ValueError(f"{name} has no present angle: 'present' is for {', '.join(CIRCLES)}")
        return constraints

    @model_validator(mode="after")
    def _one_lattice(self) -> OrientationSettings:
        if self.element and self.lattice is not None:
            raise ValueError(f"element {self.element} and a lattice: expected one of both")
        return self
