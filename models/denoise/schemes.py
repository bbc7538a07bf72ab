"""What a denoiser is shown and asked for, by scheme of training and kind of noise.

noise2truth asks for the noise-free intensity; noise2noise (Lehtinen et al., ICML 2018) for a second exposure, which
needs no truth; noise2void (Krull et al., CVPR 2019) for the voxel itself, hidden in what is shown, which needs no
second exposure. Because the loss is linear in the target, all three have the same minimum: the expected counts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Generator, Tensor

from models.denoise.network import encoded
from models.simulate.draws import chosen, log_uniform
from models.simulate.scenes import Scenes
from models.simulate.small_angle import random_small_angle
from models.training.task import Examples

Scheme = Literal["noise2truth", "noise2noise", "noise2void"]
Noise = Literal["poisson", "gaussian"]
# Share of the volumes that are small-angle scattering.
SMALL_ANGLE = 0.2
# Standard deviation of Gaussian noise, counts.
GAUSSIAN_COUNTS = (0.3, 10.0)
# Share of the voxels that noise2void hides, each behind one within this many voxels.
BLIND, NEAR = 0.03, 2
TRUTH = 0.0  # variance of a target without noise


def examples(scenes: Scenes, generator: Generator, *, scheme: Scheme, noise: Noise) -> Examples:
    """Return encoded counts; targets (batch, 2, z, y, x): counts to aim at and the variance of their noise; weights 1
    where they are asked for.
    """
    expected, counts = _with_small_angle(scenes, generator)
    announced = scenes.announced
    sigma = log_uniform(generator, *GAUSSIAN_COUNTS, len(expected), 1, 1, 1)
    if noise == "gaussian":
        counts = expected + sigma * torch.randn(expected.shape, generator=generator, device=expected.device)
    weights = announced.float()
    if scheme == "noise2truth":
        return _asked(counts, announced, expected, torch.full_like(expected, TRUTH), weights)
    if scheme == "noise2noise":
        again, variance = _exposed(expected, sigma, generator, noise)
        return _asked(counts, announced, again, variance, weights)
    blind = chosen(generator, BLIND, *counts.shape) & announced
    variance = counts if noise == "poisson" else sigma.square().expand(counts.shape)
    return _asked(
        torch.where(blind, _neighbours(counts, generator), counts), announced, counts, variance, blind.float()
    )


SCHEMES: dict[tuple[Scheme, Noise], Callable[[Scenes, Generator], Examples]] = {
    (scheme, noise): partial(examples, scheme=scheme, noise=noise)
    for scheme in ("noise2truth", "noise2noise", "noise2void")
    for noise in ("poisson", "gaussian")
}


def _with_small_angle(scenes: Scenes, generator: Generator) -> tuple[Tensor, Tensor]:
    """Expected counts and counts, some of the Bragg peaks exchanged for small-angle patterns of the same flux."""
    z, y, x = scenes.expected.shape[1:]
    others = random_small_angle(generator, len(scenes.flux), (z, y, x), scenes.flux)
    exchanged = chosen(generator, SMALL_ANGLE, len(others), 1, 1, 1)
    counted = torch.poisson(others, generator=generator) * scenes.announced
    return torch.where(exchanged, others, scenes.expected), torch.where(exchanged, counted, scenes.counts)


def _exposed(expected: Tensor, sigma: Tensor, generator: Generator, noise: Noise) -> tuple[Tensor, Tensor]:
    """A further exposure and the variance of its noise: of a Poisson count, the count itself is an unbiased guess."""
    if noise == "poisson":
        again = torch.poisson(expected, generator=generator)
        return again, again
    noisy = expected + sigma * torch.randn(expected.shape, generator=generator, device=expected.device)
    return noisy, sigma.square().expand(expected.shape)


def _neighbours(counts: Tensor, generator: Generator) -> Tensor:
    """Each voxel's value exchanged for that of one nearby, the same way for all voxels of a draw."""
    shifts = torch.randint(-NEAR, NEAR + 1, (3,), generator=generator, device=counts.device).tolist()
    if not any(shifts):
        shifts[0] = 1
    return counts.roll(shifts, (-3, -2, -1))


def _asked(counts: Tensor, announced: Tensor, target: Tensor, variance: Tensor, weights: Tensor) -> Examples:
    return Examples(
        inputs=encoded(counts, announced), targets=torch.stack([target, variance], 1), weights=weights[:, None]
    )
