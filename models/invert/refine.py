"""Phase retrieval that begins with a crystal that a network or its latents told, for as long as it pays.

Such a crystal has about the right size and shape, but often something of both hands. So it is one of several starts of
a search: as it is, with other phases, and as a support alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.bcdi.phasing import Phased, PhasingConfig, phase_retrieval
from models.bcdi.search import rank
from models.bcdi.wound import wound
from models.invert.latent import SUPPORT

# A round that lowers the free log-likelihood by less than that share of it was the last.
LEAST_GAIN = 0.02
MOST_ROUNDS = 20
# Phases of one of the beginnings are off by so much, rad (standard deviation).
OTHER_PHASES = 1.0

Clock = Callable[[], float]  # seconds
Reason = Literal["settled", "time", "rounds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refined:
    """The best round of a refinement as `phased`, the free log-likelihood after each round, and why there were no
    more: they brought nothing, the time was up, or there were MOST_ROUNDS.
    """

    phased: Phased
    curve: tuple[float, ...]
    reason: Reason


def refine(
    counts: NDArray[np.float32],
    mask: NDArray[np.bool_],
    start: NDArray[np.complex64],
    config: PhasingConfig | None = None,
    *,
    lines: NDArray[np.float64] | None = None,
    budget_s: float = math.inf,
    scale: NDArray[np.float32] | None = None,
    background: NDArray[np.float32] | None = None,
    cancelled: Callable[[], bool] | None = None,
    clock: Clock = time.monotonic,
) -> Refined:
    """Refine an object against counts, in rounds of few iterations, until the free log-likelihood stops falling.

    `counts`, `mask`, `scale`, `background` and errors as of `bcdi.phasing.phase_retrieval`; `start` complex64 [z, y, x]
    on the same detector pixels, from which the first round searches, or several [n, z, y, x], which are polished and of
    which the best goes on; `config`'s number of starts is not looked at, its `held_out` must not be 0. With `lines`,
    see `bcdi.wound.likely_lines`, the first round of one object also searches from its shape with a phase that winds
    about each of them. A round begins only where one like the longest before ends within `budget_s` seconds; the first
    always runs, with all of its searches. Not for streaming.
    """
    config = config or PhasingConfig()
    if config.held_out == 0.0:
        raise ValueError("held_out is 0: nothing would tell when to stop")
    invert = partial(phase_retrieval, counts, mask, scale=scale, background=background, cancelled=cancelled)
    search = start.ndim == 3
    objects = beginnings(start, config.seed) if search else start
    began_s = clock()
    best: Phased | None = None
    curve: list[float] = []
    longest_s = 0.0
    while True:
        round_s = clock()
        how = replace(config, keep=1, search_from_start=search and not curve)
        found = invert(how, start=objects)
        longest_s = max(longest_s, clock() - round_s)
        if how.search_from_start and lines is not None:
            found = min(found, invert(how, start=wound(np.abs(start), lines)), key=lambda one: rank(one.figures))
        curve.append(rank(found.figures))
        settled = best is not None and not curve[-1] < (1.0 - LEAST_GAIN) * rank(best.figures)
        if best is None or curve[-1] < rank(best.figures):
            best = found
        if settled:
            return Refined(phased=best, curve=tuple(curve), reason="settled")
        if len(curve) == MOST_ROUNDS:
            return Refined(phased=best, curve=tuple(curve), reason="rounds")
        if clock() - began_s + longest_s > budget_s:
            return Refined(phased=best, curve=tuple(curve), reason="time")
        objects = found.object_[None]


def beginnings(start: NDArray[np.complex64], seed: int) -> NDArray[np.complex64]:
    """Return what a search begins with, complex64 [4, z, y, x]: `start`, the same with its phases off by OTHER_PHASES,
    and two of random phases and amplitudes where it is.
    """
    random = np.random.default_rng(seed)
    turned = start * np.exp(1j * OTHER_PHASES * random.standard_normal(start.shape))
    inside = np.abs(start) > SUPPORT * np.abs(start).max()
    noise = random.standard_normal((2, 2, *start.shape)) * inside
    return np.stack([start, turned, *(noise[:, 0] + 1j * noise[:, 1])]).astype(np.complex64)
