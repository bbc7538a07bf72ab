"""Phase retrieval: counts in, object out, from many random starts.

The same code on CPU and CUDA. Array frame: `counts` [z, y, x] with the peak near index n // 2, object in the same pixel
frame, counts ~ Poisson(scale * |fftshift(fftn(ifftshift(object)))|^2 + background). Nothing is recentred.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.bcdi import quality
from models.bcdi.coherence import Coherence, Kernel
from models.bcdi.iterate import ShrinkWrap, coherent_intensity
from models.bcdi.levels import coarse_to_fine, full_level
from models.bcdi.modes import align, mode_decomposition
from models.bcdi.pattern import (
    REACH_MARGIN_VOXELS,
    Filled,
    Level,
    Pattern,
    coarse_pattern,
    gaussian_transfer,
    hold_out,
    measured_pattern,
    resample,
    to_level,
)
from models.bcdi.quality import FigureSet
from models.bcdi.recipe import format_recipe, parse_recipe
from models.bcdi.search import Outcome, Stage, Watch, random_starts, run_stage, scaled, to_numpy, to_tensor
from models.bcdi.support import extent, initial_support, shrink_wrap
from models.light import light_of

PRTF_SHELLS = 32

Device = Literal["cpu", "cuda"]

# The recipe 'auto': a search at the coarsest level, a repair of the best at each finer one, a polish of their mode.
AUTO_SEARCH = parse_recipe("200*HIO+300*RAAR+50*ER")
# From starts that are given. On 16 simulated crystals of Al and Pd, four of them made of what the network `invert` told
# came to a median correlation with the truth of 0.985, 20 random ones to 0.983 in six times the time.
AUTO_SEARCH_BEGUN = parse_recipe("100*HIO+150*RAAR+30*ER")
AUTO_MIDDLE = parse_recipe("30*RAAR+20*ER")
AUTO_REFINE = parse_recipe("20*RAAR+10*ER")
AUTO_FINISH = parse_recipe("20*ER")
# Starts from a given object differ by this much noise, relative to its norm.
START_NOISE = 0.1
# Share of its maximum at which the blurred beginning of a search ends.
LOOSE_THRESHOLD = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class PhasingConfig:
    """How a volume is inverted.

    `recipe`: 'auto' (coarse to fine) or a recipe string that every start runs at full size. `starts`: independent
    random starts; the `keep` with the best free log-likelihood form the result. `seed`: of starts and of held-out
    voxels. `held_out_seed`: of the held-out voxels alone, None takes `seed`. `beta`: feedback of HIO and RAAR.
    `shrink_*`: sigma in voxels, at first and at last, share of the maximum, iterations between; while 'auto' searches,
    `search_threshold` is that share: a support as tight as the crystal leaves no room for wrong solutions. On eight
    simulated crystals (benchmarks/thresholds.py) both defaults come to a correlation with the truth of 0.969; the best
    of the grid, 0.2 and 0.12, is better by 0.002 ± 0.003, so not to be told apart; searching at 0.15, 0.3 or 0.35 is
    worse by 0.009 to 0.017.
    `coherence`: 'full', or the kernel that blurs the model. `held_out`: share of the voxels kept for the free
    log-likelihood. `twin_iteration`: where half of a random start is emptied, None never.
    `search_from_start`: whether starts that are given are searched from by 'auto', from the coarsest level on and each
    inside a loose support of its own, or are only polished. Raises ValueError for values that make no sense.
    """

    recipe: str = "auto"
    starts: int = 20
    keep: int = 10
    seed: int = 0
    held_out_seed: int | None = None
    device: Device = "cpu"
    beta: float = 0.9
    shrink_first_sigma: float = 2.0
    shrink_last_sigma: float = 1.0
    search_threshold: float = 0.25
    shrink_threshold: float = 0.08
    shrink_period: int = 10
    coherence: Coherence = "gaussian"
    held_out: float = 0.02
    twin_iteration: int | None = None
    search_from_start: bool = False

    def __post_init__(self) -> None:
        for name in ("starts", "keep", "shrink_period"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: expected 1 or more")
        for name in ("beta", "search_threshold", "shrink_threshold"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}: expected more than 0, 1 at most")
        for name in ("shrink_first_sigma", "shrink_last_sigma"):
            if not 0.0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: expected a number of voxels above 0")
        for name in ("seed", "held_out_seed", "twin_iteration"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: expected 0 or more")
        if not 0.0 <= self.held_out < 0.5:
            raise ValueError(f"held_out is {self.held_out}: expected a share from 0 to below 0.5")
        for name, known in (("coherence", get_args(Coherence)), ("device", get_args(Device))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}: expected one of {', '.join(known)}")

    def hidden(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which voxels of a mask [z, y, x] are held out, bool of the same shape."""
        return hold_out(mask, self.held_out, self.seed if self.held_out_seed is None else self.held_out_seed)


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


def phase_retrieval(
    counts: NDArray[np.float32],
    mask: NDArray[np.bool_],
    config: PhasingConfig | None = None,
    *,
    scale: NDArray[np.float32] | None = None,
    background: NDArray[np.float32] | None = None,
    start: NDArray[np.complex64] | None = None,
    filled: Filled | None = None,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Phased:
    """Invert a volume of counts.

    `counts` float32 and `mask` bool (True: good) [z, y, x]. `scale` float32 [z] (monitor times transmission of each
    frame) or anything that broadcasts against the counts (flat field too), `background` likewise, counts. `start`
    complex64 [z, y, x] of any shape: an object on the same detector pixels (a coarser or finer voxel) from which every
    start sets out, or several [n, z, y, x], of which each is a start. `filled` is a guess at what the mask hides, used
    as far as its standard deviation allows; without it those voxels are free. Figures of merit are those of the voxels
    that were seen. `progress` receives a share 0..1; `cancelled` is asked between iterations, True raises
    PhasingCancelled. Raises ValueError in one line where there is nothing to invert or the configuration is impossible.
    Not for streaming.
    """
    config = config or PhasingConfig()
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but PyTorch finds no CUDA device here: take cpu")
    measured = _validated(counts, mask, config, scale, background, filled)
    if start is not None:
        _require_object(start)
        config = replace(config, starts=len(start)) if start.ndim == 4 else config
    return _Run(measured, config, Watch(progress, cancelled)).result(start)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """Validated input, array order."""

    counts: NDArray[np.float32]
    mask: NDArray[np.bool_]
    scale: NDArray[np.float32]
    background: NDArray[np.float32]
    held_out: NDArray[np.bool_]
    filled: Filled | None


class _Run:
    """One call of `phase_retrieval`: its stages in turn."""

    def __init__(self, measured: _Measured, config: PhasingConfig, watch: Watch) -> None:
        self.measured = measured
        self.config = config
        self.watch = watch
        self.full = full_level(measured.counts.shape)
        self.pattern = measured_pattern(
            measured.counts,
            measured.mask,
            measured.held_out,
            scale=measured.scale,
            background=measured.background,
            device=config.device,
            filled=measured.filled,
        )
        self.extent = extent(self.pattern)
        self.kernel = None if config.coherence == "full" else Kernel(config.coherence, self.pattern)

    def result(self, start: NDArray[np.complex64] | None) -> Phased:
        stages = self._stages(start)
        finish = self._stage(AUTO_FINISH, self.full, keep=1, threshold=self.config.shrink_threshold)
        self.watch.expect([*stages, finish], self.config.starts)
        outcome = self._first(stages[0], start)
        numbers, figures = outcome.order, list(outcome.figures)
        for before, stage in pairwise(stages):
            objects = to_level(outcome.objects, before.level, stage.level)
            outcome = self._run(stage, self._view(stage.level), objects, self._wrapped(objects, stage))
            for number, figure in zip(numbers, outcome.figures, strict=True):
                figures[number] = figure
            numbers = tuple(numbers[index] for index in outcome.order)
        return self._selected(outcome, numbers, tuple(figures), [*stages, finish])

    def _stages(self, start: NDArray[np.complex64] | None) -> list[Stage]:
        keep = min(self.config.keep, self.config.starts)
        if self.config.recipe != "auto":
            own = parse_recipe(self.config.recipe)
            return [self._stage(own, self.full, keep=keep, threshold=self.config.shrink_threshold)]
        tight = self.config.search_threshold
        if start is not None and not self.config.search_from_start:
            return [self._stage(AUTO_REFINE, self.full, keep=keep, threshold=tight)]
        levels = coarse_to_fine(self.full.shape, self.extent)
        search = AUTO_SEARCH if start is None else AUTO_SEARCH_BEGUN
        stages = [self._stage(search, levels[0], keep=keep, threshold=tight)]
        stages += [self._stage(AUTO_MIDDLE, level, keep=keep, threshold=tight) for level in levels[1:-1]]
        return [*stages, self._stage(AUTO_REFINE, self.full, keep=keep, threshold=tight)]

    def _stage(self, schedule: tuple[str, ...], level: Level, *, keep: int, threshold: float) -> Stage:
        config = self.config
        searching = "HIO" in schedule or "RAAR" in schedule
        wrap = ShrinkWrap(
            first_sigma=config.shrink_first_sigma if searching else config.shrink_last_sigma,
            last_sigma=config.shrink_last_sigma,
            threshold=threshold,
            period=config.shrink_period,
        )
        return Stage(schedule=schedule, wrap=wrap, beta=config.beta, level=level, keep=keep)

    def _first(self, stage: Stage, start: NDArray[np.complex64] | None) -> Outcome:
        pattern, count = self._view(stage.level), self.config.starts
        if start is None:
            support = initial_support(pattern).expand(count, *pattern.shape)
            objects = random_starts(pattern, support, tuple((self.config.seed, number) for number in range(count)))
            once = replace(stage, twin_iteration=self.config.twin_iteration)
            return self._run(once, pattern, objects, support)
        unit = (start / np.abs(start).max()).astype(np.complex64)  # its own unit may not fit into float32
        given = resample(to_tensor(unit, self.config.device), self.full.shape)
        given = to_level(given if given.ndim == 4 else given[None], self.full, stage.level)
        if start.ndim == 4:
            return self._run(stage, pattern, scaled(given, pattern), self._begun(given, stage))
        seeds = tuple((self.config.seed, number) for number in range(count))
        support = self._begun(given, stage).expand(count, *pattern.shape)
        noise = random_starts(pattern, support, seeds)
        objects = scaled(given, pattern) + START_NOISE * noise
        return self._run(stage, pattern, objects, support)

    def _run(self, stage: Stage, pattern: Pattern, objects: Tensor, support: Tensor) -> Outcome:
        kernel = self.kernel if stage.level == self.full else None
        return run_stage(pattern, kernel, objects, support, stage, self.watch)

    def _view(self, level: Level) -> Pattern:
        if level == self.full:
            return self.pattern
        transfer = None if self.kernel is None else self.kernel.transfer
        reach = tuple(edge + REACH_MARGIN_VOXELS for edge in self.extent)
        return coarse_pattern(self.pattern, level, transfer, reach)

    def _begun(self, given: Tensor, stage: Stage) -> Tensor:
        """The support that given objects begin with: a loose one where they are searched, not polished."""
        if not self.config.search_from_start:
            return self._wrapped(given, stage)
        loose = replace(stage.wrap, last_sigma=stage.wrap.first_sigma, threshold=LOOSE_THRESHOLD)
        return self._wrapped(given, replace(stage, wrap=loose))

    def _wrapped(self, objects: Tensor, stage: Stage) -> Tensor:
        transfer = gaussian_transfer(tuple(objects.shape[-3:]), stage.wrap.last_sigma, objects.device)
        return shrink_wrap(objects, transfer, stage.wrap.threshold)

    def _selected(
        self, outcome: Outcome, numbers: tuple[int, ...], starts: tuple[FigureSet, ...], stages: list[Stage]
    ) -> Phased:
        objects = to_numpy(outcome.objects)
        aligned = np.stack([objects[0]] + [align(one, objects[0]).object_ for one in objects[1:]])
        mode, mode_weights = mode_decomposition(aligned)
        if self.kernel is not None:
            self.kernel.refine(coherent_intensity(outcome.objects[:1])[0])
        begin = to_tensor(mode, self.config.device)[None]
        last = self._run(stages[-1], self.pattern, begin, self._wrapped(begin, stages[-1]))
        measured = self.measured
        edges = np.linspace(0.0, 0.5, PRTF_SHELLS + 1)
        radius = quality.index_radius(measured.counts.shape)
        kernel = self.kernel
        return Phased(
            object_=to_numpy(last.objects[0]),
            support=to_numpy(last.support[0]),
            figures=last.figures[0],
            starts=starts,
            selected=numbers,
            kept=aligned,
            mode_weights=mode_weights,
            prtf=quality.prtf(
                aligned, measured.counts, measured.mask, radius, edges, measured.scale, measured.background
            ),
            prtf_q=(0.5 * (edges[1:] + edges[:-1])).astype(np.float32),
            held_out=measured.held_out,
            recipe="; ".join(format_recipe(stage.schedule) for stage in stages),
            coherence_widths_voxels=None if kernel is None else tuple(float(width) for width in kernel.widths),
            coherence_mixing=None if kernel is None else float(kernel.mixing),
        )


def _validated(
    counts: NDArray[np.float32],
    mask: NDArray[np.bool_],
    config: PhasingConfig,
    scale: NDArray[np.float32] | None,
    background: NDArray[np.float32] | None,
    filled: Filled | None,
) -> _Measured:
    if counts.ndim != 3 or min(counts.shape) < 2:
        raise ValueError(f"counts must be a volume [z, y, x] of at least 2 voxels an axis, got shape {counts.shape}")
    if mask.shape != counts.shape:
        raise ValueError(f"mask has shape {mask.shape}, counts {counts.shape}: expected the same")
    good = mask.astype(bool) & np.isfinite(counts)
    if not good.any():
        raise ValueError("all voxels are masked: nothing to invert")
    if not np.any(counts[good] > 0):
        raise ValueError("zero counts in all good voxels: nothing to invert")
    if np.any(counts[good] < 0):
        raise ValueError("negative counts: give counts as measured, without subtraction")
    light = light_of(counts.shape, scale, background)
    factor, dark = (np.broadcast_to(part, counts.shape) for part in light)
    if filled is not None:
        _require_filled(filled, counts.shape)
    held_out = config.hidden(good)
    if not np.any((counts > dark) & good & ~held_out):
        raise ValueError("no counts above the background in the voxels that are fitted: nothing to invert")
    return _Measured(
        counts=np.where(good, counts, 0.0).astype(np.float32),
        mask=good,
        scale=factor,
        background=dark,
        held_out=held_out,
        filled=filled,
    )


def _require_filled(filled: Filled, shape: tuple[int, ...]) -> None:
    for name, values in (("counts", filled.counts), ("std", filled.std)):
        if values.shape != shape or not np.all((values >= 0) & np.isfinite(values)):
            raise ValueError(f"filled {name} of shape {values.shape}: expected {shape}, finite and not negative")


def _require_object(start: NDArray[np.complex64]) -> None:
    if start.ndim not in (3, 4) or not np.all(np.isfinite(start)) or not np.all(np.any(start, axis=(-3, -2, -1))):
        raise ValueError(
            f"start of shape {start.shape}: expected a finite object [z, y, x] that is not zero everywhere"
        )
