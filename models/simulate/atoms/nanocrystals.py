"""Faceted fcc crystals of atoms with a defect inserted. Axes of the cube, nm, the origin on a site of the lattice.

The lattice is displaced first and cut into facets afterwards: facets stay flat, and the half plane that an edge
dislocation has too many comes in with the atoms that the displacement carries across the facets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from models.simulate.crystals import Polyhedra, random_wulff
from models.simulate.dislocations import circle, dislocation_loop, dissociated, straight_dislocation
from models.simulate.draws import choice, unit
from models.simulate.families import Defect
from models.simulate.fcc import line_of_character, shockley_partials, slip_systems

# Angle between line and Burgers vector, degrees.
CHARACTERS_DEG = {Defect.SCREW: 0.0, Defect.EDGE: 90.0, Defect.MIXED: 60.0, Defect.DISSOCIATED: 60.0}
# Width of the ribbon that a dissociated dislocation begins with; relaxation finds its own.
RIBBON_NM = 1.5
# Radius of a loop as a share of the crystal's.
LOOP_RADIUS = 0.4
# The lattice reaches farther than the crystal by this much, so that displacement never runs out of atoms.
MARGIN_NM = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Inserted:
    """What was put into a crystal: `burgers` in lattice constants, `line` and `glide` unit, axes of the cube, (3,)."""

    defect: Defect
    burgers: NDArray[np.float64]
    line: NDArray[np.float64]
    glide: NDArray[np.float64]


def random_facets(generator: Generator, radius_nm: float) -> Polyhedra:
    """Draw a truncated octahedron with uneven facets that reaches to `radius_nm`, in the axes of the cube."""
    cube = torch.eye(3, device=generator.device).expand(1, 3, 3)
    return random_wulff(generator, torch.tensor([radius_nm], device=generator.device), cube)


def random_nanocrystal(
    generator: Generator, element: str, lattice_nm: float, facets: Polyhedra, defect: Defect
) -> tuple[NDArray[np.float64], Inserted]:
    """Return the atoms (n, 3) of one crystal with a defect through its middle, in a slip system drawn at random."""
    glide, burgers = drawn_system(generator, slip_systems())
    return nanocrystal(element, lattice_nm, facets, defect, glide, burgers, torch.zeros(3, dtype=torch.float64))


def drawn_system(generator: Generator, systems: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Draw one of `systems`, normals and Burgers vectors (n, 3) each; return its two, float64 (1, 3)."""
    normals, steps = systems
    system = choice(generator, torch.arange(len(normals)), 1)
    return unit(normals[system].double()), steps[system].double()


def nanocrystal(
    element: str,
    lattice_nm: float,
    facets: Polyhedra,
    defect: Defect,
    glide: Tensor,
    burgers: Tensor,
    middle_nm: Tensor,
) -> tuple[NDArray[np.float64], Inserted]:
    """Return the atoms (n, 3) of one crystal with a defect through `middle_nm` (3,), a vector of the lattice.

    `glide` unit and `burgers` in lattice constants are those of its slip system, float64 (1, 3).
    """
    angle = torch.deg2rad(torch.tensor([CHARACTERS_DEG.get(defect, 0.0)], dtype=torch.float64))
    line = line_of_character(glide, burgers, angle)
    if defect == Defect.FAULT:
        burgers = shockley_partials(glide, burgers)[:, 0]
    if defect == Defect.LOOP:
        # Frank's, a/3<111>: one of a/2<110> glides along its own normal, out of so small a crystal.
        burgers = glide / 3.0**0.5
    if defect in (Defect.NONE, Defect.TWIN):
        burgers = torch.zeros_like(burgers)
    margin_nm = MARGIN_NM + float(middle_nm.norm())
    sites = lattice_sites(element, lattice_nm, float(facets.distances_nm.max()) * 2.0**0.5 + margin_nm)
    atoms = middle_nm + _displaced(sites, lattice_nm, facets, defect, glide, burgers, line)
    glide_, burgers_, line_ = (each[0].numpy() for each in (glide, burgers, line))
    return cut(atoms, facets), Inserted(defect=defect, burgers=burgers_, line=line_, glide=glide_)


def lattice_sites(element: str, lattice_nm: float, radius_nm: float) -> Tensor:
    """Return the sites of the lattice within a cube that holds a sphere of `radius_nm`, float64 (n, 3)."""
    from ase.lattice.cubic import FaceCenteredCubic

    cells = int(np.ceil(radius_nm / lattice_nm))
    block = FaceCenteredCubic(element, latticeconstant=lattice_nm, size=(2 * cells,) * 3)
    return torch.from_numpy(block.positions - cells * lattice_nm)


def cut(atoms: Tensor, facets: Polyhedra) -> NDArray[np.float64]:
    """Return the atoms (n, 3) that lie inside the first crystal of `facets`."""
    inside = (atoms @ facets.normals[0].double().T <= facets.distances_nm[0].double()).all(-1)
    return np.asarray(atoms[inside].numpy())


def _displaced(
    sites: Tensor, lattice_nm: float, facets: Polyhedra, defect: Defect, glide: Tensor, burgers: Tensor, line: Tensor
) -> Tensor:
    burgers_nm = burgers * lattice_nm
    # Halfway between two layers {111}, near that between two {200}, and off the rows of atoms: no atom lies on a cut
    # or a line.
    through_nm = glide * (lattice_nm / (2.0 * 3.0**0.5)) + torch.linalg.cross(glide, line) * 0.1 * lattice_nm
    points = sites.T[None]
    if defect in (Defect.EDGE, Defect.SCREW, Defect.MIXED):
        return sites + straight_dislocation(points, line, burgers_nm, through_nm, glide)[0].T
    if defect == Defect.DISSOCIATED:
        partials_nm = shockley_partials(glide, burgers_nm)
        width_nm = torch.tensor([RIBBON_NM], dtype=torch.float64)
        return sites + dissociated(points, line, partials_nm, through_nm, glide, width_nm)[0].T
    if defect == Defect.LOOP:
        radius_nm = LOOP_RADIUS * float(facets.distances_nm.mean())
        return with_vacancy_loop(sites, burgers_nm, radius_nm)
    height_nm = (sites @ glide[0])[:, None] - (through_nm * glide).sum()
    if defect == Defect.FAULT:
        return torch.where(height_nm > 0.0, sites + burgers_nm, sites)
    if defect == Defect.TWIN:
        return with_twin(sites, glide[0], lattice_nm)
    return sites


def with_vacancy_loop(sites: Tensor, burgers_nm: Tensor, radius_nm: float) -> Tensor:
    """Return `sites` (n, 3) without a disc as thick as `burgers_nm` (1, 3), and closed over it: a prismatic loop."""
    normal, thickness_nm = unit(burgers_nm), burgers_nm.norm(dim=-1)
    # The disc holds the layer through the origin, and no other one is on its boundary.
    middle_nm = 0.25 * burgers_nm
    corners_nm = circle(middle_nm, normal, torch.full_like(thickness_nm, radius_nm))
    edges = corners_nm[0].roll(-1, 0) - corners_nm[0]
    outward = torch.linalg.cross(edges, normal.expand_as(edges))
    beyond = ((sites[:, None] - corners_nm[0]) * outward).sum(-1)
    within = ((sites - middle_nm) @ normal[0]).abs() < 0.5 * thickness_nm
    kept = sites[~(within & (beyond < 0.0).all(-1))]
    closed: Tensor = kept + dislocation_loop(kept.T[None], corners_nm, burgers_nm)[0].T
    return closed


def with_twin(sites: Tensor, normal: Tensor, lattice_nm: float) -> Tensor:
    """Return `sites` (n, 3) of a lattice below the layer {111} through the origin, and its mirror image above it."""
    height_nm = sites @ normal
    layer_nm = 0.5 * lattice_nm / 3.0**0.5
    below = sites[height_nm < layer_nm]
    image = sites[height_nm < -layer_nm]
    twinned: Tensor = torch.cat([below, image - 2.0 * (image @ normal)[:, None] * normal])
    return twinned
