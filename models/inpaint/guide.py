"""What the crystal that explains the rest of a pattern says about its gaps: a guide that the network corrects."""

from __future__ import annotations

import torch
from torch import Tensor

from models.bcdi.uniform import LEAST, cube_about, uniform_crystals


def guide(counts: Tensor, seen: Tensor, sums: Tensor, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return the intensity, counts, of the crystals that fit what is seen, and how far they are apart, float32,
    and where both are told, bool, all [z, y, x].

    The first is the mean of the crystals' log1p, as counts, the second its standard deviation over the crystals.
    `counts` float32, 0 where not `seen` bool, both [z, y, x]; `sums` int64 (3,): twice the centre of symmetry. Told in
    a cube about the centre; nowhere where the pattern is too thin, or cannot be inverted.
    """
    inside = cube_about((int(s + 1) // 2 for s in sums), counts.shape)
    told, apart, where = torch.zeros_like(counts), torch.zeros_like(counts), torch.zeros_like(seen)
    found = _inverted(counts[inside], seen[inside], seed)
    if found is not None:
        logarithms = found.to(counts.device).log1p()
        told[inside], apart[inside], where[inside] = logarithms.mean(0).expm1(), logarithms.std(0, correction=0), True
    return told, apart, where


def _inverted(counts: Tensor, seen: Tensor, seed: int) -> Tensor | None:
    """Intensities of the crystals, float32 (n, z, y, x)."""
    frames = int(seen.any(-1).any(-1).sum())
    if min(frames, *counts.shape) < LEAST:
        return None
    try:
        found = uniform_crystals(counts.cpu().numpy(), seen.cpu().numpy(), seed, device=counts.device.type)
    except ValueError:  # no counts
        return None
    return torch.from_numpy(found.intensity)
