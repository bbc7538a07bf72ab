"""What the benchmark of defects calls a relaxed crystal, and in which reflections it shows its defect."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.defects.cases import BEAMLINE, class_of, measured_atoms
from models.defects.report import DefectClass
from models.simulate.atoms.nanocrystals import random_facets, random_nanocrystal
from models.simulate.atoms.potentials import potential_of
from models.simulate.atoms.store import Entry
from models.simulate.draws import seeded
from models.simulate.families import Defect

LATTICE_NM, RADIUS_NM = potential_of("Al").lattice_nm, 2.5
DRAWS = 12


def as_inserted(defect: Defect) -> Entry:
    """Return a crystal that nothing has relaxed yet: that takes seconds."""
    generator = seeded(3)
    facets = random_facets(generator, RADIUS_NM)
    positions_nm, inserted = random_nanocrystal(generator, "Al", LATTICE_NM, facets, defect)
    straight = defect in (Defect.SCREW, Defect.EDGE, Defect.MIXED)
    return Entry(
        name=defect.name,
        lattice_nm=LATTICE_NM,
        radius_nm=RADIUS_NM,
        positions_nm=positions_nm,
        structure=np.ones(len(positions_nm), np.uint8),
        inserted=defect,
        defect=defect,
        burgers=inserted.burgers,
        line=inserted.line if straight else np.zeros(3),
        glide=inserted.glide,
        middles_nm=np.zeros((int(straight), 3)),
        ribbon_nm=0.0,
    )


def test_a_relaxed_crystal_is_called_by_what_is_left_in_it() -> None:
    names = {defect: class_of(as_inserted(defect)) for defect in (Defect.NONE, Defect.LOOP, Defect.FAULT, Defect.TWIN)}
    assert list(names.values()) == ["perfect", "loop", "stacking_fault", "twin"]
    screw = as_inserted(Defect.SCREW)
    widths = (0.0, 0.1, 0.13, 0.2)
    ribbons = [replace(screw, defect=Defect.DISSOCIATED, ribbon_nm=width * 2.0 * RADIUS_NM) for width in widths]
    assert [class_of(crystal) for crystal in ribbons] == ["screw", "screw", None, "partial"]
    assert class_of(replace(screw, burgers=np.zeros(3))) is None  # lines that cancel


@pytest.mark.parametrize(
    ("defect", "burgers", "glide", "shown"),
    [
        (Defect.SCREW, (0.5, -0.5, 0.0), (1, 1, 1), {(2, 0, 0)}),
        (Defect.LOOP, (1 / 3, -1 / 3, 1 / 3), (1, -1, 1), {(1, 1, 1), (2, 0, 0)}),
        (Defect.FAULT, (1 / 6, 1 / 6, -1 / 3), (1, 1, 1), {(2, 0, 0), (2, 2, 0)}),
        (Defect.TWIN, (0.0, 0.0, 0.0), (1, 1, 1), {(2, 0, 0), (2, 2, 0)}),
    ],
)
def test_a_crystal_is_measured_where_a_reflection_shows_its_defect(
    defect: Defect, burgers: tuple[float, ...], glide: tuple[float, ...], shown: set[tuple[int, ...]]
) -> None:
    labels = {"burgers": np.array(burgers), "glide": np.array(glide) / 3.0**0.5}
    crystal, generator = replace(as_inserted(defect), **labels), seeded(1)
    name = class_of(crystal)
    assert name is not None
    drawn = [measured_atoms(generator, BEAMLINE, crystal, name) for _ in range(DRAWS)]
    cases = [case for case in drawn if case is not None]
    assert len(cases) < DRAWS
    assert {case.scattering.reflection for case in cases} == shown
    assert {case.name for case in cases} == {name}
    assert all((case.line is not None) == (defect == Defect.SCREW) for case in cases)


def test_a_perfect_crystal_shows_itself_in_every_reflection() -> None:
    crystal, generator = as_inserted(Defect.NONE), seeded(1)
    drawn = [measured_atoms(generator, BEAMLINE, crystal, DefectClass.PERFECT) for _ in range(DRAWS)]
    assert all(case is not None and case.line is None for case in drawn)
    assert {case.scattering.reflection for case in drawn if case} == {(1, 1, 1), (2, 0, 0), (2, 2, 0)}
