"""Gaps: how well what is hidden is told, against the noise-free intensity and against counts."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Generator

from benchmarks.bcdi_scan import Cube, box_around_peak
from benchmarks.restore.interpolations import biharmonic, cubic, linear, nearest
from benchmarks.restore.peers import PEERS
from models.cards import load_weights
from models.denoise.train import TASK as DENOISE
from models.engine.port import Engine
from models.engine.torch import TorchEngine
from models.inpaint.adapt import adapted_engine
from models.inpaint.network import variance
from models.inpaint.predict import BATCH, ITEM, completed, predicted
from models.inpaint.windows import Pattern, pattern_of
from models.simulate.diffraction import AXES, far_field, intensity, scaled_to_peak
from models.simulate.draws import seeded
from models.simulate.families import family
from models.simulate.scenes import FROZEN_SEEDS, Scenes, random_scenes

Counts = NDArray[np.float32]
Mask = NDArray[np.bool_]
Fill = Callable[[Counts, Mask], Counts]

EDGE_VOXELS = 64
SCENES = 8  # drawn at once
WIDTHS = (3, 6, 9, 12)
KINDS = ("line", "cross")
REACH = 10  # of a gap's middle from the peak, px
BARS = {3: 0.990, 6: 0.980, 9: 0.965, 12: 0.955}
# Counts from which the standard deviation is judged.
BRIGHT = 10.0
ORACLE_STEPS = 20


class Case(NamedTuple):
    """A pattern with a gap: `expected` without noise, None where nobody knows it; `counts` whole; `mask`."""

    counts: Counts
    expected: Counts | None
    mask: Mask
    object_: NDArray[np.complex64] | None = None


@dataclass
class Scores:
    """Pearson of log1p in the gap, one a case: `truth` against what is expected, `counts` against what was counted,
    `ceiling` of what is expected against what was counted; `seconds` of each case.
    """

    truth: list[float] = field(default_factory=list)
    counts: list[float] = field(default_factory=list)
    ceiling: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def share(self) -> float:
        return float(np.mean(self.counts) / np.mean(self.ceiling))


def unseen_scenes(generator: Generator, name: str = "elements") -> Iterator[Scenes]:
    """Yield batches of scenes of 64^3 without gaps, of a family that training never saw, without end."""
    drawn_from = replace(family(name), gap_chance=0.0, mask_chance=0.0)
    while True:
        yield random_scenes(generator, drawn_from, SCENES, (EDGE_VOXELS,) * 3)


def simulated(peak_counts: float, crystals: int, width: int, kind: str, name: str = "elements") -> Iterator[Case]:
    """Yield patterns of a family that training never saw, with one gap near the peak each."""
    return itertools.islice(_simulated(peak_counts, width, kind, name), crystals)


def _simulated(peak_counts: float, width: int, kind: str, name: str) -> Iterator[Case]:
    generator = seeded(FROZEN_SEEDS["test"] + 100)
    places = np.random.default_rng((width, KINDS.index(kind)))
    for scenes in unseen_scenes(generator, name):
        patterns = scaled_to_peak(scenes.expected, torch.full((len(scenes.expected),), peak_counts))
        counts = torch.poisson(patterns, generator=generator)
        for expected, counted, object_ in zip(patterns.numpy(), counts.numpy(), scenes.specimens.object_, strict=True):
            peak = np.unravel_index(expected.argmax(), expected.shape)
            yield Case(counted, expected, gap(expected.shape, peak, width, kind, places), object_.numpy())


def gap(shape: tuple[int, ...], peak: tuple[np.intp, ...], width: int, kind: str, places: np.random.Generator) -> Mask:
    """Return a mask of `shape` with a line across rows or columns, or both, its middle up to REACH from the peak."""
    mask = np.ones(shape, dtype=bool)
    first = [int(peak[axis] + places.integers(-REACH, REACH + 1) - width // 2) for axis in (1, 2)]
    across = (True, True) if kind == "cross" else ((True, False), (False, True))[places.integers(2)]
    rows, columns = (slice(max(0, begin), max(0, begin + width)) for begin in first)
    if across[0]:
        mask[:, rows] = False
    if across[1]:
        mask[:, :, columns] = False
    return mask


def behind_a_line(counts: Counts, mask: Mask, width: int, places: np.random.Generator) -> tuple[Counts, Mask]:
    """Return counts and mask behind a line of `width` px beside the peak, none where it is 0."""
    if not width:
        return counts, mask
    seen = gap(counts.shape, np.unravel_index(counts.argmax(), counts.shape), width, "line", places)
    return np.where(seen, counts, np.float32(0.0)), mask & seen


def network(engine: Engine, guided: bool) -> Fill:
    """Return a fill with the network of an engine."""

    def fill(counts: Counts, mask: Mask) -> Counts:
        told, _ = completed(_PATTERNS.of(counts, mask, guided, engine.device), ~mask, engine)
        return np.where(mask, counts, told)

    return fill


class _Patterns:
    """The last case as the network sees it, with its guide, which several rows want and which takes seconds."""

    def __init__(self) -> None:
        self._case: tuple[Counts, Mask] | None = None
        self._made: dict[tuple[bool, torch.device], Pattern] = {}

    def of(self, counts: Counts, mask: Mask, guided: bool, device: torch.device) -> Pattern:
        if self._case is None or self._case[0] is not counts or self._case[1] is not mask:
            self._case, self._made = (counts, mask), {}
        if (guided, device) not in self._made:
            shown = torch.from_numpy(np.where(mask, counts, np.float32(0.0)))[None].to(device)
            self._made[guided, device] = pattern_of(
                shown, torch.from_numpy(mask)[None].to(device), [guided], framed=True
            )
        return self._made[guided, device]


_PATTERNS = _Patterns()


def adapting(seconds: float) -> Fill:
    """Return a fill with our network adapted to each pattern, from the voxels that it shows."""

    def fill(counts: Counts, mask: Mask) -> Counts:
        hidden = np.where(mask, counts, np.float32(0.0))
        return network(adapted_engine(hidden, mask, seconds), True)(counts, mask)

    return fill


def peer(folder: Path, item: tuple[int, ...] = ITEM) -> Engine:
    """Return the engine of a peer that was trained into `folder`, for items of a shape."""
    module = PEERS.get(folder.name, DENOISE).build()
    module.load_state_dict(load_weights(folder))
    return TorchEngine(module.eval(), item, batch=(1, BATCH))


def guided(counts: Counts, mask: Mask) -> Counts:
    """Fill with what the crystals of one density that explain the rest say there: the guide of our network alone."""
    return np.where(mask, counts, _PATTERNS.of(counts, mask, True, torch.device("cpu")).guide[0].numpy())


def oracle(case: Case) -> Counts:
    """Return what is in the gap where the crystal's amplitude is known, support and surface with it, and its phases to
    begin with: error reduction with the modulus held in both spaces. Jitter, flicker and partial coherence it does not
    know.
    """
    assert case.object_ is not None
    counts, mask = torch.from_numpy(case.counts), torch.from_numpy(case.mask)
    object_ = torch.from_numpy(case.object_)
    scale = (counts * mask).sum() / (intensity(far_field(object_)) * mask).sum()
    object_ = object_ * scale.sqrt()
    amplitude = object_.abs()
    for _ in range(ORACLE_STEPS):
        spectrum = far_field(object_)
        spectrum = torch.where(mask, torch.sgn(spectrum) * counts.sqrt(), spectrum)
        object_ = torch.sgn(_near(spectrum)) * amplitude
    return np.where(case.mask, case.counts, intensity(far_field(object_)).numpy())


def _near(spectrum: torch.Tensor) -> torch.Tensor:
    return torch.fft.fftshift(torch.fft.ifftn(torch.fft.ifftshift(spectrum, dim=AXES), dim=AXES), dim=AXES)


INTERPOLATIONS: Mapping[str, Fill] = {"nearest": nearest, "linear": linear, "cubic": cubic, "biharmonic": biharmonic}


def scored(cases: Iterator[Case], rows: Mapping[str, Fill], with_oracle: bool = False) -> dict[str, Scores]:
    """Return the scores of each row, and of an oracle where the crystal is known, on the same cases."""
    found: dict[str, Scores] = {}
    for case in cases:
        fills = dict(rows)
        if with_oracle and case.object_ is not None:
            fills["oracle"] = lambda counts, mask, case=case: oracle(case)  # type: ignore[misc]
        hidden = ~case.mask
        for name, fill in fills.items():
            began_s = time.perf_counter()
            filled = fill(case.counts, case.mask)[hidden]
            scores = found.setdefault(name, Scores())
            scores.seconds.append(time.perf_counter() - began_s)
            scores.counts.append(pearson(filled, case.counts[hidden]))
            if case.expected is not None:
                scores.truth.append(pearson(filled, case.expected[hidden]))
                scores.ceiling.append(pearson(case.expected[hidden], case.counts[hidden]))
            else:
                scores.ceiling.append(resampled_ceiling(case.counts[hidden]))
    return found


def pearson(one: Counts, other: Counts) -> float:
    """Pearson's correlation of log1p."""
    return float(np.corrcoef(np.log1p(one), np.log1p(other))[0, 1])


def resampled_ceiling(counts: Counts, seed: int = 0) -> float:
    """Correlation of counts with a second exposure of the same pattern, as far as one exposure can tell it."""
    again = np.random.default_rng(seed).poisson(counts).astype(np.float32)
    return pearson(counts, again)


def calibration(cases: Iterator[Case], engine: Engine, seed: int = 0) -> tuple[float, NDArray[np.float64]]:
    """Return the share of counts within a standard deviation where BRIGHT counts or more are predicted, and the
    randomised PIT (Czado, Gneiting and Held, Biometrics 65 (2009) 1254) of those below, all hidden voxels.
    """
    rng = np.random.default_rng(seed)
    within: list[NDArray[np.bool_]] = []
    transforms: list[NDArray[np.float64]] = []
    for case in cases:
        hidden = ~case.mask
        told, sigma = predicted(np.where(case.mask, case.counts, np.float32(0.0)), case.mask, hidden, engine)
        mean, spread, seen = (array[hidden].astype(np.float64) for array in (told, sigma, case.counts))
        bright = mean >= BRIGHT
        within.append((np.abs(seen - mean) <= np.sqrt(variance(mean, spread)))[bright])
        transforms.append(_randomised_pit(mean[~bright], spread[~bright], seen[~bright], rng))
    return float(np.concatenate(within).mean()), np.concatenate(transforms)


def _randomised_pit(
    median: NDArray[np.float64], sigma: NDArray[np.float64], seen: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """PIT of Poisson counts whose rate is the square of a normal amplitude, averaged over its quantiles."""
    quantiles = stats.norm.ppf((np.arange(16) + 0.5) / 16)
    rates = np.maximum(np.sqrt(median)[:, None] + sigma[:, None] * quantiles, 0.0) ** 2
    upper = stats.poisson.cdf(seen[:, None], rates).mean(axis=1)
    lower = stats.poisson.cdf(seen[:, None] - 1, rates).mean(axis=1)
    return np.asarray(lower + rng.random(len(seen)) * (upper - lower))


def interval(values: list[float], seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean, bootstrap over the cases."""
    drawn = np.random.default_rng(seed).choice(values, (2000, len(values)))
    low, high = np.quantile(drawn.mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


@functools.cache
def _cube(path: Path, size: int) -> Cube:
    return box_around_peak(path, size)


def recorded(path: Path, size: int, width: int, kind: str, positions: int) -> Iterator[Case]:
    """Yield the cube of a real scan with artificial gaps over voxels that it knows."""
    cube = _cube(path, size)
    peak = np.unravel_index(cube.counts.argmax(), cube.counts.shape)
    places = np.random.default_rng((width, KINDS.index(kind)))
    for _ in range(positions):
        yield Case(cube.counts, None, gap(cube.counts.shape, peak, width, kind, places))
