"""How far a crystal is from explaining a pattern."""

from __future__ import annotations

import torch
from torch import Tensor

from models.invert.space import Space
from models.simulate.diffraction import AXES, far_field


class Misfit:
    """chi of the crystals of a space against what a scan counted, a function of their latents.

    `counts` float32 [z, y, x] of the space's shape, zero frequency at index n // 2, and `seen` bool of the same shape:
    hidden voxels are left out. Raises ValueError where no photon was seen.
    """

    def __init__(self, space: Space, counts: Tensor, seen: Tensor) -> None:
        if counts.shape != space.shape or seen.shape != space.shape:
            raise ValueError(f"counts {tuple(counts.shape)} and mask {tuple(seen.shape)}, expected {space.shape}")
        self.space = space
        self._seen = seen
        self._amplitudes = torch.where(seen, counts, 0.0).clamp(min=0.0).sqrt()
        if not bool(self._amplitudes.any()):
            raise ValueError("zero counts in all good voxels: no crystal to adapt to")

    def __call__(self, latents: Tensor) -> Tensor:
        """Return sum (s |F| - A)^2 / sum A^2 over what was seen, s the scale that fits best, float32 (batch,), for
        `latents` (batch, size).
        """
        return self.fit(latents)[1]

    def fit(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the crystals are to be multiplied by to explain the counts best, and the misfit that leaves,
        float32 (batch,) both.
        """
        return fit(height(far_field(self.space.objects(latents))) * self._seen, self._amplitudes)


def chi(told: Tensor, true: Tensor) -> Tensor:
    """Return sum (s told - true)^2 / sum true^2 of amplitudes (..., z, y, x), s the scale that fits best, (...)."""
    return fit(told, true)[1]


def fit(told: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scale that fits best, and `chi`."""
    scale = (told * true).sum(AXES) / told.square().sum(AXES).clamp(min=1e-12)
    off = (scale[..., None, None, None] * told - true).square().sum(AXES)
    return scale, off / true.square().sum(AXES)


def height(field: Tensor) -> Tensor:
    """Return |field|, with a slope where it is zero."""
    return (field.real.square() + field.imag.square() + 1e-12).sqrt()
