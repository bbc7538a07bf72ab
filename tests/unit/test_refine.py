"""Refinement of a crystal: it gains, it stops when nothing is gained, and it keeps to its time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from models.bcdi.modes import correlation
from models.bcdi.phasing import PhasingConfig
from models.invert.refine import MOST_ROUNDS, refine
from tests.helpers.patterns import bright, poisson, strained_crystal, transform

EDGE = 40
TRUTH = bright(strained_crystal(EDGE), 1e5)
COUNTS = poisson(np.abs(transform(TRUTH)) ** 2)
SEEN = np.ones_like(COUNTS, dtype=bool)
CONFIG = PhasingConfig(coherence="full")


def guess(off: float, seed: int = 0) -> np.ndarray:
    """The crystal without its phase, and its amplitude off."""
    rng = np.random.default_rng(seed)
    return (np.abs(TRUTH) * np.exp(off * rng.normal(size=TRUTH.shape))).astype(np.complex64)


def test_a_crystal_without_phase_is_refined_until_nothing_is_gained() -> None:
    found = refine(COUNTS, SEEN, guess(0.3), CONFIG)
    assert found.reason == "settled"
    assert 2 <= len(found.curve) < MOST_ROUNDS
    assert found.phased.figures.free_log_likelihood == min(found.curve) < 1.3  # 1 for noise alone
    assert correlation(found.phased.object_, TRUTH) > 0.97


def test_of_several_starts_the_best_goes_on() -> None:
    wrong = np.random.default_rng(1).normal(size=TRUTH.shape).astype(np.complex64)
    found = refine(COUNTS, SEEN, np.stack([wrong, guess(0.3)]), CONFIG)
    assert correlation(found.phased.object_, TRUTH) > 0.97


def test_the_time_is_kept() -> None:
    ticks = itertools.count(0.0, 1.0)
    found = refine(COUNTS, SEEN, guess(0.3), CONFIG, budget_s=0.5, clock=lambda: next(ticks))
    assert found.reason == "time"
    assert len(found.curve) == 1


def test_what_cannot_be_refined_is_refused() -> None:
    with pytest.raises(ValueError, match="held_out is 0"):
        refine(COUNTS, SEEN, guess(0.3), PhasingConfig(held_out=0.0))
    with pytest.raises(ValueError, match="not zero everywhere"):
        refine(COUNTS, SEEN, np.zeros_like(TRUTH), CONFIG)
