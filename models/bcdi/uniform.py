"""Phase retrieval of crystals of one density: where a gap hides what would decide between solutions, that decides.

The amplitude of a crystal is the same everywhere inside, defects and strain live in its phase. Held to that in part, a
search comes to the crystal behind gaps as wide as a fringe and wider, where a support alone leaves several solutions,
and modes that lie in the gap alone. With every voxel the beam's coherence is fitted too: fringes that it washes out
would be taken for the crystal's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import max_pool3d

from models.bcdi.coherence import Kernel
from models.bcdi.iterate import Batch, ShrinkWrap, coherent_intensity
from models.bcdi.levels import coarse_to_fine, full_level, sparse_level
from models.bcdi.pattern import (
    AXES,
    REACH_MARGIN_VOXELS,
    Level,
    Pattern,
    coarse_pattern,
    gaussian_transfer,
    measured_pattern,
    picked,
    smoothed_over,
    to_level,
)
from models.bcdi.phasing import AUTO_SEARCH
from models.bcdi.search import Stage, random_starts, run_stage, scaled, to_numpy
from models.bcdi.support import extent, initial_support

# Edges of the cube in which such crystals are sought, at most; fewer voxels than the least tell no crystal.
LARGEST, LEAST = 64, 16
# Thresholds of the support while starts are searched, the starts of each, and how many of them go on: with gaps near
# the peak some crystals are found by a tight support alone, others by a loose one.
THRESHOLDS, STARTS, KEPT = (0.25, 0.15), 8, 4
BETA = 0.9
# Successive halving: candidates, iterations of RAAR and of projections, at the sparse level and with every voxel.
SPARSE_ROUNDS = ((8, 100, 10), (4, 200, 10))
OBJECTS = 3
FULL_ROUNDS = ((OBJECTS, 60, 10), (OBJECTS, 60, 40))
# Where amplitudes blurred by SIGMA voxels reach SUPPORT of the plateau is the crystal; where they and their neighbours
# along the axes reach INSIDE is its interior. There an amplitude within BAND of the plateau is drawn to it by PULL;
# others, as of grain boundaries, are left; none may exceed CEILING of it.
SIGMA, SUPPORT, INSIDE = 0.7, 0.12, 0.5
BAND, PULL, CEILING = 0.25, 0.3, 1.1
PERIOD = 20  # iterations between one look at these regions and the next
MOST_MOMENTUM = 0.9
# Share of the counts that an object leaves free, at least, however large it is.
LEAST_FREE = 0.02
# Added to counts before the square root: its variance is then nearly that of any other (Anscombe 1948).
ANSCOMBE = 0.375


class Crystals(NamedTuple):
    """Crystals that explain a pattern, the likeliest first: complex64 `objects` [n, z, y, x] in the pixel frame of the
    counts, and float32 `intensity` [n, z, y, x], counts, |fftshift(fftn(ifftshift(object)))|^2 as the beam's coherence
    leaves it.
    """

    objects: NDArray[np.complex64]
    intensity: NDArray[np.float32]


def cube_about(centre: Iterable[int], shape: Iterable[int]) -> tuple[slice, ...]:
    """Return the cube in which crystals are sought: even edges, about an index `centre` of an array of `shape`."""
    found = []
    for middle, n in zip(centre, shape, strict=True):
        edge = min(LARGEST, n) // 2 * 2
        first = max(0, min(middle - edge // 2, n - edge))
        found.append(slice(first, first + edge))
    return tuple(found)


def uniform_crystals(
    counts: NDArray[np.float32], mask: NDArray[np.bool_], seed: int = 0, device: str = "cpu"
) -> Crystals:
    """Return OBJECTS crystals of one density. Where they agree the counts decide; where they do not, nobody knows.

    `counts` float32 and `mask` bool, True where seen, [z, y, x], as in `phasing.phase_retrieval`: counts are Poisson
    draws of the intensity. Raises ValueError where nothing was counted. Not for streaming.
    """
    if not np.any(counts[mask] > 0):
        raise ValueError("zero counts in all good voxels: nothing to invert")
    pattern = measured_pattern(
        np.where(mask, counts, np.float32(0.0)),
        mask,
        np.zeros_like(mask),
        scale=np.ones((1, 1, 1), np.float32),
        background=np.zeros((1, 1, 1), np.float32),
        device=device,
    )
    # Zeros in a gap are streaks in the autocorrelation, and would be taken for a larger crystal.
    sizes = extent(replace(pattern, amplitude=smoothed_over(pattern).sqrt()))
    level, candidates = _searched(pattern, sizes, seed)
    sparse, full = sparse_level(pattern.shape, sizes), full_level(pattern.shape)
    candidates = _halved(picked(pattern, sparse), to_level(candidates, level, sparse), SPARSE_ROUNDS, None)
    kernel = Kernel("gaussian", pattern)
    candidates = _halved(pattern, to_level(candidates, sparse, full), FULL_ROUNDS, kernel)
    intensity = kernel.apply(coherent_intensity(candidates))
    return Crystals(
        np.asarray(to_numpy(candidates), dtype=np.complex64), np.fft.fftshift(intensity.cpu().numpy(), axes=AXES)
    )


def _searched(pattern: Pattern, sizes: tuple[int, ...], seed: int) -> tuple[Level, Tensor]:
    """The best of many starts at the coarsest level."""
    level = coarse_to_fine(pattern.shape, sizes)[0]
    view = coarse_pattern(pattern, level, None, tuple(size + REACH_MARGIN_VOXELS for size in sizes))
    support = initial_support(view).expand(STARTS, *view.shape)
    found = []
    for number, threshold in enumerate(THRESHOLDS):
        wrap = ShrinkWrap(first_sigma=2.0, last_sigma=1.0, threshold=threshold, period=10)
        stage = Stage(schedule=AUTO_SEARCH, wrap=wrap, beta=BETA, level=level, keep=KEPT)
        starts = random_starts(view, support, tuple((seed, number * STARTS + start) for start in range(STARTS)))
        found.append(run_stage(view, None, starts, support, stage, lambda _: None).objects)
    return level, torch.cat(found)


def _halved(
    pattern: Pattern, candidates: Tensor, rounds: Iterable[tuple[int, int, int]], kernel: Kernel | None
) -> Tensor:
    """Iterate candidates (n, z, y, x), fewer each round, and return them, that first which explains the counts best."""
    candidates = scaled(candidates, pattern)
    if kernel is not None:
        kernel.refine(coherent_intensity(candidates[:1])[0])
    for keep, searching, polishing in rounds:
        done = [_Iterated(pattern, candidate, kernel) for candidate in candidates[:keep]]
        for one in done:
            one.run(searching, polishing)
        candidates = torch.stack([one.object_ for one in sorted(done, key=lambda one: one.cross_validation())])
    return candidates


class _Iterated:
    """One object complex64 (z, y, x), corner order, its support and its interior; the kernel is common to all."""

    def __init__(self, pattern: Pattern, object_: Tensor, kernel: Kernel | None) -> None:
        self.object_ = object_
        self._pattern = pattern
        everywhere = torch.ones_like(object_, dtype=torch.bool)
        self._batch = Batch(pattern, object_[None].clone(), everywhere[None], beta=BETA, kernel=kernel)
        self._blur = gaussian_transfer(pattern.shape, SIGMA, object_.device)
        self._look(object_)

    def run(self, searching: int, polishing: int) -> None:
        """RAAR (Luke, Inverse Problems 21 (2005) 37), then projections with the momentum of Nesterov; the kernel is
        fitted to what they come to.
        """
        state = self._batch.objects[0]
        for iteration in range(searching):
            projected = self._batch.project()[0]
            if iteration and iteration % PERIOD == 0:
                self._look(projected)
            even = self._even(2.0 * projected[self._box] - state[self._box])
            state.mul_(BETA).add_(projected, alpha=1.0 - 2.0 * BETA)
            state[self._box] += BETA * even
        self._land()
        age = 1.0
        for iteration in range(polishing):
            if iteration and iteration % PERIOD == 0:
                self._look(self.object_)
            before, older = self.object_, age
            self._land()
            age = (1.0 + (1.0 + 4.0 * age * age) ** 0.5) / 2.0
            momentum = min((older - 1.0) / age, MOST_MOMENTUM)
            self._batch.objects[0] = torch.lerp(before, self.object_, 1.0 + momentum)
        self._batch.objects[0] = self.object_
        if self._batch.kernel is not None:
            self._batch.kernel.refine(coherent_intensity(self._batch.objects)[0])

    def cross_validation(self) -> float:
        """Return the generalised cross-validation of the square roots of the counts: two numbers a voxel are fitted.

        Golub, Heath and Wahba, Technometrics 21 (1979) 215; 1 where an object without parameters explains all.
        """
        seen = self._pattern.seen
        told = self._batch.intensities()[0][seen]
        counted = self._pattern.amplitude[seen].square()
        off = float(4.0 * ((told + ANSCOMBE).sqrt() - (counted + ANSCOMBE).sqrt()).square().mean())
        free = 1.0 - 2.0 * float(self._support.sum()) / len(told)
        return off / max(free, LEAST_FREE) ** 2 if np.isfinite(off) else np.inf

    def _land(self) -> None:
        """Project onto the measured amplitudes, then onto even crystals."""
        projected = self._batch.project()[0]
        landed = torch.zeros_like(projected)
        landed[self._box] = self._even(projected[self._box])
        self.object_ = landed
        self._batch.objects[0] = landed

    def _even(self, values: Tensor) -> Tensor:
        """What an even crystal has in the box of the support."""
        height = values.abs() / self._plateau
        near = self._interior & ((height - 1.0).abs() < BAND)
        inverse = height.clamp(min=0.1).reciprocal()
        factor = torch.where(near, 1.0 + PULL * (inverse - 1.0), (CEILING * inverse).clamp(max=1.0))
        even: Tensor = values * (factor * self._support)
        return even

    def _look(self, object_: Tensor) -> None:
        """See where the crystal is, where its interior, and how high its plateau."""
        magnitude = object_.abs()
        blurred = torch.fft.irfftn(torch.fft.rfftn(magnitude, dim=AXES) * self._blur, s=magnitude.shape, dim=AXES)
        level = blurred[blurred >= 0.5 * blurred.max()].median()
        inside = ~_beside(blurred <= INSIDE * level)
        support = blurred > SUPPORT * level
        self._box = torch.meshgrid(*_reach(support), indexing="ij")
        self._support, self._interior = support[self._box], inside[self._box]
        self._plateau = magnitude[inside].median() if bool(inside.any()) else magnitude.max()


def _beside(mask: Tensor) -> Tensor:
    """Where `mask` (z, y, x) or a neighbour of it along an axis is True."""
    values = mask[None, None].float()
    pools: Iterable[Tensor] = (
        max_pool3d(values, size, 1, tuple(n // 2 for n in size)) for size in ((3, 1, 1), (1, 3, 1), (1, 1, 3))
    )
    return torch.stack([pool[0, 0] > 0 for pool in pools]).any(0)


def _reach(mask: Tensor) -> list[Tensor]:
    """Indices of each axis at which `mask` (z, y, x) has a True."""
    return [mask.any(dim=[a for a in range(3) if a != axis]).nonzero().flatten() for axis in range(3)]
