"""The measured pattern as phase retrieval holds it: tensors, peak in the corner, held-out voxels, coarser levels."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

AXES = (-3, -2, -1)
# Held-out voxels come in crosses of seven: a single one could be guessed from its oversampled neighbours.
CROSS_VOXELS = 7
# The centre decides the total density; no run may lose it: nothing is held out within this share of the shortest edge.
CENTRE_SHARE = 0.05
# Partial coherence is divided out of the autocorrelation down to this envelope; noise would win beyond.
SHARPENING_LIMIT = 0.3
FILLING_SIGMA_VOXELS = 1.0
# Shrink-wrap's support reaches this far beyond the object that the autocorrelation shows.
REACH_MARGIN_VOXELS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One level of the measurement, in the order of FFTs (zero frequency first), on one device.

    `counts`, `scale`, `background` float32 and `seen`, `held_out` bool, all [z, y, x]: counts are Poisson draws of
    scale * |F|^2 + background where `seen` or `held_out` (never both) is True. `amplitude` is the measured |F| where
    `seen`, a guess of it elsewhere; `trust` float32 is how much it is believed: 1 where seen, 0 where there is no
    guess.
    """

    counts: Tensor
    scale: Tensor
    background: Tensor
    seen: Tensor
    held_out: Tensor
    amplitude: Tensor
    trust: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.counts.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A guess at what was not seen: `counts` float32 [z, y, x] and the standard deviation `std` of a count there,
    Poisson noise included; 0 where nothing is guessed.
    """

    counts: NDArray[np.float32]
    std: NDArray[np.float32]

    @property
    def trust(self) -> NDArray[np.float32]:
        """Variance that a counted amplitude has (1/4), over that of the guessed one: at most 1, 0 where none is."""
        share = (self.counts + 0.25) / np.maximum(self.std, 1e-6) ** 2
        return np.where(self.std > 0, np.minimum(share, 1.0), 0.0).astype(np.float32)


def hold_out(mask: NDArray[np.bool_], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Return bool [z, y, x], True at about `fraction` of the good voxels, to be kept from the projections.

    After Favre-Nicolin et al., J. Appl. Cryst. 53 (2020) 1404 (free log-likelihood): small islands spread at random
    over the visible voxels, away from the centre (array index n // 2).
    """
    draws = np.random.default_rng(seed).random(mask.shape, dtype=np.float32)
    islands = ndimage.binary_dilation(draws < fraction / CROSS_VOXELS)
    radius = CENTRE_SHARE * min(mask.shape)
    positions = np.ogrid[tuple(map(slice, mask.shape))]
    distance = sum(((index - n // 2) ** 2 for index, n in zip(positions, mask.shape, strict=True)), 0.0)
    return np.asarray(islands & mask & (distance > radius**2), dtype=bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A coarser view of the pattern: `shape` voxels along each axis, every `step`-th of the measured ones, same centre.

    Fewer voxels mean a coarser object, a larger step a smaller field of view.
    """

    shape: tuple[int, ...]
    step: tuple[int, ...]

    def indices(self, n: int, axis: int) -> Tensor:
        """Return the positions of this level's voxels along an axis of `n` voxels, both in corner order."""
        m, k = self.shape[axis], self.step[axis]
        frequency = torch.fft.fftfreq(m, 1.0 / m).round().long()
        positions: Tensor = (frequency * k) % n
        return positions


def measured_pattern(
    counts: NDArray[np.float32],
    mask: NDArray[np.bool_],
    held_out: NDArray[np.bool_],
    *,
    scale: NDArray[np.float32],
    background: NDArray[np.float32],
    device: str,
    filled: Filled | None = None,
) -> Pattern:
    """Return the pattern of centred arrays [z, y, x] (peak at index n // 2); `scale` and `background` broadcast.

    What is `filled` counts where the mask shows nothing.
    """

    def corner(array: NDArray[np.generic]) -> Tensor:
        whole = np.broadcast_to(array, counts.shape)
        return torch.from_numpy(np.ascontiguousarray(np.fft.ifftshift(whole))).to(device)

    seen = mask & ~held_out
    trust = seen.astype(np.float32)
    if filled is not None:
        counts = np.where(mask, counts, filled.counts)
        trust = np.where(mask, trust, filled.trust)
    amplitude = np.sqrt(np.maximum(counts - background, 0.0) / scale) * (trust > 0)
    return Pattern(
        counts=corner(counts),
        scale=corner(scale),
        background=corner(background),
        seen=corner(seen),
        held_out=corner(mask & held_out),
        amplitude=corner(amplitude.astype(np.float32)),
        trust=corner(trust),
    )


def coarse_pattern(pattern: Pattern, level: Level, transfer: Tensor | None, reach: tuple[int, ...]) -> Pattern:
    """Return a coarser view of a full pattern that keeps nearly all of its photons.

    The intensity's transform, the autocorrelation, vanishes beyond `reach` voxels (the object's edges): cutting it
    there averages the noise of oversampled voxels, and dividing it by `transfer` (half spectrum of the kernel of
    partial coherence, None: full) sharpens the fringes. Voxels that were not seen, held-out ones too, are filled from
    seen neighbours for that, and are unseen in the result again. A guess is trusted like a count: a wrong one does less
    harm on the way to the crystal than none.
    """
    intensity = smoothed_over(pattern)
    spectrum = torch.fft.rfftn(intensity, dim=AXES)
    if transfer is not None:
        spectrum = spectrum / transfer.clamp(min=SHARPENING_LIMIT)
    for axis, (n, limit) in enumerate(zip(pattern.shape, reach, strict=True)):
        index = torch.fft.rfftfreq(n, 1.0 / n) if axis == 2 else torch.fft.fftfreq(n, 1.0 / n)
        inside = (index.abs() <= limit).to(spectrum.device)
        spectrum = spectrum * inside.view([-1 if axis == other else 1 for other in range(3)])
    smooth = torch.fft.irfftn(spectrum, s=pattern.shape, dim=AXES).clamp_(min=0.0)
    told = (pattern.trust > 0).to(smooth.dtype)
    return picked(replace(pattern, amplitude=smooth.sqrt_() * told, trust=told), level)


def picked(pattern: Pattern, level: Level) -> Pattern:
    """Return the voxels of a full pattern that a level has, as they are."""
    chosen = [level.indices(n, axis).to(pattern.counts.device) for axis, n in enumerate(pattern.shape)]

    def take(array: Tensor) -> Tensor:
        for axis, index in enumerate(chosen):
            array = array.index_select(axis, index)
        return array

    return Pattern(**{field.name: take(getattr(pattern, field.name)) for field in fields(Pattern)})


def smoothed_over(pattern: Pattern) -> Tensor:
    """Return the measured intensity, float32 [z, y, x]; unseen voxels are what is guessed there, or, without a guess,
    the mean of the seen ones around them.
    """
    intensity = pattern.amplitude.square()
    if bool(pattern.seen.all()):
        return intensity
    shape = pattern.shape
    blur = gaussian_transfer(shape, FILLING_SIGMA_VOXELS, intensity.device)
    values, shares = (
        torch.fft.irfftn(torch.fft.rfftn(one, dim=AXES) * blur, s=shape, dim=AXES)
        for one in (intensity * pattern.seen, pattern.seen.to(intensity.dtype))
    )
    mean = values.clamp_(min=0.0) / shares.clamp_(min=1e-3)
    return torch.where(pattern.trust > 0, intensity, mean)


def gaussian_transfer(shape: tuple[int, ...], sigma: float, device: torch.device) -> Tensor:
    """Return the transform of a Gaussian of `sigma` voxels and sum 1, float32, half spectrum of a [z, y, x] array."""
    transfer = torch.ones((), device=device)
    for axis, n in zip(AXES, shape, strict=True):
        frequency = (torch.fft.rfftfreq if axis == AXES[-1] else torch.fft.fftfreq)(n, device=device)
        factor = torch.exp(-2.0 * (np.pi * sigma * frequency).square())
        transfer = transfer * factor.view([-1 if axis == a else 1 for a in AXES])
    return transfer


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
    resampled: Tensor = torch.fft.ifftn(resize(torch.fft.fftn(objects, dim=AXES), shape), dim=AXES)
    return resampled


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
