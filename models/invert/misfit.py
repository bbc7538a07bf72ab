"""How far a crystal is from explaining a pattern."""

from __future__ import annotations

import torch
from torch import Tensor

from models.invert.latent import LatentSpace
from models.simulate.diffraction import AXES, far_field


class Misfit:
    """chi of the crystals of a space against what a scan counted, a function of their latents.

    `counts` float32 [z, y, x] of the space's shape, zero frequency at index n // 2, and `seen` bool of the same shape:
    hidden voxels are left out. Raises ValueError where no photon was seen.
    """

    def __init__(self, space: LatentSpace, counts: Tensor, seen: Tensor) -> None:
        if counts.shape != space.shape or seen.shape != space.shape:
            raise ValueError(f"counts {tuple(counts.shape)} and mask {tuple(seen.shape)}, expected {space.shape}")
        self.space = space
        self._seen = seen
        self._amplitudes = torch.where(seen, counts, 0.0).clamp(min=0.0).sqrt()
        if not bool(self._amplitudes.any()):
            raise ValueError("zero counts in all good voxels: no crystal to adapt to")

    def __call__(self, latents: Tensor) -> Tensor:
        """Return sum (s |F| - A)^2 / sum A^2 over what was seen, s the `scale`, float32 (batch,), for `latents` (batch,
        size).
        """
        return chi(self._told(latents), self._amplitudes)

    def scale(self, latents: Tensor) -> Tensor:
        """Return what the crystals are to be multiplied by to explain the counts best, float32 (batch,)."""
        return _scale(self._told(latents), self._amplitudes)

    def _told(self, latents: Tensor) -> Tensor:
        return height(far_field(self.space.objects(latents))) * self._seen


def chi(told: Tensor, true: Tensor) -> Tensor:
    """Return sum (s told - true)^2 / sum true^2 of amplitudes (..., z, y, x), s the scale that fits best, (...)."""
    scaled = _scale(told, true)[..., None, None, None] * told
    return (scaled - true).square().sum(AXES) / true.square().sum(AXES)


def height(field: Tensor) -> Tensor:
    """Return |field|, with a slope where it is zero."""
    return (field.real.square() + field.imag.square() + 1e-12).sqrt()


def _scale(told: Tensor, true: Tensor) -> Tensor:
    return (told * true).sum(AXES) / told.square().sum(AXES).clamp(min=1e-12)
