"""What a hidden voxel's nearest seen ones along rows, columns and frames suggest: where the network begins."""

from __future__ import annotations

import torch
from torch import Tensor

# A voxel that no line reaches is this far from everything, voxels.
FARTHEST = 64.0
# Planes that are looked at together: the indices of a large volume would take several times its memory.
SLAB = 32


def along_lines(values: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Return `values` interpolated where not `seen`, and how far off the seen ones are, float32 (batch, z, y, x).

    Along each axis a line is drawn between the nearest seen voxels of both sides, or on from the only one; the axes are
    weighted by the inverse squares of the distances between (of twice the one). The distance returned is that of the
    nearest axis, 0 where seen. What no line reaches, as where two gaps cross, is told by lines between those told so
    far, but its distance is FARTHEST; without any, it is 0.
    """
    told, span = _by_lines(values, seen)
    reached = span < FARTHEST
    return torch.where(reached, told, _by_lines(told, reached)[0]), span


def _by_lines(values: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    weighted, weights = torch.zeros_like(values), torch.zeros_like(values)
    nearest = torch.full_like(values, FARTHEST)
    for axis in (-3, -2, -1):
        across = -2 if axis == -3 else -3
        slabs = zip(torch.split(values, SLAB, across), torch.split(seen, SLAB, across), strict=True)
        value, span = (torch.cat(parts, across) for parts in zip(*(_along(*slab, axis) for slab in slabs), strict=True))
        weight = span.clamp(min=1.0).reciprocal().square() * (span < FARTHEST)
        weighted += weight * value
        weights += weight
        nearest = torch.minimum(nearest, span)
    told = torch.where(seen, values, weighted / weights.clamp(min=1e-12))
    return told, torch.where(seen, torch.zeros_like(nearest), nearest)


def _along(values: Tensor, seen: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Linear interpolation along one axis, and the distance between the ends of the line."""
    length = values.shape[axis]
    index = torch.arange(length, device=values.device).view([-1 if axis == a else 1 for a in (-3, -2, -1)])
    before = torch.where(seen, index, -1).cummax(axis).values
    after = torch.where(seen, index, length).flip(axis).cummin(axis).values.flip(axis)
    left, right = before >= 0, after < length
    first = torch.where(left, before, after.clamp(max=length - 1))
    last = torch.where(right, after, before.clamp(min=0))
    low, high = values.gather(axis, first), values.gather(axis, last)
    share = (index - first).float() / (last - first).clamp(min=1)
    span = torch.where(left & right, last - first, 2 * (index - first).abs()).float()
    reached = left | right
    return low + share.clamp(0.0, 1.0) * (high - low), torch.where(reached, span, FARTHEST).clamp(max=FARTHEST)
