"""What the encoder of crystals sees and learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.invert.network import Encoder
from models.invert.train import TASK, examples, loss, metrics, on_grid, other_hand, turned
from models.invert.view import CHANNELS, EDGE, SEMI_AXIS, crystal_semi_axes, grid_space, to_crystal, view
from models.simulate.diffraction import far_field, intensity
from models.simulate.draws import seeded
from models.simulate.families import Defect, Family, Shape
from models.simulate.scenes import random_scenes
from models.simulate.specimens import random_specimens

PLAIN = Family(shapes=(Shape.WULFF, Shape.POLYHEDRON), defects=(Defect.NONE,), phase_range=(0.0, 3.0))


def test_grids_of_crystal_and_pattern_are_transforms_of_each_other() -> None:
    field = torch.randn(2, EDGE, EDGE, EDGE, dtype=torch.complex64, generator=seeded(0))
    torch.testing.assert_close(to_crystal(far_field(field)), field, rtol=1e-4, atol=1e-4)


def test_the_view_is_a_direct_sum() -> None:
    counts = torch.rand(1, 12, 10, 14, generator=seeded(1))
    axes = torch.tensor([[2.0, 3.0, 2.5]])
    found = view(counts, axes).autocorrelation[0]
    index = [torch.arange(n) - n // 2 for n in counts.shape[1:]]
    for place in ((16, 16, 16), (20, 9, 16), (3, 30, 11)):
        r = [(p - EDGE // 2) / SEMI_AXIS * a for p, a in zip(place, axes[0].tolist(), strict=True)]
        waves = [torch.exp(2j * torch.pi * q * x / len(q)) / EDGE for q, x in zip(index, r, strict=True)]
        wanted = torch.einsum("zyx,z,y,x->", counts[0].to(torch.complex64), *waves)
        assert abs(found[place] - wanted) < 1e-5


def test_a_crystal_looks_the_same_however_finely_it_is_sampled() -> None:
    """Twice the voxels at twice the oversampling, for as many photons, is the same pattern, sampled twice as finely."""
    object_ = random_specimens(seeded(2), replace(PLAIN, oversampling=(2.2, 2.4)), 2, (40, 40, 40)).object_
    wide = torch.zeros(2, 80, 80, 80, dtype=object_.dtype)
    wide[:, 20:60, 20:60, 20:60] = object_
    patterns = (share * intensity(far_field(o)) for share, o in ((1e-3, object_), (1e-3 / 8.0, wide)))
    coarse, fine = (view(pattern, torch.full((2, 3), 8.5)).channels() for pattern in patterns)
    for field in (slice(0, 1), slice(1, 3), slice(3, 5)):  # logarithms, and real with imaginary parts
        apart = (fine - coarse)[:, field].flatten(1).norm(dim=1) / coarse[:, field].flatten(1).norm(dim=1)
        assert apart.max() < 0.02


def test_semi_axes_are_those_of_the_crystals() -> None:
    object_ = random_specimens(seeded(3), PLAIN, 8, (48, 48, 48)).object_
    found = crystal_semi_axes(intensity(far_field(object_)))
    pattern = intensity(far_field(object_))
    dim = torch.poisson(pattern * (1e4 / pattern.sum((1, 2, 3), keepdim=True)), generator=seeded(8))
    bodies = object_.abs() > 0.5
    for axes, body in zip(torch.cat([found, crystal_semi_axes(dim)]), torch.cat([bodies, bodies]), strict=True):
        inside = body.nonzero()
        true = (inside.amax(0) - inside.amin(0) + 1) / 2.0
        assert bool(((axes / true > 0.5) & (axes / true < 1.3)).all())


def test_objects_on_the_grid_scatter_what_the_view_shows() -> None:
    object_ = random_specimens(seeded(4), PLAIN, 3, (48, 48, 48)).object_
    seen = view(intensity(far_field(object_)))
    told = far_field(on_grid(object_, seen)).abs().flatten(1)
    shown = seen.intensity.sqrt().flatten(1)
    correlation = (told * shown).sum(1) / told.norm(dim=1) / shown.norm(dim=1)
    assert correlation.min() > 0.95


def test_both_hands_scatter_alike_and_cost_the_same() -> None:
    generator = seeded(5)
    drawn = examples(random_scenes(generator, PLAIN, 2, (40, 40, 40)), generator)
    wanted = torch.complex(drawn.targets[:, 0], drawn.targets[:, 1])
    twin = other_hand(wanted)
    torch.testing.assert_close(other_hand(twin), wanted)
    torch.testing.assert_close(far_field(twin).abs(), far_field(wanted).abs(), rtol=1e-3, atol=1e-3)
    mirrored = replace(drawn, targets=torch.stack([twin.real, twin.imag], 1))
    latents = grid_space().sphere().expand(2, -1) + 0.05 * torch.randn(2, grid_space().size, generator=generator)
    assert loss(latents, mirrored) == pytest.approx(loss(latents, drawn).item(), rel=1e-4)
    for name, values in metrics(latents, mirrored).items():
        torch.testing.assert_close(values, metrics(latents, drawn)[name], rtol=1e-3, atol=1e-3)


def test_turned_examples_are_those_of_turned_crystals() -> None:
    generator = seeded(6)
    drawn = examples(random_scenes(generator, PLAIN, 4, (40, 40, 40)), generator)
    after = turned(drawn, generator)
    wanted = torch.complex(after.targets[:, 0], after.targets[:, 1])
    told, shown = far_field(wanted).abs().log1p().flatten(1), after.inputs[:, 0].flatten(1)
    before = far_field(torch.complex(drawn.targets[:, 0], drawn.targets[:, 1])).abs().log1p().flatten(1)
    for now, pattern, was, then in zip(told, shown, before, drawn.inputs[:, 0].flatten(1), strict=True):
        assert np.corrcoef(now, pattern)[0, 1] == pytest.approx(np.corrcoef(was, then)[0, 1], abs=0.02)


def test_the_encoder_begins_with_a_ball_and_learns() -> None:
    generator = seeded(7)
    drawn = examples(random_scenes(generator, PLAIN, 4, (40, 40, 40)), generator)
    network = TASK.build()
    assert isinstance(network, Encoder)
    assert drawn.inputs.shape == (4, CHANNELS, EDGE, EDGE, EDGE)
    first = network(drawn.inputs)
    torch.testing.assert_close(first, grid_space().sphere().expand(4, -1))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        off = loss(network(drawn.inputs), drawn)
        off.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(off.item())
    assert losses[-1] < 0.8 * losses[0]
