"""A crystal as few numbers: a surface of spherical harmonics, an interior and a phase of radial basis functions.

After Scheinker and Pokharel, J. Appl. Phys. 128 (2020) 184901: the radius of the surface is a series of real spherical
harmonics (eq. 3), density and displacement are sums of Gaussians (eqs. 5 and 6). Differentiable throughout.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.simulate.grid import Triple
from models.simulate.harmonics import harmonics_count, real_harmonics

# Highest degree of the surface: its finest bump is 30 degrees wide.
DEGREE = 6
# Distance of neighbouring bumps in the unit ball, their width (sigma), and how far out they lie: bumps at the surface
# are needed where the phase rises towards it.
SPACING, WIDTH, REACH = 0.5, 0.35, 1.05
# Voxels farther out than this many semi-axes are empty in every crystal of the space.
FARTHEST = 1.7
# Bounds: the mean radius, as a share of the semi-axes; a surface coefficient, as a share of the mean radius's own; the
# heights of density and phase (rad).
RADII, ROUGHNESS, DENSITY, PHASE = (0.4, 1.5), 0.3, 0.8, 6.0
SUPPORT = 0.3  # share of its interior at which a crystal ends
NORMAL = math.sqrt(4.0 * math.pi)  # the coefficient of a sphere of radius 1


class LatentSpace:
    """Crystals on `shape` [z, y, x], origin at index n // 2, about as large as an ellipsoid of `semi_axes` (z, y, x) in
    voxels.

    Latents are float32 (batch, `size`): (DEGREE + 1)^2 coefficients of the `surface` in semi-axes, the heights of the
    bumps of the `density` beside 1, and those of the `phase` in rad. Raises ValueError where the ellipsoid does not
    fit.
    """

    def __init__(self, shape: Triple, semi_axes: Sequence[float], device: torch.device | str = "cpu") -> None:
        if any(not 1.0 <= axis < n / 2 for axis, n in zip(semi_axes, shape, strict=True)):
            raise ValueError(
                f"semi-axes are {tuple(semi_axes)} voxels, expected 1 or more and less than half of {shape}"
            )
        self.shape, self.semi_axes = shape, tuple(float(axis) for axis in semi_axes)
        self.centres = _lattice(device)
        edges = np.cumsum([0, harmonics_count(DEGREE), len(self.centres), len(self.centres)]).tolist()
        self.surface, self.density, self.phase = (slice(*pair) for pair in itertools.pairwise(edges))
        self.size: int = edges[-1]
        axes = torch.tensor(self.semi_axes, device=device)
        self._box = tuple(_inner(n, FARTHEST * axis) for n, axis in zip(shape, self.semi_axes, strict=True))
        self.points = _points(shape, self._box, device) / axes  # (voxels, 3) in semi-axes
        self._radius = self.points.norm(dim=1).clamp(min=1e-6)
        self._within = self._radius <= FARTHEST
        self._slope = ((self.points / axes).norm(dim=1) / self._radius).clamp(min=1e-6)
        self._harmonics = surface_harmonics(self._rays())
        square = torch.cdist(self.points, self.centres).square()
        self.bumps = torch.exp(square / (-2.0 * WIDTH * WIDTH))

    @property
    def device(self) -> torch.device:
        """Where latents and crystals lie."""
        return self.points.device

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Return the least and the largest latents, float32 (size,) each."""
        high = torch.empty(self.size, device=self.points.device)
        high[self.surface], high[self.density], high[self.phase] = ROUGHNESS * NORMAL, DENSITY, PHASE
        low = -high
        low[0], high[0] = (share * NORMAL for share in RADII)
        return low, high

    def sphere(self) -> Tensor:
        """Return the latents (size,) of the ellipsoid of the semi-axes, even and without phase."""
        latents = torch.zeros(self.size, device=self.points.device)
        latents[0] = NORMAL
        return latents

    def objects(self, latents: Tensor) -> Tensor:
        """Return the crystals of `latents` (batch, size), complex64 (batch, z, y, x).

        A voxel that the surface cuts is filled in part, the ramp as wide as the voxel along the radius.
        """
        depth = (latents[:, self.surface] @ self._harmonics.mT - self._radius) / self._slope
        filling = (depth + 0.5).clamp(0.0, 1.0) * self._within
        amplitude = filling * (1.0 + latents[:, self.density] @ self.bumps.mT).clamp(min=0.0)
        inner = torch.polar(amplitude, latents[:, self.phase] @ self.bumps.mT)
        whole = torch.zeros((len(latents), *self.shape), dtype=inner.dtype, device=inner.device)
        edges = [box.stop - box.start for box in self._box]
        whole[(slice(None), *self._box)] = inner.view(len(latents), *edges)
        return whole

    def surface_radius(self, latents: Tensor, rays: Tensor) -> Tensor:
        """Return how far the surface lies along unit `rays` (n, 3) [z, y, x], in semi-axes, float32 (batch, n)."""
        radius: Tensor = latents[:, self.surface] @ surface_harmonics(rays).mT
        return radius

    def inner(self, voxels: NDArray[np.bool_]) -> Tensor:
        """Return the part of `voxels` bool [z, y, x] that crystals of the space can fill, bool (n,) as `points`."""
        return torch.from_numpy(np.ascontiguousarray(voxels[self._box])).flatten()

    def _rays(self) -> Tensor:
        rays: Tensor = self.points / self._radius[:, None]
        rays[self._radius < 1e-3] = torch.tensor([1.0, 0.0, 0.0], device=rays.device)
        return rays


def surface_harmonics(rays: Tensor) -> Tensor:
    """Return the harmonics of a surface along unit `rays` (n, 3) [z, y, x], float32 (n, (DEGREE + 1)^2)."""
    return real_harmonics(DEGREE, rays.flip(-1))


def _lattice(device: torch.device | str) -> Tensor:
    """Return the centres of the bumps, body-centred cubic within REACH, float32 (bumps, 3)."""
    steps = np.arange(-4, 5) * SPACING * 2.0 / math.sqrt(3.0)
    cubic = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    both = np.concatenate([cubic, cubic + SPACING / math.sqrt(3.0)])
    near = both[np.linalg.norm(both, axis=1) <= REACH]
    return torch.from_numpy(near).float().to(device)


def _inner(length: int, reach: float) -> slice:
    middle = length // 2
    return slice(max(0, middle - math.ceil(reach)), min(length, middle + math.ceil(reach) + 1))


def _points(shape: Triple, box: tuple[slice, ...], device: torch.device | str) -> Tensor:
    axes = [torch.arange(b.start, b.stop, dtype=torch.float32) - n // 2 for n, b in zip(shape, box, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).view(-1, 3).to(device)
