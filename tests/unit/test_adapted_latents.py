"""Latents adapted to a pattern, by its gradient and without: they come back to the crystal that made it."""

from __future__ import annotations

import pytest
import torch

from models.extremum import init
from models.invert.adapt import descend, latent_seeking, seek
from models.invert.latent import LatentSpace
from models.invert.misfit import Misfit
from models.simulate.diffraction import far_field, intensity
from models.simulate.draws import seeded
from models.simulate.grid import Triple

SHAPE: Triple = (32, 32, 32)
SPACE = LatentSpace(SHAPE, (6.0, 6.0, 6.0))


def crystal(seed: int = 0) -> torch.Tensor:
    generator = seeded(seed)
    latents = SPACE.sphere()
    latents[4 : SPACE.surface.stop] += 0.05 * torch.randn(SPACE.surface.stop - 4, generator=generator)
    latents[SPACE.phase] += 0.3 * torch.randn(len(SPACE.centres), generator=generator)
    return latents


def perturbed(latents: torch.Tensor, share: float, seed: int = 1) -> torch.Tensor:
    low, high = SPACE.bounds()
    return latents + share * (high - low) * torch.randn(len(latents), generator=seeded(seed))


def pattern(latents: torch.Tensor) -> torch.Tensor:
    return intensity(far_field(SPACE.objects(latents[None])))[0]


def test_a_crystal_explains_its_own_pattern_whatever_is_hidden_and_however_bright() -> None:
    latents = crystal()
    counts, seen = 37.0 * pattern(latents), torch.ones(SHAPE, dtype=torch.bool)
    seen[:, 14:18] = False
    counts[:, 14:18] = 1e9
    misfit = Misfit(SPACE, counts, seen)
    assert misfit(latents[None]).item() < 1e-6
    assert misfit(SPACE.sphere()[None]).item() > 1e-2


def test_the_gradient_leads_back() -> None:
    wanted = crystal()
    misfit = Misfit(SPACE, pattern(wanted), torch.ones(SHAPE, dtype=torch.bool))
    start = perturbed(wanted, 0.01)
    found = descend(misfit, start, 150)
    assert len(found.curve) == 150
    assert found.misfit == min(found.curve) == pytest.approx(misfit(found.latents[None]).item(), rel=1e-3)
    assert found.misfit < 0.02 * found.curve[0]


def test_seeking_leads_back_without_a_gradient_and_goes_on_where_it_stopped() -> None:
    wanted = crystal()
    misfit = Misfit(SPACE, pattern(wanted), torch.ones(SHAPE, dtype=torch.bool))
    start = perturbed(wanted, 0.03)
    seeking = latent_seeking(SPACE)
    half = seek(misfit, seeking, init(seeking, start.numpy()), 1000)
    whole = seek(misfit, seeking, half, 1000)
    first = misfit(start[None]).item()
    assert half.step == 1000
    assert whole.best_cost < 0.15 * first
    assert whole.best_cost == seek(misfit, seeking, init(seeking, start.numpy()), 2000).best_cost


def test_latents_stay_within_their_bounds() -> None:
    low, high = SPACE.bounds()
    misfit = Misfit(SPACE, pattern(crystal()), torch.ones(SHAPE, dtype=torch.bool))
    found = descend(misfit, high + 1.0, 5)
    assert bool(((found.latents >= low - 1e-5) & (found.latents <= high + 1e-5)).all())


def test_what_cannot_be_compared_is_refused() -> None:
    everywhere = torch.ones(SHAPE, dtype=torch.bool)
    with pytest.raises(ValueError, match="zero counts"):
        Misfit(SPACE, torch.zeros(SHAPE), everywhere)
    with pytest.raises(ValueError, match="expected"):
        Misfit(SPACE, torch.ones(16, 16, 16), everywhere)
