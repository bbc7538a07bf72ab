"""Relaxed nanocrystals in HDF5: one to a file while they are made, all in one when they are done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from models.files import written_whole
from models.simulate.atoms.labels import Findings
from models.simulate.atoms.nanocrystals import Inserted
from models.simulate.atoms.potentials import Potential
from models.simulate.atoms.relaxation import Atoms
from models.simulate.families import Defect
from models.simulate.specimens import REFLECTIONS

POSITIONS = "after/positions_nm"
PACKED = {"compression": "gzip", "shuffle": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxed:
    """One crystal on its way into the catalogue."""

    potential: Potential
    inserted: Inserted
    before: Atoms
    after: Atoms
    found: Findings
    radius_nm: float
    seed: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One crystal of a catalogue: `positions_nm` float64 (n, 3) at rest, `structure` uint8 (n,) of common neighbour
    analysis, and the labels found in it, vectors (3,) in the axes of the cube (see Findings). `middles_nm` (n, 3) of
    its lines; `radius_nm` reaches to its farthest corner.
    """

    name: str
    lattice_nm: float
    radius_nm: float
    positions_nm: NDArray[np.float64]
    structure: NDArray[np.uint8]
    inserted: Defect
    defect: Defect
    burgers: NDArray[np.float64]
    line: NDArray[np.float64]
    glide: NDArray[np.float64]
    middles_nm: NDArray[np.float64]
    ribbon_nm: float


def write_crystal(path: Path, crystal: Relaxed) -> None:
    """Write one crystal to a file, whole or not at all: before and after, with the energy of each atom."""
    with written_whole(path) as partial, h5py.File(partial, "w") as file:
        for name, atoms in (("before", crystal.before), ("after", crystal.after)):
            _write_atoms(file, name, atoms)
            file.create_dataset(f"{name}/energies_ev", data=atoms.energies_ev.astype(np.float32), **PACKED)
        _write_labels(file, crystal)


def write_at_rest(path: Path, crystal: Relaxed) -> None:
    """Write what `entries` reads of one crystal and no more, a third of its size, whole or not at all."""
    with written_whole(path) as partial, h5py.File(partial, "w") as file:
        _write_atoms(file, "after", crystal.after)
        _write_labels(file, crystal)


def _write_atoms(file: h5py.File, name: str, atoms: Atoms) -> None:
    file.create_dataset(f"{name}/positions_nm", data=atoms.positions_nm.astype(np.float32), **PACKED)
    file.create_dataset(f"{name}/structure", data=atoms.structure, **PACKED)
    file[name].attrs.update(energy_ev=atoms.energies_ev.sum(), largest_force_ev_per_a=atoms.largest_force)


def _write_labels(file: h5py.File, crystal: Relaxed) -> None:
    potential, inserted, found = crystal.potential, crystal.inserted, crystal.found
    file.attrs.update(
        element=potential.element,
        lattice_nm=potential.lattice_nm,
        potential=potential.file,
        source=potential.source,
        radius_nm=crystal.radius_nm,
        seed=crystal.seed,
        seconds=crystal.seconds,
        inserted=inserted.defect.name,
        inserted_burgers=inserted.burgers,
        inserted_line=inserted.line,
        inserted_glide=inserted.glide,
        defect=found.defect.name,
        burgers=found.burgers,
        line=found.line,
        glide=found.glide,
        character_deg=found.character_deg,
        reflections=np.array(REFLECTIONS),
        visibility=found.visibility,
        partials=found.partials,
        ribbon_nm=found.ribbon_nm,
        faulted=found.faulted,
    )
    for name in ("burgers", "direction", "middle_nm"):
        file[f"lines/{name}"] = np.array([getattr(line, name) for line in found.lines]).reshape(-1, 3)
    for name in ("length_nm", "closed"):
        file[f"lines/{name}"] = np.array([getattr(line, name) for line in found.lines])


def gather(parts: Mapping[str, Path], out: Path) -> None:
    """Copy the crystals of `parts` into one file, a group each of their name, whole or not at all."""
    with written_whole(out) as partial, h5py.File(partial, "w") as catalogue:
        for crystal, part in parts.items():
            with h5py.File(part) as file:
                group = catalogue.create_group(crystal)
                group.attrs.update(file.attrs)
                for name in file:
                    file.copy(name, group)


def require_catalogue(path: Path) -> None:
    """Raise ValueError in one line where `path` is no catalogue of crystals."""
    make = f"make one with `python -m models.simulate.atoms.catalogue {path}`"
    if not path.is_file():
        raise ValueError(f"{path} is not there: {make}")
    try:
        with h5py.File(path) as file:
            good = len(file) > 0 and all(isinstance(each, h5py.Group) and POSITIONS in each for each in file.values())
    except OSError as error:
        raise ValueError(f"{path} is no catalogue of crystals: {' '.join(str(error).split())}; {make}") from error
    if not good:
        raise ValueError(f"{path} is no catalogue of crystals: it lacks {POSITIONS}; {make}")


def entries(path: Path) -> Iterator[Entry]:
    """Yield the crystals of a catalogue, as they are at rest."""
    with h5py.File(path) as catalogue:
        for name, group in catalogue.items():
            labels = group.attrs
            yield Entry(
                name=name,
                lattice_nm=float(labels["lattice_nm"]),
                radius_nm=float(labels["radius_nm"]),
                positions_nm=group[POSITIONS][()].astype(np.float64),
                structure=group["after/structure"][()],
                inserted=Defect[labels["inserted"]],
                defect=Defect[labels["defect"]],
                burgers=labels["burgers"],
                line=labels["line"],
                glide=labels["glide"],
                middles_nm=group["lines/middle_nm"][()],
                ribbon_nm=float(labels["ribbon_nm"]),
            )
