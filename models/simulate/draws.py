"""Random numbers for a batch, drawn on the device of a torch.Generator, so that a seed names a batch."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor


def seeded(seed: int, device: torch.device | str = "cpu") -> Generator:
    """Return a generator on `device`; the same seed on another kind of device draws other numbers."""
    return Generator(device=device).manual_seed(seed)


def uniform(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    """Draw float32 of `shape`, even between `low` and `high`."""
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


def log_uniform(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    """Draw float32 of `shape`, each decade between `low` and `high` as likely as another."""
    return uniform(generator, math.log(low), math.log(high), *shape).exp()


def normal(generator: Generator, *shape: int) -> Tensor:
    """Draw float32 of `shape` from the normal distribution."""
    return torch.randn(shape, generator=generator, device=generator.device)


def signs(generator: Generator, *shape: int) -> Tensor:
    """Draw float32 of `shape`, -1 or 1."""
    return torch.randint(0, 2, shape, generator=generator, device=generator.device).float() * 2 - 1


def chosen(generator: Generator, share: float, *shape: int) -> Tensor:
    """Draw bool of `shape`, True with the chance `share`."""
    return torch.rand(shape, generator=generator, device=generator.device) < share


def directions(generator: Generator, *shape: int) -> Tensor:
    """Draw unit vectors float32 (*shape, 3), even over the sphere."""
    return unit(normal(generator, *shape, 3))


def rotations(generator: Generator, batch: int) -> Tensor:
    """Draw rotation matrices float32 (batch, 3, 3), even over all orientations (from Gaussian quaternions)."""
    w, x, y, z = unit(normal(generator, batch, 4)).unbind(-1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], -1),
        torch.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], -1),
        torch.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], -1),
    ]
    return torch.stack(rows, -2)


def unit(vectors: Tensor) -> Tensor:
    """Return vectors (..., n) divided by their lengths."""
    return vectors * vectors.square().sum(-1, keepdim=True).rsqrt()


def perpendicular(axis: Tensor) -> tuple[Tensor, Tensor]:
    """Return two unit vectors (batch, 3) that make a right-handed frame with unit `axis` (batch, 3) as its first."""
    helper = torch.eye(3, dtype=axis.dtype, device=axis.device)[axis.abs().argmin(-1)]
    first = unit(torch.linalg.cross(axis, helper))
    return first, torch.linalg.cross(axis, first)


def fibonacci_sphere(count: int, device: torch.device | str = "cpu") -> Tensor:
    """Return nearly even unit vectors float32 (count, 3)."""
    index = torch.arange(count, dtype=torch.float64, device=device) + 0.5
    polar, azimuth = torch.arccos(1.0 - 2.0 * index / count), math.pi * (1.0 + math.sqrt(5.0)) * index
    across = polar.sin()
    return torch.stack([across * azimuth.cos(), across * azimuth.sin(), polar.cos()], -1).float()


def choice(generator: Generator, among: Tensor, count: int) -> Tensor:
    """Draw `count` of the rows of `among` (n, ...), each as likely, with return."""
    return among[torch.randint(len(among), (count,), generator=generator, device=generator.device)]
