"""How long repair takes, beside the rest of the pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.restore.gaps import gap
from models.bcdi.phasing import PhasingConfig, phase_retrieval
from models.denoise.predict import denoise
from models.engine.port import Engine
from models.inpaint.predict import inpaint
from tests.helpers.patterns import bright, poisson, strained_crystal, transform

RUNS = 3
PEAK = 1e6
WIDTH = 6
# Frames as they are live: rows and columns of a small and of a large detector.
FRAMES = ((256, 256), (2070, 2167))


class Taken(NamedTuple):
    """Seconds of each: inpainting with and without its guide, denoising, and phase retrieval with the settings of the
    pipeline; NaN where there is none.
    """

    guided: float
    fast: float
    denoising: float
    inverting: float


def figures(engine: Engine) -> dict[str, Taken]:
    """Return the seconds of each pattern, all with a cross of WIDTH."""
    found = {}
    for edge in (64, 128):
        counts = poisson(np.abs(transform(bright(strained_crystal(edge), PEAK))) ** 2)
        mask = _cross(counts.shape)
        guided, fast = (_seconds(partial(inpaint, counts, mask, engine=engine, guided=wish)) for wish in (True, False))
        denoising = _seconds(partial(denoise, counts, mask))
        inverting = _seconds(partial(phase_retrieval, counts * mask, mask, PhasingConfig()))
        found[f"{edge}^3"] = Taken(guided, fast, denoising, inverting)
    for shape in FRAMES:
        frame = np.random.default_rng(0).poisson(20.0, shape).astype(np.float32)
        fast = _seconds(partial(inpaint, frame, _cross(shape), engine=engine, guided=False))
        denoising = _seconds(partial(denoise, frame, _cross(shape)))
        found[f"frame {shape[0]}x{shape[1]}"] = Taken(float("nan"), fast, denoising, float("nan"))
    return found


def _cross(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    whole = (1, *shape)[-3:]
    middle = tuple(np.intp(n // 2 + 4) for n in whole)
    return gap(whole, middle, WIDTH, "cross", np.random.default_rng(0)).reshape(shape)


def _seconds(work: Callable[[], object]) -> float:
    """Median of some runs, after one that counts for nothing."""
    taken = []
    for _ in range(RUNS + 1):
        began_s = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began_s)
    return float(np.median(taken[1:]))
