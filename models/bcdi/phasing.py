"""Phase retrieval: counts in, object out, from many random starts.

The same code on CPU and CUDA. Array frame: `counts` [z, y, x] with the peak anywhere near index n // 2, object in the same
pixel frame, counts ~ Poisson(scale * |fftshift(fftn(ifftshift(object)))|^2 + background). Nothing is recentred.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.bcdi import quality
from models.bcdi.coherence import Coherence
from models.bcdi.iterate import ShrinkWrap
from models.bcdi.levels import coarse_to_fine, full_level
from models.bcdi.modes import align, mode_decomposition
from models.bcdi.pattern import Level, Pattern, hold_out, measured_pattern, resample, to_level
from models.bcdi.quality import FigureSet
from models.bcdi.recipe import format_recipe, parse_recipe
from models.bcdi.search import Outcome, Stage, random_starts, run_stage, scaled, to_numpy, to_tensor
from models.bcdi.support import extent, gaussian_transfer, initial_support, shrink_wrap

PRTF_SHELLS = 32

# The recipe 'auto': a search at the coarsest level, a repair at each finer one, a polish of the mode.
AUTO_SEARCH = parse_recipe("200*HIO+300*RAAR+50*ER")
AUTO_REFINE = parse_recipe("20*RAAR+20*ER")
AUTO_FINISH = parse_recipe("20*ER")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhasingConfig:
    """How a volume is inverted.

    `recipe`: 'auto' (coarse to fine, see search.py) or a recipe string that every start runs at full size. `starts`:
    independent random starts; the `keep` with the best free log-likelihood form the result. `seed`: of the starts and of
    the held-out voxels. `held_out_seed`: of the held-out voxels alone, None takes `seed`. `beta`: feedback of HIO and
    RAAR. `shrink_*`: sigma in voxels, at first and at last, share of the maximum, iterations between. `coherence`:
    'full', or the kernel that blurs the model. `held_out`: share of the voxels kept for the free log-likelihood.
    `twin_iteration`: where half of the object is emptied, None never.
    """

    recipe: str = "auto"
    starts: int = 10
    keep: int = 5
    seed: int = 0
    held_out_seed: int | None = None
    device: str = "cpu"
    beta: float = 0.9
    shrink_first_sigma: float = 2.0
    shrink_last_sigma: float = 1.0
    shrink_threshold: float = 0.1
    shrink_period: int = 5
    coherence: Coherence = "full"
    held_out: float = 0.02
    twin_iteration: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Phased:
    """The selected object of a run.

    `object_` complex64 [z, y, x] and `support` bool, in the pixel frame of the counts. `figures` are its own, `starts`
    those of every start by number (at the level where it was last seen), `selected` the numbers that formed it, best
    first, `kept` complex64 [keep, z, y, x] their objects, aligned to the best. `mode_weights` float32 [keep]: the first
    is the share of |object|^2 that the starts agree on. `prtf` and `prtf_q` float32 [shells], q in cycles per voxel of
    the object. `held_out` bool [z, y, x]: voxels of the free log-likelihood. `recipe` is what ran.
    `coherence_widths_voxels`: full widths at half maximum of the kernel (z, y, x), `coherence_mixing` its Lorentzian
    share; None with full coherence.
    """

    object_: NDArray[np.complex64]
    support: NDArray[np.bool_]
    figures: FigureSet
    starts: tuple[FigureSet, ...]
    selected: tuple[int, ...]
    kept: NDArray[np.complex64]
    mode_weights: NDArray[np.float32]
    prtf: NDArray[np.float32]
    prtf_q: NDArray[np.float32]
    held_out: NDArray[np.bool_]
    recipe: str
    coherence_widths_voxels: tuple[float, ...] | None = None
    coherence_mixing: float | None = None


class PhasingCancelled(Exception):
    """The caller asked to stop. Control flow, not an error."""


def phase_retrieval(
    counts: NDArray[np.float32],
    mask: NDArray[np.bool_],
    config: PhasingConfig | None = None,
    *,
    scale: NDArray[np.float32] | None = None,
    background: NDArray[np.float32] | None = None,
    start: NDArray[np.complex64] | None = None,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Phased:
    """Invert a volume of counts.

    `counts` float32 and `mask` bool (True: good) [z, y, x]. `scale` float32 [z] (monitor times transmission of each
    frame) or anything that broadcasts against the counts (flat field too), `background` likewise, counts. `start`
    complex64 of any shape: an object on the same detector pixels (a coarser or finer voxel) from which every start sets
    out. `progress` receives a share 0..1; `cancelled` is asked between iterations, True raises PhasingCancelled. Raises
    ValueError in one line where there is nothing to invert or the configuration is impossible. Not for streaming.
    """
    config = config or PhasingConfig()
    measured = _validated(counts, mask, config, scale, background)

    def watch(_: int) -> None:
        if cancelled is not None and cancelled():
            raise PhasingCancelled

    return _Run(measured, config, watch).result(start)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """Validated input, array order."""

    counts: NDArray[np.float32]
    mask: NDArray[np.bool_]
    scale: NDArray[np.float32]
    background: NDArray[np.float32]
    held_out: NDArray[np.bool_]

    def pattern(self, level: Level, device: str) -> Pattern:
        return measured_pattern(
            *(level.take(array) for array in (self.counts, self.mask, self.held_out)),
            scale=level.take(self.scale),
            background=level.take(self.background),
            device=device,
        )


class _Run:
    """One call of `phase_retrieval`: its stages in turn, and the share of the work that is done."""

    def __init__(self, measured: _Measured, config: PhasingConfig, watch: Callable[[int], None]) -> None:
        self.measured = measured
        self.config = config
        self.watch = watch
        self.pattern = measured.pattern(full_level(measured.counts.shape), config.device)

    def result(self, start: NDArray[np.complex64] | None) -> Phased:
        levels, stages = self._plan(start)
        numbers = tuple(range(self.config.starts))
        table: dict[int, FigureSet] = {}
        kept: Outcome | None = None
        for index, (level, stage) in enumerate(zip(levels, stages, strict=True)):
            pattern = self.pattern if index == len(levels) - 1 else self.measured.pattern(level, self.config.device)
            if kept is None:
                objects, support = self._first(pattern, start)
            else:
                objects = to_level(kept.objects, levels[index - 1], level)
                support = _wrapped(objects, self.config)
            outcome = run_stage(pattern, objects, support, stage, numbers, self.watch)
            table |= dict(zip(outcome.numbers, outcome.figures, strict=True))
            kept = outcome.best(self.config.keep)
            numbers = kept.numbers
        assert kept is not None
        return self._selected(kept, tuple(table[number] for number in sorted(table)), stages)

    def _plan(self, start: NDArray[np.complex64] | None) -> tuple[list[Level], list[Stage]]:
        shape = self.pattern.shape
        if self.config.recipe != "auto":
            return [full_level(shape)], [self._stage(parse_recipe(self.config.recipe))]
        if start is not None:
            return [full_level(shape)], [self._stage(AUTO_REFINE)]
        levels = coarse_to_fine(shape, extent(self.pattern))
        return levels, [self._stage(AUTO_SEARCH)] + [self._stage(AUTO_REFINE) for _ in levels[1:]]

    def _stage(self, schedule: tuple[str, ...]) -> Stage:
        config = self.config
        wrap = ShrinkWrap(
            first_sigma=config.shrink_first_sigma,
            last_sigma=config.shrink_last_sigma,
            threshold=config.shrink_threshold,
            period=config.shrink_period,
        )
        return Stage(schedule=schedule, wrap=wrap, beta=config.beta, twin_iteration=config.twin_iteration)

    def _first(self, pattern: Pattern, start: NDArray[np.complex64] | None) -> tuple[Tensor, Tensor]:
        count = self.config.starts
        if start is None:
            support = initial_support(pattern).expand(count, *pattern.shape)
            return random_starts(pattern, support, tuple((self.config.seed, n) for n in range(count))), support
        objects = resample(to_tensor(start, self.config.device).to(torch.complex64), pattern.shape)
        objects = scaled(objects.expand(count, *pattern.shape), pattern)
        return objects, _wrapped(objects, self.config)

    def _selected(self, kept: Outcome, starts: tuple[FigureSet, ...], stages: list[Stage]) -> Phased:
        objects = to_numpy(kept.objects)
        aligned = np.stack([objects[0]] + [align(one, objects[0]).object_ for one in objects[1:]])
        mode, mode_weights = mode_decomposition(aligned)
        begin = to_tensor(mode, self.config.device)[None]
        finish = self._stage(AUTO_FINISH)
        last = run_stage(self.pattern, begin, _wrapped(begin, self.config), finish, (0,), self.watch)
        measured = self.measured
        radius = quality.index_radius(measured.counts.shape)
        edges = np.linspace(0.0, 0.5, PRTF_SHELLS + 1)
        scale = np.broadcast_to(measured.scale, measured.counts.shape)
        return Phased(
            object_=to_numpy(last.objects[0]),
            support=to_numpy(last.support[0]),
            figures=last.figures[0],
            starts=starts,
            selected=kept.numbers,
            kept=aligned,
            mode_weights=mode_weights,
            prtf=quality.prtf(aligned, measured.counts, measured.mask, radius, edges, scale),
            prtf_q=(0.5 * (edges[1:] + edges[:-1])).astype(np.float32),
            held_out=measured.held_out,
            recipe="; ".join(format_recipe(stage.schedule) for stage in [*stages, finish]),
        )


def _wrapped(objects: Tensor, config: PhasingConfig) -> Tensor:
    transfer = gaussian_transfer(tuple(objects.shape[-3:]), config.shrink_last_sigma, objects.device)
    return shrink_wrap(objects, transfer, config.shrink_threshold)


def _validated(
    counts: NDArray[np.float32],
    mask: NDArray[np.bool_],
    config: PhasingConfig,
    scale: NDArray[np.float32] | None,
    background: NDArray[np.float32] | None,
) -> _Measured:
    if counts.ndim != 3 or min(counts.shape) < 2:
        raise ValueError(f"counts must be a volume [z, y, x] of at least 2 voxels an axis, got shape {counts.shape}")
    if mask.shape != counts.shape:
        raise ValueError(f"mask has shape {mask.shape}, counts {counts.shape}: expected the same")
    good = mask & np.isfinite(counts)
    if not good.any():
        raise ValueError("all voxels are masked: nothing to invert")
    if not np.any(counts[good] > 0):
        raise ValueError("zero counts in all good voxels: nothing to invert")
    if np.any(counts[good] < 0):
        raise ValueError("negative counts: give counts as measured, without subtraction")
    factor = _broadcastable("scale", np.float32(1.0) if scale is None else scale, counts.shape)
    if not np.all(factor > 0):
        raise ValueError("scale has values that are not above zero: mask those frames and give them 1")
    return _Measured(
        counts=np.where(good, counts, 0.0).astype(np.float32),
        mask=good,
        scale=factor,
        background=_broadcastable("background", np.float32(0.0) if background is None else background, counts.shape),
        held_out=hold_out(good, config.held_out, config.seed if config.held_out_seed is None else config.held_out_seed),
    )


def _broadcastable(
    name: str, values: NDArray[np.float32] | np.float32, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    array = np.asarray(values, dtype=np.float32)
    if array.ndim == 1 and len(array) == shape[0]:
        array = array[:, None, None]
    try:
        return np.broadcast_to(array, shape)
    except ValueError as error:
        raise ValueError(f"{name} has shape {array.shape}, which does not fit counts of shape {shape}") from error
