"""Families of simulated measurements: seeded, complete, with labels that mean what they say."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from models.simulate.dislocations import circle, dislocation_loop
from models.simulate.draws import seeded, unit
from models.simulate.families import FAMILIES, SINGLE, Defect, Family, Shape, family
from models.simulate.scenes import frozen_scenes, random_scenes, training_scenes
from models.simulate.specimens import random_specimens

SHAPE = (24, 28, 32)


@pytest.mark.parametrize("name", FAMILIES)
def test_scenes_of_every_family_are_whole(name: str) -> None:
    scenes = next(training_scenes(name, 6, SHAPE, seed=3, device="cpu"))
    assert scenes.counts.shape == (6, *SHAPE)
    assert torch.all(scenes.counts == scenes.counts.round())
    assert torch.all(scenes.mask <= scenes.announced)
    assert torch.all(scenes.counts[~scenes.announced] == 0)
    assert torch.allclose(scenes.expected.sum((1, 2, 3)), scenes.flux, rtol=1e-3)
    for array in (scenes.expected, scenes.specimens.object_.abs(), scenes.specimens.filling):
        assert torch.isfinite(array).all()
    assert scenes.specimens.filling.max() <= 1.0
    residual = (scenes.counts - scenes.expected)[scenes.mask & (scenes.expected > 100)]
    spread = scenes.expected[scenes.mask & (scenes.expected > 100)].sqrt()
    assert (residual / spread).abs().median() < 1.5


def test_a_seed_names_the_draw_and_sets_do_not_share_it() -> None:
    first, again = (list(islice(training_scenes("train", 2, SHAPE, seed=5, device="cpu"), 2)) for _ in range(2))
    assert all(torch.equal(a.counts, b.counts) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0].counts, first[1].counts)
    test, twice, validation = (
        list(frozen_scenes("train", purpose, 3, SHAPE, batch=2)) for purpose in ("test", "test", "validation")
    )
    assert [len(batch.counts) for batch in test] == [2, 1]
    assert torch.equal(test[1].counts, twice[1].counts)
    assert not torch.equal(test[0].counts, validation[0].counts)
    trained_on = [next(training_scenes("train", 2, SHAPE, seed, "cpu")).counts for seed in range(4)]
    cut = list(frozen_scenes("train", "test", 1, SHAPE, batch=2))
    assert torch.equal(cut[0].counts, test[0].counts[:1])
    assert torch.equal(test[1].counts, list(frozen_scenes("train", "test", 4, SHAPE, batch=2))[1].counts[:1])
    assert cut[0].specimens.grid.shape == SHAPE
    assert len(cut[0].specimens.labels.line) == cut[0].specimens.grid.batch == 1
    assert not any(torch.equal(counts, frozen[0].counts) for counts in trained_on for frozen in (test, validation))
    with pytest.raises(ValueError, match="no family is called 'nothing': expected one of train"):
        family("nothing")


@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize("defect", [Defect.NONE, Defect.LOOP])
def test_each_shape_can_be_drawn_alone(shape: Shape, defect: Defect) -> None:
    drawn = random_specimens(seeded(1), replace(FAMILIES["train"], shapes=(shape,), defects=(defect,)), 3, SHAPE)
    assert torch.all(drawn.filling.sum((1, 2, 3)) > 20)
    assert torch.all(drawn.labels.defect == int(defect))


@pytest.mark.parametrize("defect", Defect)
def test_a_defect_shows_where_its_label_says_so(defect: Defect) -> None:
    """Against the same crystal without it: the phase changes where g.b is not 0, and stays where it is."""
    base = replace(FAMILIES["train"], shapes=(Shape.POLYHEDRON,), phase_range=(0.0, 0.0))
    drawn = random_specimens(seeded(11), replace(base, defects=(defect,)), 24, SHAPE)
    plain = random_specimens(seeded(11), replace(base, defects=(Defect.NONE,)), 24, SHAPE)
    both = (drawn.filling > 0.5) & (plain.filling > 0.5)
    turn = torch.angle(drawn.object_ * plain.object_.conj()).abs()
    largest = torch.where(both, turn, 0.0).amax((1, 2, 3))
    visible = drawn.labels.visibility.abs() > 1e-3
    if defect is Defect.NONE:
        assert not visible.any()
    else:
        assert visible.any()
    if defect is Defect.SCREW:
        assert torch.all((largest > 1.0) == visible)
    elif defect is Defect.FAULT:
        whole = (drawn.labels.visibility - drawn.labels.visibility.round()).abs() < 1e-3
        assert torch.all((largest > 1.0) == ~whole)
    elif defect is Defect.TWIN:
        lost = 1.0 - drawn.filling.sum((1, 2, 3)) / plain.filling.sum((1, 2, 3))
        assert torch.all((lost > 0.05) == visible)
        assert torch.allclose(drawn.object_.abs(), drawn.filling, atol=1e-5)
    elif defect is Defect.NONE:
        assert largest.max() < 1e-4


def test_labels_are_zero_where_there_is_nothing_to_name() -> None:
    labels = random_specimens(seeded(2), FAMILIES["train"], 64, SHAPE).labels
    assert set(labels.defect.tolist()) == set(SINGLE)
    for defect, burgers, line, glide in zip(labels.defect, labels.burgers, labels.line, labels.glide, strict=True):
        lengths = [round(float(vector.norm()), 3) for vector in (burgers, line, glide)]
        assert lengths == {
            Defect.NONE: [0.0, 0.0, 0.0],
            Defect.LOOP: [0.707, 0.0, 1.0],
            Defect.FAULT: [0.408, 0.0, 1.0],
            Defect.TWIN: [0.0, 0.0, 1.0],
        }.get(Defect(int(defect)), [0.707, 1.0, 1.0])


def test_loops_are_of_vacancies_and_of_interstitials_and_the_label_says_which() -> None:
    """Near the plane of a loop of interstitials the lattice is pushed apart: u along the normal grows across it."""
    base = replace(FAMILIES["train"], shapes=(Shape.POLYHEDRON,), phase_range=(0.0, 0.0), defects=(Defect.LOOP,))
    labels = random_specimens(seeded(4), base, 32, SHAPE).labels
    along = (unit(labels.burgers) * labels.glide).sum(-1)
    assert torch.allclose(along.abs(), torch.ones(32), atol=1e-5)
    assert 8 < int((along > 0).sum()) < 24
    for sense, closes in ((1.0, True), (-1.0, False)):
        burgers, normal = torch.tensor([[0.0, 0.0, 0.3]]), torch.tensor([[0.0, 0.0, sense]])
        corners = circle(torch.zeros(1, 3), normal, torch.tensor([5.0]))
        above, below = dislocation_loop(torch.tensor([[[0.1, 0.1], [0.0, 0.0], [1.0, -1.0]]]), corners, burgers)[0, 2]
        assert (above < below) == closes


def test_the_burgers_vector_of_a_label_is_what_the_phase_winds_by() -> None:
    base = replace(FAMILIES["train"], shapes=(Shape.WULFF,), phase_range=(0.0, 0.0), oversampling=(2.0, 2.0))
    drawn = random_specimens(seeded(1), replace(base, defects=(Defect.SCREW, Defect.EDGE, Defect.MIXED)), 12, (32,) * 3)
    assert torch.allclose(drawn.labels.visibility, drawn.labels.visibility.round(), atol=1e-4)
    assert drawn.labels.burgers.norm(dim=-1).min() == pytest.approx(2**-0.5, abs=1e-4)
    # Phase vortices: plaquettes of neighbouring voxels around which the phase winds.
    for n in range(12):
        phase, inside = torch.angle(drawn.object_[n]), drawn.filling[n] > 0.9
        charges = 0.0
        for a, b in ((0, 1), (0, 2), (1, 2)):
            step_a, step_b = (wrapped(phase.roll(-1, axis) - phase) for axis in (a, b))
            winding = step_a + step_b.roll(-1, a) - step_a.roll(-1, b) - step_b
            within = inside & inside.roll(-1, a) & inside.roll(-1, b) & inside.roll((-1, -1), (a, b))
            charges += float((winding.abs() > 3).logical_and(within).sum())
        assert (charges > 4) == (abs(float(drawn.labels.visibility[n])) > 0.5), n


def wrapped(phase: torch.Tensor) -> torch.Tensor:
    return torch.remainder(phase + np.pi, 2 * np.pi) - np.pi


def test_no_scene_is_empty_however_a_crystal_is_cut() -> None:
    """Grains that are turned away and the dark half of a twin together may leave nothing: that batch is drawn anew."""
    base = replace(FAMILIES["train"], shapes=(Shape.GRAINS,))
    plain = random_specimens(seeded(0), replace(base, defects=(Defect.NONE,)), 256, (16, 16, 16))
    assert torch.all(plain.filling[:, 8, 8, 8] > 0)
    generator, twins = seeded(0), replace(base, defects=(Defect.TWIN,))
    for _ in range(16):
        assert torch.all(random_scenes(generator, twins, 16, (16, 16, 16)).expected.sum((1, 2, 3)) > 0)


def test_oversampling_stays_within_what_a_family_says() -> None:
    wanted = Family(oversampling=(3.0, 3.0), shapes=(Shape.WULFF, Shape.SMOOTH), defects=(Defect.NONE,))
    drawn = random_specimens(seeded(0), wanted, 8, (32, 32, 32))
    for axis in range(3):
        others = tuple(a + 1 for a in range(3) if a != axis)
        extent = (drawn.filling > 0.02).any(dim=others[1]).any(dim=others[0]).sum(1).float()
        assert torch.all((32 / extent > 2.4) & (32 / extent < 3.4))


def test_an_orthogonal_family_has_orthogonal_voxels() -> None:
    drawn = random_scenes(seeded(0), Family(skewed=False), 2, SHAPE).specimens
    products = drawn.grid.basis_nm.mT @ drawn.grid.basis_nm
    assert torch.allclose(products, torch.diag_embed(products.diagonal(dim1=1, dim2=2)), atol=1e-4)


def test_families_do_not_share_their_crystals() -> None:
    first, second = (next(frozen_scenes(name, "test", 2, SHAPE)) for name in ("train", "elements"))
    assert not torch.allclose(first.specimens.filling, second.specimens.filling)


def test_two_lines_that_a_reflection_sees() -> None:
    family = replace(FAMILIES["defects"], shapes=(Shape.WULFF,), defects=(Defect.MULTIPLE,), phase_range=(0.0, 0.0))
    drawn = random_specimens(seeded(3), family, 8, SHAPE)
    assert (drawn.labels.visibility.abs() > 0.5).all()
    alone = random_specimens(seeded(3), replace(family, defects=(Defect.EDGE,)), 8, SHAPE)
    # The same kind of crystal with a second line is another object, as bright.
    assert drawn.object_.abs().mean() == pytest.approx(float(alone.object_.abs().mean()), rel=0.2)
    assert torch.isfinite(torch.view_as_real(drawn.object_)).all()
