"""Means over the voxels that count."""

from __future__ import annotations

from torch import Tensor

AXES = (-3, -2, -1)


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Return the mean of `values` (..., batch, z, y, x) of each volume, weighted by `weights` (batch, z, y, x)."""
    return (values * weights).sum(AXES) / weights.sum(AXES).clamp(min=1.0)
