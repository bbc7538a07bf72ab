"""How a crystal changes over a series of scans: its latents, their plane of largest change, and what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.bcdi.modes import nearest_hand
from models.invert.fitted import fitted
from models.invert.latent import LatentSpace
from models.invert.view import grid_space, to_grid
from models.simulate.draws import fibonacci_sphere

# A plane is spanned by no fewer crystals.
FEWEST = 3
RAYS = 500
# Sizes that the grid and its latents tell, as shares of the first crystal's.
SIZES = 0.5, 1.6

Object = NDArray[np.complex64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """The crystals of a series, in order.

    `latents` float32 [n, size] of `grid_space`; `places` float64 [n, 2] in the plane of largest change, in shares of
    the latents' bounds, and `shares` of all change that its axes show. Against the first crystal, rms: `surface`
    float64 [n], as a share of its mean radius, and `phase` float64 [n], rad in its interior.
    """

    latents: NDArray[np.float32]
    places: NDArray[np.float64]
    shares: tuple[float, float]
    surface: NDArray[np.float64]
    phase: NDArray[np.float64]


def on_crystal_grid(object_: Object, support: NDArray[np.bool_], semi_axes: Sequence[float]) -> Object:
    """Return an object complex64 [z, y, x] about the middle of its `support` on the grid of `grid_space`, complex64
    [EDGE, EDGE, EDGE]; `semi_axes` (z, y, x) of the crystal that it is compared with, in its voxels. Raises ValueError
    where there is no crystal, or one whose size is another altogether.
    """
    own = semi_axes_of(support)
    ratios = [axis / other for axis, other in zip(own, semi_axes, strict=True)]
    if not all(SIZES[0] <= ratio <= SIZES[1] for ratio in ratios):
        told = " x ".join(f"{ratio:.2g}" for ratio in ratios)
        raise ValueError(f"its crystal is {told} times as large as the first, expected {SIZES[0]:g} to {SIZES[1]:g}")
    if not (np.isfinite(object_).all() and object_[support].any()):
        raise ValueError("its object is zero or not finite: no crystal to follow")
    middle = torch.from_numpy(np.argwhere(support).mean(0)).float()[None]
    on_grid = to_grid(torch.from_numpy(object_ * support)[None], torch.tensor([semi_axes], dtype=torch.float32), middle)
    return np.asarray(on_grid[0].numpy())


def semi_axes_of(support: NDArray[np.bool_]) -> tuple[float, ...]:
    """Return half of the widths of a support [z, y, x], voxels; raise ValueError where it is empty."""
    if not support.any():
        raise ValueError("its support is empty: no crystal to follow")
    inside = np.argwhere(support)
    return tuple((np.ptp(inside, axis=0) + 1) / 2.0)


def trajectory(crystals: Sequence[Object]) -> Trajectory:
    """Return how crystals, each as `on_crystal_grid` gives it, without ramp, change; each takes the hand nearest to the
    one before.

    Raises ValueError where there are fewer than FEWEST, or one has no latents.
    """
    if len(crystals) < FEWEST:
        raise ValueError(f"{len(crystals)} crystals: a series needs {FEWEST} or more")
    space = grid_space()
    found: list[Tensor] = []
    before = crystals[0]
    for crystal in crystals:
        before, _ = nearest_hand(crystal, before)
        found.append(fitted(space, before))
    latents = torch.stack(found)
    places, shares = _plane(space, latents)
    radii = space.surface_radius(latents, fibonacci_sphere(RAYS))
    inner = space.objects(latents[:1])[0].abs().numpy() > 0.5
    phases = (latents[:, space.phase] - latents[0, space.phase]) @ space.bumps[space.inner(inner)].mT
    return Trajectory(
        latents=latents.numpy(),
        places=places,
        shares=shares,
        surface=((radii - radii[0]).square().mean(1).sqrt() / radii[0].mean()).double().numpy(),
        phase=(phases - phases.mean(1, keepdim=True)).square().mean(1).sqrt().double().numpy(),
    )


def _plane(space: LatentSpace, latents: Tensor) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Principal components of the latents, each as a share of its bounds."""
    low, high = space.bounds()
    scaled = ((latents - latents.mean(0)) / (high - low)).double()
    left, sizes, _ = torch.linalg.svd(scaled, full_matrices=False)
    power = sizes.square() / sizes.square().sum().clamp(min=1e-30)
    return (left[:, :2] * sizes[:2]).numpy(), (float(power[0]), float(power[1]))
