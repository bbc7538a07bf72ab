"""What a short phase retrieval with the gaps left free says about them: a guide that the network corrects."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.bcdi.phasing import PhasingConfig, phase_retrieval
from models.simulate.diffraction import far_field, intensity

# Voxels of an edge about the centre that are inverted at most; fewer than the least tell no crystal.
LARGEST, LEAST = 64, 16
STARTS = 2


def guide(counts: Tensor, seen: Tensor, sums: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return the intensity |F|^2, counts, of the crystal that fits what is seen, float32, and where it is told, bool.

    `counts` float32, 0 where not `seen` bool, both [z, y, x]; `sums` int64 (3,): twice the centre of symmetry. Told in
    a cube about the centre; nowhere where the pattern is too thin, or cannot be inverted.
    """
    shape = counts.shape
    edges = [min(LARGEST, n) // 2 * 2 for n in shape]
    starts = [max(0, min(int(s + 1) // 2 - e // 2, n - e)) for s, e, n in zip(sums, edges, shape, strict=True)]
    inside = tuple(slice(first, first + edge) for first, edge in zip(starts, edges, strict=True))
    told, where = torch.zeros_like(counts), torch.zeros_like(seen)
    found = _inverted(counts[inside].cpu().numpy(), seen[inside].cpu().numpy(), seed)
    if found is not None:
        told[inside], where[inside] = found.to(counts.device), True
    return told, where


def _inverted(counts: NDArray[np.float32], seen: NDArray[np.bool_], seed: int) -> Tensor | None:
    if min(counts.shape) < LEAST:
        return None
    config = PhasingConfig(starts=STARTS, keep=1, coherence="full", held_out=0.0, seed=seed)
    try:
        phased = phase_retrieval(counts, seen, config)
    except ValueError:  # no counts
        return None
    return intensity(far_field(torch.from_numpy(phased.object_)))
