"""A real scan: each tier beside cohere's recipe, judged by one function under full coherence."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.bcdi_scan import Cube, box_around_peak
from benchmarks.invert.quality import ADAPTIVE_STEPS, Object
from benchmarks.phasing import HELD_OUT_SEED, cohere_run, without_kernel
from models.autoencoder.space import told_by
from models.bcdi.modes import correlation
from models.bcdi.pattern import Pattern, hold_out, measured_pattern
from models.bcdi.phasing import PhasingConfig
from models.invert.adapt import adapted
from models.invert.predict import invert
from models.invert.refine import refine

SIZE = 64


class Run(NamedTuple):
    """One run of a row; `like_peer` is its correlation with cohere's best object, twin, shift and ramp removed."""

    chi: float
    r_factor: float
    free: float
    support: int
    seconds: float
    like_peer: float


class _Found(NamedTuple):
    object_: Object
    support: NDArray[np.bool_]
    seconds: float


def runs(scan: Path, python: str, seeds: int) -> dict[str, list[Run]]:
    """Return the runs of each row; `python` is an interpreter that has cohere-core."""
    cube = box_around_peak(scan, SIZE)
    held_out = hold_out(cube.mask, PhasingConfig().held_out, HELD_OUT_SEED)
    pattern = measured_pattern(
        cube.counts, cube.mask, held_out, scale=cube.scale, background=cube.background, device="cpu"
    )
    rows: dict[str, list[_Found]] = {"cohere": [_Found(*cohere_run(cube, seed, python)) for seed in range(seeds)]}
    for seed in range(seeds):
        for name, found in _tiers(cube, seed):
            rows.setdefault(name, []).append(found)
    best = min(rows["cohere"], key=lambda found: without_kernel(pattern, found.object_).chi).object_
    return {name: [_run(pattern, one, best) for one in some] for name, some in rows.items()}


def _tiers(cube: Cube, seed: int) -> Iterator[tuple[str, _Found]]:
    """Each tier of ours; the network and its adapted latents depend on no seed. Seconds from the counts on."""
    began_s = time.perf_counter()
    intensity = np.square(cube.amplitude)
    told = invert(intensity, cube.mask)
    told_s = time.perf_counter() - began_s
    if not seed:
        yield "direct", _Found(told.object_, told.support, told_s)
        nearer = adapted(*told_by("surface", told), intensity, cube.mask, ADAPTIVE_STEPS)
        yield f"adaptive, {ADAPTIVE_STEPS} steps", _Found(nearer, np.abs(nearer) > 0, time.perf_counter() - began_s)
    for budget_s in (0.0, np.inf):
        began_s = time.perf_counter()
        config = PhasingConfig(coherence="full", seed=seed, held_out_seed=HELD_OUT_SEED)
        light = {"scale": cube.scale, "background": cube.background}
        found = refine(cube.counts, cube.mask, told.object_, config, budget_s=budget_s, **light).phased
        name = "refined" if budget_s else "refined, one round"
        yield name, _Found(found.object_, found.support, told_s + time.perf_counter() - began_s)
    began_s = time.perf_counter()
    searched = cube.inverted(seed=seed, held_out_seed=HELD_OUT_SEED, coherence="full")
    yield "search, 20 starts", _Found(searched.object_, searched.support, time.perf_counter() - began_s)


def _run(pattern: Pattern, found: _Found, best: Object) -> Run:
    figures = without_kernel(pattern, found.object_)
    like = correlation(best, found.object_)
    support = int(np.count_nonzero(found.support))
    return Run(figures.chi, figures.r_factor, figures.free_log_likelihood, support, found.seconds, like)
