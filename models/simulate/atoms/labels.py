"""What is wrong with a crystal of atoms, found in where its atoms are and not in what was meant to be inserted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.simulate.atoms.lines import Dislocations, Line, angle_deg, dislocations
from models.simulate.atoms.relaxation import HCP, Atoms
from models.simulate.atoms.threads import dislocation_threads
from models.simulate.crystals import Polyhedra
from models.simulate.families import Defect
from models.simulate.fcc import shockley_partials, slip_systems, visibility
from models.simulate.specimens import REFLECTIONS

# Nearer to a facet than this many lattice constants nothing is read: surfaces are rough.
SURFACE_DEPTH = 1.0
# Layers with fewer atoms stacked as in hcp are noise.
FEWEST_IN_LAYER = 20
# Angle between line and Burgers vector up to which a dislocation counts as screw, and from which as edge, degrees.
SCREW_BELOW_DEG, EDGE_ABOVE_DEG = 15.0, 75.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Labels of one crystal. `burgers` (3,), in lattice constants, is the sum over the lines, or the shift across a
    fault, or zero; `line` and `glide` (3,) unit or zero; `character_deg` the angle between line and Burgers vector, nan
    where no line runs through; `visibility` (reflections,) of each of REFLECTIONS, see Labels; `partials` how many of
    the `lines` are partial ones; `ribbon_nm` how far apart those that run through are, across their common direction,
    0 where there is one or none; `faulted` the number of {111} layers with hcp stacking.
    """

    defect: Defect
    burgers: NDArray[np.float64]
    line: NDArray[np.float64]
    glide: NDArray[np.float64]
    character_deg: float
    visibility: NDArray[np.float64]
    partials: int
    ribbon_nm: float
    faulted: int
    lines: tuple[Line, ...]


def findings(atoms: Atoms, facets: Polyhedra, lattice_nm: float) -> Findings:
    """Return what dislocations, faults and twins a crystal has; `facets` tell where its surface is."""
    threads = dislocation_threads(atoms.positions_nm, lattice_nm)
    deep = depth_nm(threads.middle_nm, facets) > SURFACE_DEPTH * lattice_nm
    found = dislocations(threads[deep], lattice_nm)
    faulted = (atoms.structure == HCP) & (depth_nm(atoms.positions_nm, facets) > SURFACE_DEPTH * lattice_nm)
    glide, layers = hcp_layers(atoms.positions_nm[faulted], lattice_nm)
    burgers = found.burgers
    if found.through:
        glide = _normal_of(found.along, burgers, glide)
    elif found.loops:
        burgers, glide = found.loops[0].burgers, found.loops[0].direction
    elif len(layers) > 1:
        burgers = _fault_shift(glide)
    lines, defect = (*found.through, *found.loops), _defect(found, len(layers))
    return Findings(
        defect=defect,
        burgers=burgers,
        line=found.along,
        glide=glide,
        character_deg=angle_deg(burgers, found.along) if found.through else float("nan"),
        visibility=_visibility(burgers, glide, defect),
        partials=sum(line.partial for line in lines),
        ribbon_nm=found.ribbon_nm,
        faulted=len(layers),
        lines=lines,
    )


def _defect(found: Dislocations, layers: int) -> Defect:
    if any(line.partial for line in found.through):
        return Defect.DISSOCIATED
    if found.through:
        return straight_defect(angle_deg(found.burgers, found.along))
    if found.loops:
        return Defect.LOOP
    return (Defect.NONE, Defect.TWIN, Defect.FAULT)[min(layers, 2)]


def straight_defect(character_deg: float) -> Defect:
    """Return what a straight line is that lies at an angle to its Burgers vector."""
    if character_deg < SCREW_BELOW_DEG:
        return Defect.SCREW
    return Defect.EDGE if character_deg > EDGE_ABOVE_DEG else Defect.MIXED


def hcp_layers(positions_nm: NDArray[np.float64], lattice_nm: float) -> tuple[NDArray[np.float64], list[float]]:
    """Return the {111} normal along which atoms (n, 3) that are stacked as in hcp lie in layers, and their heights."""
    spacing_nm = lattice_nm / 3.0**0.5
    best: tuple[NDArray[np.float64], list[NDArray[np.float64]]] = (np.zeros(3), [])
    for normal in np.unique(slip_systems()[0].double().numpy().round(9), axis=0):
        heights = np.sort(positions_nm @ normal)
        parts = np.split(heights, np.flatnonzero(np.diff(heights) > 0.3 * spacing_nm) + 1)
        layers = [part for part in parts if len(part) >= FEWEST_IN_LAYER and np.ptp(part) < spacing_nm]
        # Seen along another normal a layer falls into rows: the fullest layers are the layers.
        if max(map(len, layers), default=0) > max(map(len, best[1]), default=0):
            best = normal, layers
    return best[0], [float(layer.mean()) for layer in best[1]]


def depth_nm(points_nm: NDArray[np.float64], facets: Polyhedra) -> NDArray[np.float64]:
    """Return how deep points (n, 3) lie below the nearest facet of the first crystal of `facets`, (n,)."""
    normals, distances = facets.normals[0].double().numpy(), facets.distances_nm[0].double().numpy()
    return np.asarray((distances - points_nm @ normals.T).min(1))


def _normal_of(
    along: NDArray[np.float64], burgers: NDArray[np.float64], fallback: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the normal of the glide plane: of line and Burgers vector, or of the fault where these are parallel."""
    normal = np.cross(along, burgers)
    length = np.linalg.norm(normal)
    return fallback if length <= 0.1 * np.linalg.norm(burgers) else np.asarray(normal / length)


def _visibility(burgers: NDArray[np.float64], normal: NDArray[np.float64], defect: Defect) -> NDArray[np.float64]:
    reflections, shift, plane = (torch.from_numpy(each) for each in (np.array(REFLECTIONS), burgers, normal))
    return np.asarray(visibility(reflections, shift, plane, torch.tensor(defect == Defect.TWIN)).numpy())


def _fault_shift(normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return one of the three a/6<112> of an intrinsic fault; they differ by lattice vectors."""
    normals, steps = slip_systems()
    which = int((normals.double() @ torch.from_numpy(normal)).argmax())
    return np.asarray(shockley_partials(normals[which], steps[which])[0].double().numpy())
