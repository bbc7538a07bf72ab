"""Real spherical harmonics, orthonormal over the sphere, without the Condon-Shortley phase."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def harmonics_count(degree: int) -> int:
    """Return how many harmonics there are up to and with `degree`."""
    return (degree + 1) ** 2


def real_harmonics(degree: int, rays: Tensor) -> Tensor:
    """Return Y_lm of unit vectors `rays` (..., 3), float32 (..., (degree + 1)^2), l rising, m from -l to l within.

    By the stable recurrence in l of the normalised Legendre functions (Press et al., Numerical Recipes, 6.7.9).
    """
    x, y, z = rays.unbind(-1)
    legendre = _legendre(degree, z, torch.hypot(x, y))
    azimuth = torch.atan2(y, x)
    harmonics = []
    for n in range(degree + 1):
        for m in range(-n, n + 1):
            value = legendre[n, abs(m)]
            if m:
                value = math.sqrt(2.0) * value * (torch.sin(-m * azimuth) if m < 0 else torch.cos(m * azimuth))
            harmonics.append(value)
    return torch.stack(harmonics, -1)


def _legendre(degree: int, z: Tensor, across: Tensor) -> dict[tuple[int, int], Tensor]:
    """Return normalised associated Legendre functions by (l, m), m >= 0, of z = cos and `across` = sin of the angle."""
    found: dict[tuple[int, int], Tensor] = {}
    diagonal = torch.full_like(z, 1.0 / math.sqrt(4.0 * math.pi))
    for m in range(degree + 1):
        if m:
            diagonal = diagonal * across * math.sqrt((2 * m + 1) / (2 * m))
        found[m, m] = diagonal
        if m < degree:
            found[m + 1, m] = math.sqrt(2 * m + 3) * z * diagonal
        for n in range(m + 2, degree + 1):
            a = math.sqrt((4 * n * n - 1) / (n * n - m * m))
            b = math.sqrt(((n - 1) ** 2 - m * m) / (4 * (n - 1) ** 2 - 1))
            found[n, m] = a * (z * found[n - 1, m] - b * found[n - 2, m])
    return found
