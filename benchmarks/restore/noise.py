"""Noise: how near to the noise-free counts denoising comes, and how true it keeps weak features."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from benchmarks.restore.filters import FILTERS, best_filtered
from benchmarks.restore.gaps import unseen_scenes
from models.denoise.network import decoded, encoded
from models.engine.port import Engine
from models.simulate.diffraction import scaled_to_peak
from models.simulate.draws import seeded
from models.simulate.scenes import FROZEN_SEEDS

Volume = NDArray[np.float32]
Told = Callable[[Volume, Volume], Volume]  # counts, truth (for those that may look) -> expected counts

MEANS = (0.1, 1.0, 10.0)  # counts in the weak feature
# The weak feature: voxels whose intensity is between these shares of the peak; the background lies below the first.
WEAK = (1e-5, 1e-3)
# Standard deviation of artificial Gaussian noise, as a share of the mean of the weak feature and one count.
GAUSSIAN = 1.0
DECADES = (0.01, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4)
# Windows and weights of MS-SSIM: three scales of Wang et al. 2003, for frames of 64 pixels.
KERNEL, BETAS = 5, (0.0448, 0.2856, 0.3001)


class Exposure(NamedTuple):
    """`counts` as they came, `truth` without noise, masks of the weak feature and of the background, all [z, y, x]."""

    counts: Volume
    truth: Volume
    weak: NDArray[np.bool_]
    background: NDArray[np.bool_]


def exposures(mean: float, crystals: int, noise: str) -> Iterator[Exposure]:
    """Yield patterns of crystals that training never saw, with `mean` counts in the weak feature."""
    return itertools.islice(_exposures(mean, noise), crystals)


def _exposures(mean: float, noise: str) -> Iterator[Exposure]:
    generator = seeded(FROZEN_SEEDS["test"] + 200)
    for scenes in unseen_scenes(generator):
        for one in scaled_to_peak(scenes.expected, torch.ones(len(scenes.expected))):
            weak = (one >= WEAK[0]) & (one < WEAK[1])
            truth = one * (mean / one[weak].mean())
            if noise == "poisson":
                counts = torch.poisson(truth, generator=generator)
            else:
                counts = truth + GAUSSIAN * (1.0 + mean) * torch.randn(truth.shape, generator=generator)
            yield Exposure(counts.numpy(), truth.numpy(), weak.numpy(), (one < WEAK[0]).numpy())


@dataclass
class Scores:
    """One figure a volume: PSNR of the square roots, dB; MS-SSIM of the frames; mean of the weak feature over the
    standard deviation of what is left of the background. `sums` of counts told and true in each decade of the truth.
    """

    psnr: list[float] = field(default_factory=list)
    ms_ssim: list[float] = field(default_factory=list)
    signal: list[float] = field(default_factory=list)
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, len(DECADES) - 1)))

    def add(self, told: Volume, shown: Exposure) -> None:
        told, truth = np.maximum(told, 0.0), shown.truth
        roots = np.sqrt(told), np.sqrt(truth)
        error = max(float(np.mean((roots[0] - roots[1]) ** 2)), 1e-12)
        self.psnr.append(float(20 * np.log10(roots[1].max()) - 10 * np.log10(error)))
        self.ms_ssim.append(_ms_ssim(*roots))
        left = (told - truth)[shown.background]
        self.signal.append(float(told[shown.weak].mean() / max(left.std(), 1e-9)))
        decade = np.digitize(truth, DECADES) - 1
        for number in range(len(DECADES) - 1):
            inside = decade == number
            self.sums[:, number] += told[inside].sum(dtype=np.float64), truth[inside].sum(dtype=np.float64)

    @property
    def bias(self) -> NDArray[np.float64]:
        """Counts told too many, as a share of the true ones, in each decade; NaN where there were none."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.sums[0] / self.sums[1] - 1.0)


def scored(cases: Iterator[Exposure], rows: Mapping[str, Told]) -> dict[str, Scores]:
    """Return the scores of the counts themselves and of each row, on the same exposures."""
    found = {name: Scores() for name in ("counts", *rows)}
    for case in cases:
        found["counts"].add(case.counts, case)
        for name, told in rows.items():
            found[name].add(told(case.counts, case.truth), case)
    return found


def thinned(counts: Volume, share: float, seed: int = 0) -> Exposure:
    """Return a scan as a `share` of its exposure would have counted it; the whole one, scaled, stands for the truth."""
    few = np.random.default_rng(seed).binomial(counts.astype(np.int64), share).astype(np.float32)
    peak = counts.max()
    return Exposure(few, counts * np.float32(share), (counts >= 1) & (counts < WEAK[1] * peak), counts < 1)


def network(engine: Engine) -> Told:
    """Return what the network of an engine tells."""

    def told(counts: Volume, _: Volume) -> Volume:
        shown = torch.from_numpy(counts)[None]
        expected, _sigma = decoded(engine.run(encoded(shown, torch.ones_like(shown, dtype=torch.bool))))
        return expected[0].numpy()

    return told


def filters(names: Sequence[str] = tuple(FILTERS)) -> dict[str, Told]:
    """Return the classical filters."""

    def told(name: str) -> Told:
        return lambda counts, truth: best_filtered(name, counts, truth)

    return {name: told(name) for name in names}


def _ms_ssim(one: Volume, other: Volume) -> float:
    frames = [torch.from_numpy(volume)[:, None] for volume in (one, other)]
    similar = multiscale_structural_similarity_index_measure(
        *frames, kernel_size=KERNEL, betas=BETAS, data_range=float(other.max()), gaussian_kernel=False
    )
    return float(similar)
