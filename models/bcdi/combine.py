"""Repeated scans of one crystal, aligned and summed to a single longer exposure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from models.bcdi.corrections import find_hot_pixels

Mask = NDArray[np.bool_]
Counts = NDArray[np.float32]
Triple = tuple[int, int, int]
# Half a voxel of misalignment, which whole shifts leave at most, costs a few hundredths; another crystal, or a beam
# lost in mid-scan, costs more.
LEAST_CORRELATION = 0.9
Value = TypeVar("Value", bound=np.generic)


class Scan(Protocol):
    """What one scan brings: counts and mask [rocking, row, column], scale that broadcasts against them or [rocking]."""

    @property
    def counts(self) -> Counts: ...

    @property
    def mask(self) -> Mask: ...

    @property
    def scale(self) -> Counts: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinedScan:
    """The sum of aligned scans, in the frame of the first one.

    `counts` float32, `mask` bool and `scale` float32, all [rocking, row, column]. `scale` is the exposure of each
    voxel, summed over the scans that saw it and divided by the number of scans used. `shifts` (voxels) and
    `correlations` have an entry per scan given, `used` says which went in.
    """

    counts: Counts
    mask: Mask
    scale: Counts
    shifts: tuple[Triple, ...]
    correlations: tuple[float, ...]
    used: tuple[bool, ...]
    notes: tuple[str, ...]


def combine_scans(scans: Sequence[Scan], *, least_correlation: float = LEAST_CORRELATION) -> CombinedScan:
    """Align scans to the first by whole voxels and sum their counts.

    Shifts are whole voxels, because interpolated counts are no longer Poisson distributed. A scan that correlates less
    than `least_correlation` with the first (see `correlation`) is left out and noted. Hot pixels belong to the detector
    and would hold the scans where they are: they are masked first. A flat field that matters goes into each scan's
    `scale`, so that it moves along.
    Raises ValueError where there is no scan or the shapes differ.
    """
    _check(scans)
    scans = [_without_hot_pixels(scan) for scan in scans]
    first = scans[0]
    aligned = [(0, 0, 0), *(find_shift(first, scan) for scan in scans[1:])]
    correlations = [correlation(first, scan, shift) for scan, shift in zip(scans, aligned, strict=True)]
    # The first scan is the frame of the others, whatever its own counts are like.
    used = [number == 0 or value >= least_correlation for number, value in enumerate(correlations)]
    counts, exposure = np.zeros_like(first.counts), np.zeros_like(first.counts)
    for scan, shift, use in zip(scans, aligned, used, strict=True):
        if use:
            mask = shifted(scan.mask, shift)
            counts += shifted(scan.counts, shift) * mask
            exposure += shifted(scan.scale, shift) * mask
    return CombinedScan(
        counts=counts,
        mask=exposure > 0,
        scale=np.where(exposure > 0, exposure / sum(used), 1.0).astype(np.float32),
        shifts=tuple(aligned),
        correlations=tuple(correlations),
        used=tuple(used),
        notes=_notes(aligned, correlations, used, least_correlation),
    )


def find_shift(reference: Scan, scan: Scan) -> Triple:
    """Return the whole-voxel shift (z, y, x) to apply to `scan` so that it lies on `reference`.

    The maximum of the circular cross-correlation of the square roots, masked voxels empty.
    """
    shape = reference.counts.shape
    a, b = (torch.from_numpy(np.sqrt(one.counts * one.mask)) for one in (reference, scan))
    product = torch.fft.rfftn(a) * torch.fft.rfftn(b).conj()
    best = int(torch.fft.irfftn(product, s=shape).argmax())
    z, y, x = (int(i) - n if i > n // 2 else int(i) for i, n in zip(np.unravel_index(best, shape), shape, strict=True))
    return z, y, x


def correlation(reference: Scan, scan: Scan, shift: Triple) -> float:
    """Correlation of the two patterns over the voxels that are good in both, `scan` shifted; 1 for the same pattern.

    Pearson's, of the counts, with the Poisson variance (the mean count) taken off each scan's own (correction for
    attenuation, Spearman, Am. J. Psychol. 15 (1904) 72): a short exposure is not refused for its noise. Noise may carry
    it above 1. Zero where a scan has no more structure than noise.
    """
    both = reference.mask & shifted(scan.mask, shift)
    if np.count_nonzero(both) < 2:
        return 0.0
    a = reference.counts[both].astype(np.float64)
    b = shifted(scan.counts, shift)[both].astype(np.float64)
    covariance = np.mean((a - a.mean()) * (b - b.mean()))
    power = max(0.0, a.var() - a.mean()) * max(0.0, b.var() - b.mean())
    return float(covariance / np.sqrt(power)) if power > 0 else 0.0


def shifted(array: NDArray[Value], shift: Triple) -> NDArray[Value]:
    """Return `array` moved by whole voxels; what enters from outside is zero (False)."""
    result = np.zeros_like(array)
    target = tuple(slice(max(0, s), n + min(0, s)) for s, n in zip(shift, array.shape, strict=True))
    source = tuple(slice(max(0, -s), n + min(0, -s)) for s, n in zip(shift, array.shape, strict=True))
    result[target] = array[source]
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class _CleanScan:
    counts: Counts
    mask: Mask
    scale: Counts


def _without_hot_pixels(scan: Scan) -> Scan:
    scale = scan.scale[:, None, None] if scan.scale.ndim == 1 else scan.scale
    return _CleanScan(
        counts=scan.counts,
        mask=scan.mask & ~find_hot_pixels(scan.counts, scan.mask),
        scale=np.broadcast_to(scale, scan.counts.shape),
    )


def _check(scans: Sequence[Scan]) -> None:
    if not scans:
        raise ValueError("no scans to combine: give at least one")
    shapes = {scan.counts.shape for scan in scans}
    if len(shapes) > 1:
        raise ValueError(f"scans to combine differ in shape: got {sorted(shapes)}, expected one shape")


def _notes(
    shifts: list[Triple], correlations: list[float], used: list[bool], least_correlation: float
) -> tuple[str, ...]:
    moved = [shift for shift, use in zip(shifts, used, strict=True) if use]
    summed = (
        f"{sum(used)} of {len(used)} scans summed, shifted by {moved},"
        f" correlations with the first {', '.join(f'{value:.3f}' for value in correlations[1:]) or 'none'}"
    )
    left_out = [
        f"scan {number} left out: correlates {value:.2f} with the first, expected at least {least_correlation:.2f}"
        for number, (value, use) in enumerate(zip(correlations, used, strict=True))
        if not use
    ]
    return (summed, *left_out)
