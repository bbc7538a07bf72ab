"""What the crystal that explains the rest of a pattern says about its gaps: a guide that the network corrects."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from models.bcdi.uniform import LEAST, cube_about, framed_crystal, uniform_crystals


class Guide(NamedTuple):
    """What crystals of one density say, (z, y, x) all, or batches of such.

    `told` float32: their intensity, counts, the mean of log1p over them; `apart` float32: its standard deviation over
    them; both `where` bool: in a cube about the centre. `framed` float32: the intensity of the likeliest, counts, once
    frames have doses and places, where `found` bool: nowhere unless it explains the counts to their noise.
    """

    told: Tensor
    apart: Tensor
    where: Tensor
    framed: Tensor
    found: Tensor


def no_guide(counts: Tensor) -> Guide:
    """Return a guide that says nothing of `counts` (z, y, x)."""
    zeros, nowhere = torch.zeros_like(counts), torch.zeros_like(counts, dtype=torch.bool)
    return Guide(told=zeros, apart=zeros, where=nowhere, framed=zeros, found=nowhere)


def guide(counts: Tensor, seen: Tensor, sums: Tensor, seed: int = 0, *, framed: bool = False) -> Guide:
    """Return what the crystals say that fit what is seen.

    `counts` float32, 0 where not `seen` bool, both [z, y, x]; `sums` int64 (3,): twice the centre of symmetry; `framed`
    where it shall be sought whether the likeliest is the crystal. Nothing where the pattern is too thin or dark.
    """
    inside = cube_about((int(s + 1) // 2 for s in sums), counts.shape)
    found = no_guide(counts)
    cube, known = counts[inside].cpu().numpy(), seen[inside].cpu().numpy()
    frames = int(seen[inside].any(-1).any(-1).sum())
    if min(frames, *cube.shape) < LEAST or not cube.any():
        return found
    crystals = uniform_crystals(cube, known, seed, device=counts.device.type)
    told, apart, where, corrected, certain = (part.clone() for part in found)
    logarithms = torch.from_numpy(crystals.intensity).to(counts.device).log1p()
    told[inside], apart[inside], where[inside] = logarithms.mean(0).expm1(), logarithms.std(0, correction=0), True
    if framed:
        likeliest = framed_crystal(cube, known, crystals.objects[0], device=counts.device.type)
        if likeliest.found:
            corrected[inside], certain[inside] = torch.from_numpy(likeliest.intensity).to(counts.device), True
    return Guide(told=told, apart=apart, where=where, framed=corrected, found=certain)
