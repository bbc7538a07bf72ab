"""From random starts to the selected object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.bcdi.coherence import Kernel
from models.bcdi.iterate import Batch, ShrinkWrap, run
from models.bcdi.pattern import AXES, Level, Pattern
from models.bcdi.quality import FigureSet, figures

# A batch holds at most this many voxels: more gains nothing once caches (CPU) or multiprocessors (GPU) are full.
BATCH_VOXELS = {"cpu": 2**18, "cuda": 2**26}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What every start runs at one level, and how many of the best go on."""

    schedule: tuple[str, ...]
    wrap: ShrinkWrap
    beta: float
    level: Level
    keep: int
    twin_iteration: int | None = None


class PhasingCancelled(Exception):
    """The caller asked to stop. Control flow, not an error."""


class Watch:
    """Tells the caller how much of the work is done, and stops it where the caller asks to."""

    def __init__(self, progress: Callable[[float], None] | None, cancelled: Callable[[], bool] | None) -> None:
        self.progress = progress
        self.cancelled = cancelled
        self.total = self.done = 0

    def expect(self, stages: list[Stage], starts: int) -> None:
        """Set the whole: voxels times iterations of the stages to come."""
        running = [starts, *(stage.keep for stage in stages[:-2]), 1]
        self.total = sum(
            count * prod(stage.level.shape) * len(stage.schedule) for count, stage in zip(running, stages, strict=True)
        )

    def __call__(self, voxels: int) -> None:
        """Count one iteration over `voxels`; raise PhasingCancelled where the caller asks to stop."""
        if self.cancelled is not None and self.cancelled():
            raise PhasingCancelled
        self.done += voxels
        if self.progress is not None:
            self.progress(min(self.done / self.total, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a stage leaves: the best objects complex64 and supports bool [keep, z, y, x] (corner order), best first.

    `figures` of every start that ran, in their order; `order` [keep] the indices of the best among them.
    """

    objects: Tensor
    support: Tensor
    figures: tuple[FigureSet, ...]
    order: tuple[int, ...]


def random_starts(pattern: Pattern, support: Tensor, seeds: tuple[tuple[int, int], ...]) -> Tensor:
    """Return one random object a seed inside `support`, complex64 [n, z, y, x], with the measured total intensity.

    Each start has a generator of its own, so a start does not depend on the batch that it runs in.
    """
    objects = torch.empty((len(seeds), *pattern.shape), dtype=torch.complex64)
    for index, seed in enumerate(seeds):
        generator = np.random.default_rng(seed)
        draws = generator.standard_normal((*pattern.shape, 2), dtype=np.float32)
        objects[index] = torch.view_as_complex(torch.from_numpy(draws))
    return scaled(objects.to(pattern.counts.device) * support, pattern)


def scaled(objects: Tensor, pattern: Pattern) -> Tensor:
    """Return objects with the total intensity of the pattern; an empty one stays empty."""
    energy = pattern.amplitude.square().sum() / pattern.counts.numel()
    norms: Tensor = torch.linalg.vector_norm(objects, dim=AXES, keepdim=True)
    return objects * torch.where(norms > 0.0, energy.sqrt() / norms, 0.0)


def run_stage(
    pattern: Pattern,
    kernel: Kernel | None,
    objects: Tensor,
    support: Tensor,
    stage: Stage,
    each: Callable[[int], None],
) -> Outcome:
    """Run a stage on all starts, batch by batch; return the best by free log-likelihood, the best first.

    `each` is told how many voxels an iteration went over, after each; it may raise to stop.
    """
    done: list[tuple[Tensor, Tensor, list[FigureSet]]] = []
    for part in batches(len(objects), pattern):
        batch = Batch(pattern, objects[part].clone(), support[part], beta=stage.beta, kernel=kernel)
        run(batch, stage.schedule, stage.wrap, twin_iteration=stage.twin_iteration, each=each)
        done.append((batch.objects, batch.support, figures(pattern, batch.intensities())))
    every = [figure for _, _, some in done for figure in some]
    order = sorted(range(len(every)), key=lambda index: rank(every[index]))[: stage.keep]
    return Outcome(
        objects=torch.cat([one for one, _, _ in done])[order],
        support=torch.cat([one for _, one, _ in done])[order],
        figures=tuple(every),
        order=tuple(order),
    )


def rank(figure: FigureSet) -> float:
    """Return what starts are sorted by: the free log-likelihood, chi where nothing was held out; the lost come last."""
    value = figure.free_log_likelihood
    value = figure.chi if np.isnan(value) else value
    return value if np.isfinite(value) else np.inf


def batches(count: int, pattern: Pattern) -> Iterator[slice]:
    """Yield slices over `count` starts, each small enough for one batch."""
    limit = BATCH_VOXELS[pattern.counts.device.type]
    size = max(1, limit // pattern.counts.numel())
    for first in range(0, count, size):
        yield slice(first, min(first + size, count))


def to_numpy(objects: Tensor) -> NDArray[Any]:
    """Return tensors [..., z, y, x] in array order."""
    return np.asarray(torch.fft.fftshift(objects, dim=AXES).cpu().numpy())


def to_tensor(objects: NDArray[np.generic], device: str) -> Tensor:
    """Return arrays [..., z, y, x] in corner order on `device`."""
    corner: Tensor = torch.fft.ifftshift(torch.from_numpy(np.ascontiguousarray(objects)), dim=AXES)
    return corner.to(device)
