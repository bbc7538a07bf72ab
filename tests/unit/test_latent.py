"""Crystals as few numbers: their bodies, their patterns, and the way back from voxels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.invert.fitted import fitted
from models.invert.latent import NORMAL, LatentSpace
from models.simulate.draws import fibonacci_sphere, seeded
from models.simulate.families import Defect, Family, Shape
from models.simulate.specimens import random_specimens

EDGE = 48
SPACE = LatentSpace((EDGE, EDGE, EDGE), (9.0, 7.0, 8.0))


def random_latents(seed: int, batch: int = 2) -> torch.Tensor:
    """Crystals of some roughness and phase."""
    generator = seeded(seed)
    latents = SPACE.sphere().repeat(batch, 1)
    latents[:, 4 : SPACE.surface.stop] += 0.08 * torch.randn(batch, SPACE.surface.stop - 4, generator=generator)
    latents[:, SPACE.phase] += 0.6 * torch.randn(batch, len(SPACE.centres), generator=generator)
    return latents


def test_a_ball_has_its_volume_and_its_form_factor() -> None:
    radius = 8.0
    space = LatentSpace((EDGE, EDGE, EDGE), (radius, radius, radius))
    ball = space.objects(space.sphere()[None])[0]
    assert ball.abs().sum().item() == pytest.approx(4.0 / 3.0 * math.pi * radius**3, rel=5e-3)
    found = torch.fft.fftn(torch.fft.ifftshift(ball))[:10, 0, 0].real.double()
    x = 2.0 * math.pi * radius * torch.arange(1, 10, dtype=torch.float64) / EDGE
    wanted = 4.0 * math.pi * radius**3 * (x.sin() - x * x.cos()) / x**3
    np.testing.assert_allclose(found[1:], wanted, atol=3e-3 * found[0].item())


def test_the_surface_is_where_the_harmonics_say() -> None:
    latents = random_latents(1)
    rays = fibonacci_sphere(200)
    radius = SPACE.surface_radius(latents, rays)
    objects = SPACE.objects(latents).abs()
    axes, middle = torch.tensor(SPACE.semi_axes), EDGE // 2
    for share, filled in ((0.8, True), (1.2, False)):
        places = (share * radius[..., None] * rays * axes + middle).round().long()
        inside = torch.stack([o[tuple(p.unbind(-1))] for o, p in zip(objects, places, strict=True)]) > 0.5
        assert (inside == filled).float().mean() > 0.98


def test_slopes_are_those_of_small_differences() -> None:
    latents = random_latents(2, 1).requires_grad_()
    target = torch.fft.fftn(SPACE.objects(random_latents(3, 1))).abs()

    def cost(values: torch.Tensor) -> torch.Tensor:
        return (torch.fft.fftn(SPACE.objects(values)).abs() - target).square().mean()

    (slope,) = torch.autograd.grad(cost(latents), latents)  # type: ignore[no-untyped-call]
    for index in (0, 10, 30, SPACE.density.start + 20, SPACE.phase.start + 5, SPACE.phase.start + 30):
        step = torch.zeros_like(latents)
        step[0, index] = 0.02
        with torch.no_grad():
            difference = (cost(latents + step) - cost(latents - step)) / 0.04
        assert slope[0, index].item() == pytest.approx(difference.item(), rel=0.1, abs=0.02 * slope.abs().max().item())


@given(st.integers(0, 2**20))
@settings(max_examples=10)
def test_what_is_fitted_is_what_was_drawn(seed: int) -> None:
    latents = random_latents(seed, 1)
    object_ = SPACE.objects(latents)[0].numpy()
    again = SPACE.objects(fitted(SPACE, object_)[None])[0].numpy()
    assert abs(np.vdot(again, object_)) > 0.98 * np.linalg.norm(again) * np.linalg.norm(object_)


def test_crystals_of_the_simulator_are_told_by_their_latents() -> None:
    family = Family(
        shapes=(Shape.WULFF, Shape.CUBOCTAHEDRON, Shape.POLYHEDRON, Shape.SMOOTH),
        defects=(Defect.NONE,), phase_range=(0.0, 6.0),
    )  # fmt: skip
    for object_ in random_specimens(seeded(5), family, 4, (EDGE, EDGE, EDGE)).object_.numpy():
        inside = np.argwhere(np.abs(object_) > 0.5)
        middle = np.round(inside.mean(0)).astype(int)
        centred = np.roll(object_, tuple(EDGE // 2 - middle), (0, 1, 2))
        space = LatentSpace((EDGE, EDGE, EDGE), (np.ptp(inside, axis=0) + 1) / 2.0)
        again = space.objects(fitted(space, centred)[None])[0].numpy()
        assert abs(np.vdot(again, centred)) > 0.95 * np.linalg.norm(again) * np.linalg.norm(centred)


def test_bounds_hold_the_sphere() -> None:
    low, high = SPACE.bounds()
    sphere = SPACE.sphere()
    assert sphere[0] == NORMAL
    assert bool(((low < sphere) & (sphere < high)).all())


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(ValueError, match="semi-axes are"):
        LatentSpace((32, 32, 32), (16.0, 5.0, 5.0))
    with pytest.raises(ValueError, match="the object is empty"):
        fitted(SPACE, np.zeros(SPACE.shape, np.complex64))
    beside = np.zeros(SPACE.shape, np.complex64)
    beside[:3, :3, :3] = 1.0
    with pytest.raises(ValueError, match="lies beside the origin"):
        fitted(SPACE, beside)
