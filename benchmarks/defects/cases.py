"""Crystals whose defects are known: relaxed ones of atoms, and simulated ones of all classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Generator

from models.defects.classes import CLASSES, OF_DEFECT, shown, visible
from models.defects.report import DefectClass, Scattering
from models.simulate.atoms.labels import straight_defect
from models.simulate.atoms.lines import angle_deg
from models.simulate.atoms.specimens import atomic_specimens
from models.simulate.atoms.store import Entry, entries
from models.simulate.draws import seeded
from models.simulate.families import DEFECTS, Defect, Family, Shape
from models.simulate.scenes import FROZEN_SEEDS, Scenes, measured, random_scenes

EDGE_VOXELS, BATCH = 64, 8
SEED = FROZEN_SEEDS["test"] + 300
# What most of the tables are measured with; curves change one thing at a time.
BEAMLINE = replace(DEFECTS, flux=(1e6, 1e8), gap_chance=0.0, mask_chance=0.0)
# Grains are what no class is made for.
ORDINARY = replace(BEAMLINE, shapes=tuple(shape for shape in BEAMLINE.shapes if shape != Shape.GRAINS))
# A ribbon wider than this share of a crystal is called partial, one that is narrower than the other is not; between
# them either is right, and no such crystal is in a table.
SPLIT, UNSPLIT = 0.15, 0.115
# Reflections are drawn so often until one shows the line.
MOST_DRAWS = 8


class Line(NamedTuple):
    """A true line: a point on it and its unit direction, index units [z, y, x] of the object."""

    middle: NDArray[np.float64]
    direction: NDArray[np.float64]


class Inverted(NamedTuple):
    """The crystal that inversion makes of a pattern, and the seconds that it took."""

    object_: NDArray[np.complex64]
    seconds: float


class Case(NamedTuple):
    """A pattern, what of it counts photons of the crystal, how it was measured, and what is wrong with the crystal;
    `hidden`: it has a defect that this reflection does not show; `filled`: the pattern without gaps, see `ways.filled`;
    `inverted`: see `ways.with_crystal`.
    """

    counts: NDArray[np.float32]
    mask: NDArray[np.bool_]
    scattering: Scattering
    name: DefectClass
    truth: NDArray[np.complex64]
    line: Line | None = None
    hidden: bool = False
    filled: NDArray[np.float32] | None = None
    inverted: Inverted | None = None


def continuum(family: Family, seed: int = SEED) -> Iterator[Case]:
    """Yield unseen crystals of a family, without end."""
    generator = seeded(seed)
    while True:
        scenes = random_scenes(generator, family, BATCH, (EDGE_VOXELS,) * 3)
        numbers = shown(scenes.specimens).tolist()
        yield from (_case(scenes, n, CLASSES[number]) for n, number in enumerate(numbers))


def simulated(drawn: int, each: int = 0) -> Iterator[Case]:
    """Yield `drawn` ORDINARY crystals as they come, then those of classes of which there were fewer than `each`."""
    counts = dict.fromkeys(OF_DEFECT.values(), 0)
    for number, case in enumerate(continuum(ORDINARY)):
        if number >= drawn and min(counts.values()) >= each:
            return
        counts[case.name] += 1
        if number < drawn or counts[case.name] <= each:
            yield case


def atomistic(catalogue: Path, beamline: Family = BEAMLINE, seed: int = SEED) -> Iterator[Case]:
    """Yield each crystal of a catalogue once, in a reflection drawn at random among those that show its defect; none
    whose class is not settled.
    """
    generator = seeded(seed)
    for crystal in entries(catalogue):
        name = class_of(crystal)
        drawn = (measured_atoms(generator, beamline, crystal, name) for _ in range(MOST_DRAWS if name else 0))
        case = next((one for one in drawn if one is not None), None)
        if case is not None:
            yield case


def class_of(crystal: Entry) -> DefectClass | None:
    """Return the class of a relaxed crystal by all that runs through it; None where lines cancel or a ribbon settles
    nothing.
    """
    if not _has_line(crystal):
        return None if np.any(crystal.line) else OF_DEFECT[crystal.defect]
    ribbon = crystal.ribbon_nm / (2.0 * crystal.radius_nm)
    if ribbon > UNSPLIT:
        return DefectClass.PARTIAL if ribbon > SPLIT else None
    return OF_DEFECT[straight_defect(angle_deg(crystal.burgers, crystal.line))]


def _has_line(crystal: Entry) -> bool:
    return bool(np.any(crystal.burgers) and np.any(crystal.line))


def measured_atoms(generator: Generator, beamline: Family, crystal: Entry, name: DefectClass) -> Case | None:
    """Return one crystal measured in a reflection drawn at random; None where that shows nothing of its defect.

    Of a line it shows g.b, be it split or not: what is called edge or screw here is seen so.
    """
    specimens = atomic_specimens(generator, beamline, [crystal], (EDGE_VOXELS,) * 3)
    seen = abs(float(specimens.labels.visibility[0])) >= 0.5 if _has_line(crystal) else bool(visible(specimens)[0])
    if name != DefectClass.PERFECT and not seen:
        return None
    case = _case(measured(generator, beamline, specimens), 0, name)
    if not _has_line(crystal):
        return case
    turn = specimens.turn[0].double().numpy()
    inverse = np.linalg.inv(case.scattering.basis_nm)
    direction = inverse @ turn @ crystal.line
    middle = inverse @ turn @ crystal.middles_nm.mean(0) + EDGE_VOXELS // 2
    return case._replace(line=Line(middle, direction / np.linalg.norm(direction)))


def _case(scenes: Scenes, n: int, name: DefectClass) -> Case:
    specimens = scenes.specimens
    reflection: Sequence[int] = [int(index) for index in specimens.labels.reflection[n].tolist()]
    return Case(
        counts=scenes.counts[n].numpy(),
        mask=scenes.mask[n].numpy(),
        scattering=Scattering(
            basis_nm=specimens.grid.basis_nm[n].double().numpy(),
            q=specimens.q[n].double().numpy(),
            reflection=(reflection[0], reflection[1], reflection[2]),
        ),
        name=name,
        truth=specimens.object_[n].numpy(),
        hidden=name == DefectClass.PERFECT and int(specimens.labels.defect[n]) != Defect.NONE,
    )
