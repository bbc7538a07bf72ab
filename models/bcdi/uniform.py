"""Phase retrieval of crystals of one density: where a gap hides what would decide between solutions, that decides.

The amplitude of a crystal is the same everywhere inside, defects and strain live in its phase. Held to that in part, a
search comes to the crystal behind gaps as wide as a fringe and wider, where a support alone leaves several solutions,
and modes that lie in the gap alone. With every voxel the beam's coherence is fitted too: fringes that it washes out
would be taken for the crystal's. A crystal that is found so explains the counts to their noise once each frame has a
dose and a place of its own; one that does not was not found.
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
from models.bcdi.frames import Frames
from models.bcdi.iterate import Batch, ShrinkWrap, coherent_intensity, square
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
from models.bcdi.search import Stage, random_starts, run_stage, scaled, to_numpy, to_tensor
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
# Iterations of RAAR and of projections between one fit of the frames and the next.
FRAMED_ROUNDS = ((40, 20), (40, 20))
# Where amplitudes blurred by SIGMA voxels reach SUPPORT of the plateau is the crystal; where they and their neighbours
# along the axes reach INSIDE is its interior. There an amplitude within BAND of the plateau is drawn to it by PULL;
# others, as of grain boundaries, are left; none may exceed CEILING of it.
SIGMA, SUPPORT, INSIDE = 0.7, 0.12, 0.5
BAND, PULL, CEILING = 0.25, 0.3, 1.1
PERIOD = 20  # iterations between one look at these regions and the next
MOST_MOMENTUM = 0.9
# Simulated crystals of 1e4 to 1e7 counts in the peak: those that were found leave less than 4e-5 of the counts
# unexplained, others more than 2.5e-4, where so many voxels are bright for each of the crystal. A flat pattern is that
# of a point, so a crystal has more voxels than that.
FOUND, BRIGHT, BRIGHT_A_VOXEL, FEWEST_VOXELS = 1.5e-4, 10.0, 4.0, 100
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


class Framed(NamedTuple):
    """What a crystal says of the counts once frames have doses and places: float32 `intensity` [z, y, x], counts.

    `unexplained`: sum (sqrt(told) - sqrt(counted))^2 where BRIGHT counts or more are told, less what noise leaves, as a
    share of these counts; infinite where too few voxels are bright to tell a crystal, or it is a point.
    """

    intensity: NDArray[np.float32]
    unexplained: float

    @property
    def found(self) -> bool:
        """Whether this is the crystal: wrong ones do not come down to the noise."""
        return self.unexplained <= FOUND


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
    pattern = _pattern(counts, mask, device)
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


def framed_crystal(
    counts: NDArray[np.float32], mask: NDArray[np.bool_], object_: NDArray[np.complex64], device: str = "cpu"
) -> Framed:
    """Return what one of the crystals of `uniform_crystals` says of the counts once frames have doses and places.

    `counts`, `mask` and errors as there, `object_` complex64 of the same shape. Not for streaming.
    """
    pattern = _pattern(counts, mask, device)
    kernel, frames = Kernel("gaussian", pattern), Frames(len(counts), pattern.counts.device)
    start = scaled(to_tensor(object_, device)[None], pattern)[0]
    crystal = _Iterated(pattern, start, kernel, frames)
    crystal.fit()
    for searching, polishing in FRAMED_ROUNDS:
        crystal.run(searching, polishing)
    return Framed(np.fft.fftshift(crystal.intensity().cpu().numpy()), crystal.unexplained())


def _pattern(counts: NDArray[np.float32], mask: NDArray[np.bool_], device: str) -> Pattern:
    return measured_pattern(
        np.where(mask, counts, np.float32(0.0)),
        mask,
        np.zeros_like(mask),
        scale=np.ones((1, 1, 1), np.float32),
        background=np.zeros((1, 1, 1), np.float32),
        device=device,
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

    def __init__(self, pattern: Pattern, object_: Tensor, kernel: Kernel | None, frames: Frames | None = None) -> None:
        self.object_ = object_
        self._pattern = pattern
        everywhere = torch.ones_like(object_, dtype=torch.bool)
        self._batch = Batch(pattern, object_[None].clone(), everywhere[None], beta=BETA, kernel=kernel, frames=frames)
        self._blur = gaussian_transfer(pattern.shape, SIGMA, object_.device)
        self._look(object_)

    def run(self, searching: int, polishing: int) -> None:
        """RAAR (Luke, Inverse Problems 21 (2005) 37), then projections with the momentum of Nesterov, then a fit."""
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
        self.fit()

    def fit(self) -> None:
        """Fit kernel and frames, where there are such, to the object."""
        kernel, frames = self._batch.kernel, self._batch.frames
        if kernel is None:
            return
        if frames is None:
            kernel.refine(coherent_intensity(self._batch.objects)[0])
            return
        kernel.refine(square(frames.far_field(self._batch.objects))[0], frames.dose)
        self.object_ = frames.refine(self.object_, self._pattern, kernel)
        self._batch.objects[0] = self.object_
        self._look(self.object_)

    def intensity(self) -> Tensor:
        """Return what would be measured, float32 [z, y, x], counts."""
        return self._batch.intensities()[0]

    def cross_validation(self) -> float:
        """Return the generalised cross-validation of the square roots of the counts: two numbers a voxel are fitted.

        Golub, Heath and Wahba, Technometrics 21 (1979) 215; 1 where an object without parameters explains all.
        """
        seen = self._pattern.seen
        told = self.intensity()[seen]
        counted = self._pattern.amplitude[seen].square()
        off = float(4.0 * ((told + ANSCOMBE).sqrt() - (counted + ANSCOMBE).sqrt()).square().mean())
        free = 1.0 - 2.0 * float(self._support.sum()) / len(told)
        return off / max(free, LEAST_FREE) ** 2 if np.isfinite(off) else np.inf

    def unexplained(self) -> float:
        """See Framed."""
        told, counted = self.intensity(), self._pattern.counts
        bright = self._pattern.seen & (told >= BRIGHT)
        voxels, size = int(bright.sum()), int(self._support.sum())
        if voxels < BRIGHT_A_VOXEL * size or size < FEWEST_VOXELS:
            return np.inf
        off = float(((told + ANSCOMBE).sqrt() - (counted + ANSCOMBE).sqrt())[bright].square().sum(dtype=torch.float64))
        share = (off - 0.25 * voxels) / float(counted[bright].sum(dtype=torch.float64))
        return share if np.isfinite(share) else np.inf

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
