"""The latents of a crystal that is known voxel by voxel."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from torch import Tensor

from models.bcdi.strain import unwrap
from models.invert.latent import FARTHEST, NORMAL, LatentSpace, surface_harmonics
from models.simulate.draws import fibonacci_sphere

# The surface is where the amplitude falls below this share of that of the interior.
EDGE = 0.5
# Phases of voxels with less than that, of the interior's amplitude, are noise.
LEAST_AMPLITUDE = 0.2
RAYS, STEPS = 1200, 96
# Least squares are drawn to an even sphere by so much (ridge): bumps outside the crystal are told by nothing.
SURFACE_RIDGE, BUMP_RIDGE = 1e-3, 1e-2


def fitted(space: LatentSpace, object_: NDArray[np.complex64]) -> Tensor:
    """Return the latents float32 (size,) that are nearest to `object_` complex64 [z, y, x], origin at index n // 2.

    `space` on the CPU. The surface is sought along rays from the origin, from outside, so the crystal should be
    star-shaped about it; its phase is unwrapped about its mean. The amplitude of the interior becomes 1. Latents may
    lie outside the bounds of the space. Raises ValueError where nothing is there.
    """
    amplitude = np.abs(object_).astype(np.float64)
    if not amplitude.any():
        raise ValueError("the object is empty: it has no latents")
    amplitude /= np.median(amplitude[amplitude > EDGE * amplitude.max()])
    latents = torch.zeros(space.size)
    latents[space.surface] = _surface(space, amplitude)
    filled = space.objects(latents[None])[0].abs().numpy()
    support = (filled > EDGE) & (amplitude > LEAST_AMPLITUDE)
    if not support.any():
        raise ValueError("the object lies beside the origin: centre it first")
    inner = space.inner(support)
    bumps = space.bumps[inner].double()
    mean = np.exp(-1j * np.angle(object_[support].sum()))
    phase = torch.from_numpy(unwrap(np.angle(object_ * mean), support)[support])
    weights, shares = (torch.from_numpy(values[support]).double() for values in (amplitude, filled))
    latents[space.phase] = _least_squares(bumps, phase, weights)
    latents[space.density] = _least_squares(bumps, weights / shares - 1.0, shares)
    return latents


def _surface(space: LatentSpace, amplitude: NDArray[np.float64]) -> Tensor:
    rays = fibonacci_sphere(RAYS)
    radii = np.linspace(0.0, FARTHEST, STEPS)
    steps = rays.numpy()[:, None, :] * np.asarray(space.semi_axes) * radii[:, None]
    places = steps + np.array([n // 2 for n in space.shape])
    along = map_coordinates(amplitude, places.reshape(-1, 3).T, order=1, mode="constant").reshape(RAYS, STEPS)
    inside = along >= EDGE
    last = STEPS - 1 - inside[:, ::-1].argmax(1)
    reach = np.where(inside.any(1), radii[last] + 0.5 * radii[1], 0.0)
    harmonics = surface_harmonics(rays).double()
    sphere = torch.zeros(harmonics.shape[1], dtype=torch.float64)
    sphere[0] = NORMAL * reach.mean()
    rest = torch.from_numpy(reach) - harmonics @ sphere
    square = harmonics.mT @ harmonics + SURFACE_RIDGE * RAYS / (4.0 * math.pi) * torch.eye(len(sphere))
    found: Tensor = torch.linalg.solve(square, harmonics.mT @ rest)
    return (sphere + found).float()


def _least_squares(bumps: Tensor, values: Tensor, weights: Tensor) -> Tensor:
    weighted = bumps * weights[:, None].square()
    square = bumps.mT @ weighted
    square += BUMP_RIDGE * square.diagonal().mean() * torch.eye(len(square))
    found: Tensor = torch.linalg.solve(square, weighted.mT @ values)
    return found.float()
