"""The measured pattern as phase retrieval holds it: tensors with the peak in the corner, held-out voxels, coarser levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

AXES = (-3, -2, -1)
# Held-out voxels come in crosses of seven: a single one could be guessed from its oversampled neighbours.
CROSS_VOXELS = 7
# The centre decides the total density; no run may lose it, so nothing is held out within this share of the shortest edge.
CENTRE_SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One level of the measurement, in the order of FFTs (zero frequency first), on one device.

    `counts`, `scale`, `background` float32 and `seen`, `held_out` bool, all [z, y, x]: counts are Poisson draws of
    scale * |F|^2 + background where `seen` or `held_out` (never both) is True. `amplitude` is the measured |F|, zero
    where it is not `seen`.
    """

    counts: Tensor
    scale: Tensor
    background: Tensor
    seen: Tensor
    held_out: Tensor
    amplitude: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.counts.shape)


def hold_out(mask: NDArray[np.bool_], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Return bool [z, y, x], True at about `fraction` of the good voxels, to be kept from the projections.

    After Favre-Nicolin et al., J. Appl. Cryst. 53 (2020) 1404 (free log-likelihood): small islands spread at random over
    the visible voxels, away from the centre (array index n // 2).
    """
    draws = np.random.default_rng(seed).random(mask.shape, dtype=np.float32)
    islands = ndimage.binary_dilation(draws < fraction / CROSS_VOXELS)
    radius = CENTRE_SHARE * min(mask.shape)
    distance = sum(((index - n // 2) ** 2 for index, n in zip(np.ogrid[tuple(map(slice, mask.shape))], mask.shape)), 0.0)
    return np.asarray(islands & mask & (distance > radius**2), dtype=bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A coarser view of the pattern: `shape` voxels along each axis, every `step`-th of the measured ones, same centre.

    Fewer voxels mean a coarser object, a larger step a smaller field of view; both are exact, none are averaged.
    """

    shape: tuple[int, ...]
    step: tuple[int, ...]

    def take(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the voxels of a centred [z, y, x] array that belong to this level."""
        chosen = [n // 2 + k * (np.arange(m) - m // 2) for n, m, k in zip(array.shape, self.shape, self.step, strict=True)]
        return array[np.ix_(*chosen)]


def measured_pattern(
    counts: NDArray[np.float32],
    mask: NDArray[np.bool_],
    held_out: NDArray[np.bool_],
    *,
    scale: NDArray[np.float32],
    background: NDArray[np.float32],
    device: str,
) -> Pattern:
    """Return the pattern of centred arrays [z, y, x] (peak at index n // 2); `scale` and `background` broadcast."""

    def corner(array: NDArray[np.generic]) -> Tensor:
        whole = np.broadcast_to(array, counts.shape)
        return torch.from_numpy(np.ascontiguousarray(np.fft.ifftshift(whole))).to(device)

    seen = mask & ~held_out
    amplitude = np.sqrt(np.maximum(counts - background, 0.0) / scale) * seen
    return Pattern(
        counts=corner(counts),
        scale=corner(scale),
        background=corner(background),
        seen=corner(seen),
        held_out=corner(mask & held_out),
        amplitude=corner(amplitude.astype(np.float32)),
    )


def to_level(objects: Tensor, now: Level, then: Level) -> Tensor:
    """Resample objects [n, z, y, x] (corner order) from one level to another, finer or of a larger field of view.

    The values of their transform at the frequencies that both levels share stay as they are.
    """
    field = tuple(m * k // wanted for m, k, wanted in zip(now.shape, now.step, then.step, strict=True))
    in_field = resize(objects, field)
    return resample(in_field, then.shape)


def resample(objects: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Change the voxel size of objects [..., z, y, x] (corner order) by padding or cropping their transform."""
    if tuple(objects.shape[-3:]) == shape:
        return objects
    return torch.fft.ifftn(resize(torch.fft.fftn(objects, dim=AXES), shape), dim=AXES)


def resize(array: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Pad with zeros or crop arrays [..., z, y, x] in corner order, keeping what is nearest to the corner."""
    for axis, n in zip(AXES, shape, strict=True):
        old = array.shape[axis]
        keep = min(old, n)
        head, tail = (keep + 1) // 2, keep // 2
        parts = [array.narrow(axis, 0, head)]
        if n > old:
            gap = list(array.shape)
            gap[axis] = n - old
            parts.append(array.new_zeros(gap))
        if tail:
            parts.append(array.narrow(axis, old - tail, tail))
        array = torch.cat(parts, dim=axis) if len(parts) > 1 else parts[0]
    return array
