"""Small-angle scattering of particles in a row of exposures: a family of patterns that are no Bragg peaks.

Polydisperse spheres (Rayleigh 1911), their peak of order as a Gaussian ring, drawn out along an axis where particles
are aligned, on a background; sizes, order and intensity drift from frame to frame.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from models.simulate.draws import log_uniform, uniform

# Of a sphere: radius in units of the inverse of half the detector's edge, so that there are so many fringes.
RADII = (4.0, 40.0)
POLYDISPERSITY = (0.02, 0.2)
STRETCH = (1.0, 3.0)
RING_SHARE = (0.0, 1.0)
BACKGROUND_SHARE = (1e-6, 1e-3)
DRIFT = 0.3  # of size and intensity over the row, at most
AVERAGED = 5  # sizes that stand for their distribution


def random_small_angle(generator: Generator, batch: int, shape: tuple[int, int, int], flux: Tensor) -> Tensor:
    """Draw expected counts float32 (batch, z, y, x), frames along z, each volume of `flux` (batch,) counts in all."""
    device, (frames, rows, columns) = generator.device, shape
    centre = uniform(generator, 0.0, 1.0, batch, 2, 1, 1) * torch.tensor([rows, columns], device=device).view(2, 1, 1)
    y, x = (torch.arange(n, device=device).float() for n in (rows, columns))
    row, column = y[:, None] - centre[:, 0], x[None, :] - centre[:, 1]
    angle, stretch = uniform(generator, 0.0, math.pi, batch, 1, 1), uniform(generator, *STRETCH, batch, 1, 1)
    along, across = row * angle.cos() + column * angle.sin(), column * angle.cos() - row * angle.sin()
    q = (along.square() + (stretch * across).square()).sqrt()[:, None] * (2.0 / max(rows, columns))
    time = torch.linspace(-0.5, 0.5, frames, device=device).view(1, -1, 1, 1)
    drifts = 1.0 + DRIFT * uniform(generator, -1.0, 1.0, batch, 3, 1, 1, 1) * time[:, None]
    radius = log_uniform(generator, *RADII, batch, 1, 1, 1) * drifts[:, 0]
    pattern = _spheres(q, radius, uniform(generator, *POLYDISPERSITY, batch, 1, 1, 1))
    ring = ((q * radius - 3.0) * drifts[:, 1]).square().neg().exp()
    pattern = pattern * (1.0 + 10.0 * uniform(generator, *RING_SHARE, batch, 1, 1, 1) * ring) * drifts[:, 2]
    pattern = pattern + log_uniform(generator, *BACKGROUND_SHARE, batch, 1, 1, 1)
    return pattern * (flux / pattern.sum((1, 2, 3))).view(-1, 1, 1, 1)


def _spheres(q: Tensor, radius: Tensor, spread: Tensor) -> Tensor:
    """Form factor of spheres, 1 at q = 0, averaged over sizes of relative width `spread`."""
    steps = torch.linspace(-1.5, 1.5, AVERAGED)
    weights = torch.exp(-steps.square() / 2.0)
    total = torch.zeros((), device=q.device)
    for step, weight in zip(steps.tolist(), (weights / weights.sum()).tolist(), strict=True):
        arm = (q * radius * (1.0 + spread * step)).clamp(min=1e-2)
        total = total + weight * (3.0 * (arm.sin() - arm * arm.cos()) / arm.pow(3)).square()
    return total
