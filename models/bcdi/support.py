"""The support: a first one from the autocorrelation, then shrink-wrap."""

from __future__ import annotations

import torch
from torch import Tensor

from models.bcdi.pattern import AXES, Pattern

# Below this share of its maximum the autocorrelation is noise and truncation of the pattern.
AUTOCORRELATION_THRESHOLD = 0.04
# The halved autocorrelation of a crystal that is not centrosymmetric is a little smaller than the crystal.
MARGIN = 1.2


def autocorrelation(pattern: Pattern) -> Tensor:
    """Return |inverse transform of the measured intensity| / its maximum, float32 [z, y, x], corner order."""
    correlation: Tensor = torch.fft.ifftn(pattern.amplitude.square(), dim=AXES).abs()
    return correlation / correlation.max()


def initial_support(pattern: Pattern) -> Tensor:
    """Return bool [z, y, x] (corner order): the autocorrelation above a threshold, halved and widened by a margin.

    The autocorrelation of an object is the set of its differences; halved, it is the object itself where that is convex
    and centrosymmetric.
    """
    above = autocorrelation(pattern) > AUTOCORRELATION_THRESHOLD
    for axis, n in zip(AXES, pattern.shape, strict=True):
        index = torch.fft.fftfreq(n, 1.0 / n, device=above.device)
        doubled = (index * 2.0 / MARGIN).round()
        inside = doubled.abs() <= (n - 1) // 2
        above = above.index_select(axis, torch.where(inside, doubled, 0.0).long() % n)
        above = above & inside.view([-1 if axis == a else 1 for a in AXES])
    return above


def extent(pattern: Pattern) -> tuple[int, ...]:
    """Return the edges of the box around the object, voxels: half of the autocorrelation's."""
    above = autocorrelation(pattern) > AUTOCORRELATION_THRESHOLD
    edges = []
    for axis, n in zip(AXES, pattern.shape, strict=True):
        others = tuple(a for a in AXES if a != axis)
        along = above.amax(dim=others)
        reach = torch.fft.fftfreq(n, 1.0 / n, device=above.device).abs()
        edges.append(int(reach[along].max().item()) + 1)
    return tuple(edges)


def shrink_wrap(objects: Tensor, transfer: Tensor, threshold: float) -> Tensor:
    """Return bool [n, z, y, x]: where |object| blurred by a Gaussian reaches `threshold` of its maximum.

    Marchesini et al., Phys. Rev. B 68 (2003) 140101. `objects` complex64 [n, z, y, x]; `transfer` from
    `gaussian_transfer`. An object that has died out (all zero or not finite) gets an empty support.
    """
    magnitude = torch.mul(objects.real, objects.real).addcmul_(objects.imag, objects.imag).sqrt_()
    spectrum = torch.fft.rfftn(magnitude, dim=AXES).mul_(transfer)
    blurred: Tensor = torch.fft.irfftn(spectrum, s=objects.shape[-3:], dim=AXES)
    return blurred >= threshold * blurred.amax(dim=AXES, keepdim=True).clamp_(min=torch.finfo(blurred.dtype).tiny)
