"""The centre about which a pattern is most symmetric."""

from __future__ import annotations

import torch
from torch import Tensor

AXES = (-3, -2, -1)
# A centre is believed where this share of the pattern, by counts, has a partner that is seen.
LEAST_OVERLAP = 0.5


def centre_sums(counts: Tensor, seen: Tensor) -> Tensor:
    """Return int64 (batch, 3): twice the centre of symmetry, so that the partner of voxel q is the voxel sum - q.

    `counts` float32, 0 where not `seen` (bool), both (batch, z, y, x). The centre, to half a voxel, is where the square
    root of the counts correlates best with its own inversion, over the pairs of which both are seen; it need not be
    seen itself.
    """
    amplitude = counts.sqrt()
    spectrum = torch.fft.rfftn(amplitude, dim=AXES)
    power = torch.fft.rfftn(counts, dim=AXES)
    shape = counts.shape[-3:]
    products = torch.fft.irfftn(spectrum.square(), s=shape, dim=AXES)
    paired = torch.fft.irfftn(power * torch.fft.rfftn(seen.float(), dim=AXES), s=shape, dim=AXES)
    total = counts.sum(AXES, keepdim=True)
    alike = torch.where(paired >= LEAST_OVERLAP * total, products / paired.clamp(min=1e-6), -1.0)
    best = alike.flatten(1).argmax(1)
    sums = torch.stack(torch.unravel_index(best, shape), -1)
    return _unwrapped(sums, _centroid(counts), torch.tensor(shape, device=counts.device))


def _centroid(counts: Tensor) -> Tensor:
    """Mean index of the squared counts along each axis, (batch, 3): no background outweighs the peak."""
    counts = counts.square()
    total = counts.sum(AXES).clamp(min=1e-6)
    means = []
    for axis in AXES:
        others = tuple(other for other in AXES if other != axis)
        index = torch.arange(counts.shape[axis], device=counts.device, dtype=counts.dtype)
        means.append((counts.sum(others) * index).sum(-1) / total)
    return torch.stack(means, -1)


def _unwrapped(sums: Tensor, centroid: Tensor, lengths: Tensor) -> Tensor:
    """A transform knows the sums modulo the length of the axis only: take the centre that is nearer to the centroid."""
    beyond = sums + lengths
    return torch.where((sums / 2 - centroid).abs() <= (beyond / 2 - centroid).abs(), sums, beyond)
