"""Crystals as learned latents, with a network that has learned nothing but its shapes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models import registry
from models.autoencoder import network
from models.autoencoder.network import MARGIN, SIZE, TOLD, Autoencoder, split
from models.autoencoder.space import BOUND, NAME, LearnedSpace, told_by
from models.autoencoder.train import examples, loss, metrics
from models.bcdi.modes import correlation
from models.cards import read_card, save_weights, write_card
from models.invert.adapt import descend
from models.invert.misfit import Misfit
from models.invert.predict import invert
from models.invert.view import EDGE
from models.simulate.diffraction import far_field, intensity
from models.simulate.draws import seeded
from models.simulate.families import Defect, Family, Shape
from models.simulate.scenes import random_scenes
from models.training.task import Examples

PLAIN = Family(shapes=(Shape.WULFF, Shape.POLYHEDRON), defects=(Defect.NONE,), phase_range=(0.0, 3.0))


@pytest.fixture(scope="module")
def drawn() -> Examples:
    generator = seeded(3)
    return examples(random_scenes(generator, PLAIN, 2, (40, 40, 40)), generator)


@pytest.fixture(scope="module")
def learned(drawn: Examples) -> Autoencoder:
    """One that knows two crystals by heart."""
    torch.manual_seed(0)
    learner = Autoencoder()
    optimiser = torch.optim.Adam(learner.parameters(), lr=3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        loss(learner(drawn.inputs), drawn).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return learner.eval().requires_grad_(False)


def test_crystals_come_back_from_their_latents(drawn: Examples, learned: Autoencoder) -> None:
    outputs = learned(drawn.inputs)
    found, mean, log_variance = split(outputs)
    assert found.shape == (2, EDGE, EDGE, EDGE)
    assert mean.shape == log_variance.shape == (2, SIZE)
    assert not found[:, :MARGIN].any()
    assert not found[:, MARGIN + TOLD :].any()
    assert metrics(outputs, drawn)["correlation"].min() > 0.8
    assert loss(outputs, drawn) < loss(Autoencoder().eval()(drawn.inputs), drawn)


def test_inputs_have_no_phase_of_their_own(drawn: Examples) -> None:
    total = torch.complex(*drawn.inputs.sum((2, 3, 4)).unbind(1))
    torch.testing.assert_close(total.angle(), torch.zeros(2), atol=1e-3, rtol=0.0)


def test_learned_latents_are_adapted_as_others_are(drawn: Examples, learned: Autoencoder) -> None:
    """On a scan with other edges and another size of the crystal."""
    space = LearnedSpace((36, 40, 30), (7.0, 8.0, 6.0), learned)
    wanted = space.latents(space.objects(learned.encode(drawn.inputs[:1])[0])[0].numpy())
    object_ = space.objects(wanted[None])
    counts = intensity(far_field(object_))[0]
    misfit = Misfit(space, 1e6 * counts / counts.sum(), torch.ones(space.shape, dtype=torch.bool))
    found = descend(misfit, torch.zeros(space.size), 60)
    assert found.misfit < 0.3 * found.curve[0]
    low, high = space.bounds()
    assert bool(((found.latents >= low) & (found.latents <= high)).all())
    assert float(high[0]) == BOUND


def test_a_crystal_is_told_whatever_its_scale_and_phase(drawn: Examples, learned: Autoencoder) -> None:
    space = LearnedSpace((32, 32, 32), (7.0, 7.0, 7.0), learned)
    one = space.objects(learned.encode(drawn.inputs[:1])[0])[0].numpy()
    other = space.latents((one * 300.0 * np.exp(0.7j)).astype(np.complex64))
    torch.testing.assert_close(other, space.latents(one), atol=1e-3, rtol=1e-3)
    back = space.objects(other[None])[0].numpy()
    assert correlation(back, one) > 0.9


def test_a_trained_one_is_taken_from_its_folder(drawn: Examples, learned: Autoencoder, tmp_path: Path) -> None:
    folder = tmp_path / NAME
    folder.mkdir()
    shutil.copy(Path(network.__file__), folder)
    sha256 = save_weights(folder, learned.state_dict())
    write_card(folder, replace(read_card(registry.ROOT / "invert"), name=NAME, sha256=sha256))
    counts = 1e6 * intensity(far_field(torch.complex(*drawn.inputs[:1].unbind(1))))[0]
    told = invert((counts / counts.sum() * 1e6).numpy())
    space, latent = told_by("learned", told, tmp_path)
    assert space.size == len(latent) == SIZE
    assert space.objects(latent[None]).shape == (1, EDGE, EDGE, EDGE)
    assert told_by("surface", told)[0] is told.space
    with pytest.raises(ValueError, match="card"):
        told_by("learned", told, tmp_path / "elsewhere")
