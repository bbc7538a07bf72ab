"""Crystals of atoms as a measurement finds them, beside the simulated ones of models.simulate.specimens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Generator, Tensor

from models.simulate.atoms.store import Entry, entries
from models.simulate.draws import choice, seeded, uniform
from models.simulate.families import Defect, Family, Shape, family
from models.simulate.fcc import momentum_transfer, standing, visibility
from models.simulate.grid import Grid, Triple, oversampled_grid, random_frame
from models.simulate.nufft import object_of_atoms
from models.simulate.scenes import FROZEN_SEEDS, Scenes, first_of, measured
from models.simulate.specimens import REFLECTIONS, Labels, Specimens


def frozen_atomic_scenes(path: Path, purpose: str, count: int, shape: Triple, batch: int = 8) -> Iterator[Scenes]:
    """Yield `count` scenes of the crystals of a catalogue, the same at each call; training never sees any of them.

    Fewer are the first of more. `purpose` of FROZEN_SEEDS; measured as those of the family "train" are.
    """
    crystals, generator = list(entries(path)), seeded(FROZEN_SEEDS[purpose])
    for start in range(0, count, batch):
        drawn = choice(generator, torch.arange(len(crystals)), batch).tolist()
        specimens = atomic_specimens(generator, family("train"), [crystals[n] for n in drawn], shape)
        yield first_of(measured(generator, family("train"), specimens), count - start)


def atomic_specimens(generator: Generator, beamline: Family, crystals: Sequence[Entry], shape: Triple) -> Specimens:
    """Return each crystal turned into a reflection drawn at random, on the grid of a rocking scan drawn at random.

    Oversampling is that of `beamline`; the size is the crystal's own. `filling` is the amplitude, at most 1.
    """
    batch = len(crystals)
    frame = random_frame(generator, batch)
    reflection = choice(generator, torch.tensor(REFLECTIONS, device=generator.device), batch)
    turn = standing(reflection, frame.q, uniform(generator, 0.0, 2.0 * torch.pi, batch))
    lattice_nm = torch.tensor([crystal.lattice_nm for crystal in crystals], device=generator.device)
    q = momentum_transfer(frame.q, reflection, lattice_nm)
    oversampling = uniform(generator, *beamline.oversampling, batch, 3)
    objects, grids = [], []
    for n, crystal in enumerate(crystals):
        positions_nm = torch.from_numpy(crystal.positions_nm).to(generator.device) @ turn[n].double().T
        alone = slice(n, n + 1)
        grid = oversampled_grid(frame[alone], positions_nm[None].float(), oversampling[alone], shape)
        grids.append(grid.basis_nm)
        objects.append(object_of_atoms(positions_nm, grid, q[n], crystal.lattice_nm))
    object_ = torch.stack(objects)
    return Specimens(
        object_=object_,
        filling=object_.abs().clamp(max=1.0),
        grid=Grid(basis_nm=torch.cat(grids), shape=shape),
        q=q,
        turn=turn,
        kind=torch.full((batch,), int(Shape.WULFF), device=generator.device),
        labels=_labels(crystals, reflection),
    )


def _labels(crystals: Sequence[Entry], reflection: Tensor) -> Labels:
    def stacked(name: str) -> Tensor:
        return torch.tensor([getattr(crystal, name).tolist() for crystal in crystals], device=reflection.device)

    burgers, glide = stacked("burgers"), stacked("glide")
    defect = torch.tensor([int(crystal.defect) for crystal in crystals], device=reflection.device)
    return Labels(
        defect=defect,
        burgers=burgers,
        line=stacked("line"),
        glide=glide,
        reflection=reflection,
        visibility=visibility(reflection, burgers, glide, defect == Defect.TWIN),
    )
