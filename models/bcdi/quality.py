"""Figures of merit, always against the measured counts and the detector's mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.bcdi.pattern import AXES, Pattern

# Expected counts below this are raised to it: one stray photon where the model is black must not decide the mean.
FLOOR_COUNTS = 0.01
# PRTF at which the phases of the starts no longer agree: Chapman et al., J. Opt. Soc. Am. A 23 (2006) 1179.
PRTF_LIMIT = float(np.exp(-1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureSet:
    """Figures of one object.

    chi: sum((|F| - D)^2) / sum(D^2), D the square root of the counts (cohere's definition, no square root).
    r_factor: sum(||F| - D|) / sum(D). chi2: mean of (model - counts)^2 / model over the seen voxels, Pearson's.
    free_log_likelihood: mean Poisson deviance over the held-out voxels, 1 for a perfect model of many counts.
    """

    chi: float
    r_factor: float
    chi2: float
    free_log_likelihood: float


def figures(pattern: Pattern, intensities: Tensor) -> list[FigureSet]:
    """Return the figures of coherent or partially coherent intensities |F|^2, float32 [n, z, y, x], corner order."""
    return [_figures_of_one(pattern, intensity) for intensity in intensities]


def _figures_of_one(pattern: Pattern, intensity: Tensor) -> FigureSet:
    expected = pattern.scale * intensity + pattern.background
    counts = pattern.counts[pattern.seen]
    model = expected[pattern.seen]
    measured = counts.sqrt()
    difference = model.sqrt() - measured
    chi2 = (model - counts).square() / model.clamp(min=FLOOR_COUNTS)
    return FigureSet(
        chi=float(difference.square().sum() / counts.sum()),
        r_factor=float(difference.abs().sum() / measured.sum()),
        chi2=float(chi2.mean()),
        free_log_likelihood=mean_deviance(pattern.counts[pattern.held_out], expected[pattern.held_out]),
    )


def mean_deviance(counts: Tensor, expected: Tensor) -> float:
    """Return the mean Poisson deviance, 2 (m - n + n ln(n / m)), of counts n against expected counts m, both [voxels].

    m is first multiplied by its maximum-likelihood scale, sum(n) / sum(m), so that the figure compares shapes alone.
    NaN where no voxel is given.
    """
    if not len(counts):
        return float("nan")
    counts, expected = counts.double(), expected.double()
    model = (expected * (counts.sum() / expected.sum().clamp(min=FLOOR_COUNTS))).clamp(min=FLOOR_COUNTS)
    return float(2.0 * (model - counts + torch.xlogy(counts, counts / model)).mean())


def prtf(
    objects: NDArray[np.complex64],
    counts: NDArray[np.float32],
    mask: NDArray[np.bool_],
    radius: NDArray[np.floating],
    edges: NDArray[np.floating],
    scale: NDArray[np.float32] | float = 1.0,
    background: NDArray[np.float32] | float = 0.0,
) -> NDArray[np.float32]:
    """Return the phase retrieval transfer function in shells of `radius` between `edges`, float32 [shells].

    sqrt(sum(scale |mean over starts of F|^2) / sum(counts - background)) over the good voxels of a shell; NaN where a
    shell has no counts above its background and that one's Poisson noise. The ratio of Chapman et al., J. Opt. Soc. Am.
    A 23 (2006) 1179, with sums of intensities, which Poisson noise leaves unbiased where voxels hold less than one
    count. `objects` complex64 [n, z, y, x], aligned (hand and global phase too); `counts`, `mask` and `radius`
    [z, y, x] with the peak at index n // 2; `radius` in any unit, that of `edges` [shells + 1]; `scale` and
    `background` (counts) broadcast.
    """
    mean = np.zeros(counts.shape, dtype=np.complex64)
    for one in objects:
        mean += _transform(one) / np.float32(len(objects))
    shell = np.digitize(radius, edges) - 1
    used = mask & (shell >= 0) & (shell < len(edges) - 1)

    def in_shells(values: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.bincount(shell[used], weights=values[used], minlength=len(edges) - 1).astype(np.float64)

    dark = in_shells(np.broadcast_to(np.float32(background), counts.shape))
    signal = in_shells(counts) - dark
    known = signal > np.sqrt(dark)
    ratio = np.sqrt(in_shells(np.square(np.abs(mean)) * scale) / np.where(known, signal, 1.0))
    return np.where(known, ratio, np.nan).astype(np.float32)


def resolution(prtf_values: NDArray[np.floating], q: NDArray[np.floating]) -> tuple[float, str]:
    """Return the full-period resolution 2 pi / q where the PRTF first falls below 1/e, and the method in words.

    `prtf_values` and `q` [shells], q in 1/length WITH the 2 pi, ascending; linear between shells. Where the PRTF never
    falls, the edge of the data limits and the method says so.
    """
    known = np.isfinite(prtf_values)
    values, q = np.asarray(prtf_values)[known], np.asarray(q)[known]
    if not len(values):
        raise ValueError("PRTF has no shell with counts: no resolution can be told")
    below = np.flatnonzero(values < PRTF_LIMIT)
    if not len(below):
        return float(2.0 * np.pi / q[-1]), "edge of the data (PRTF stays above 1/e)"
    first = int(below[0])
    if first == 0:
        return float(2.0 * np.pi / q[0]), "PRTF below 1/e in the first shell"
    share = (values[first - 1] - PRTF_LIMIT) / (values[first - 1] - values[first])
    crossing = q[first - 1] + share * (q[first] - q[first - 1])
    return float(2.0 * np.pi / crossing), "PRTF falls below 1/e"


def index_radius(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the distance of every voxel from the centre of the pattern, cycles per voxel of the object, [z, y, x]."""
    axes = np.meshgrid(*((np.arange(n) - n // 2) / n for n in shape), indexing="ij", sparse=True)
    return np.sqrt(sum((axis**2 for axis in axes), np.zeros(()))).astype(np.float32)


def _transform(object_: NDArray[np.complex64]) -> NDArray[np.complex64]:
    centred = torch.fft.ifftshift(torch.from_numpy(np.ascontiguousarray(object_)), dim=AXES)
    return np.asarray(torch.fft.fftshift(torch.fft.fftn(centred, dim=AXES), dim=AXES).numpy())
