"""Phase retrieval both ways: from random starts, and from the crystal of one density."""

from __future__ import annotations

import numpy as np
import pytest

from models.bcdi.modes import correlation
from models.bcdi.one_density import phase_retrieval_both_ways
from models.bcdi.phasing import Phased, PhasingConfig, phase_retrieval
from models.bcdi.search import PhasingCancelled, rank
from tests.helpers.patterns import bright, poisson, strained_crystal, transform

EDGE, WIDTH = 48, 6
CONFIG = PhasingConfig(starts=4, keep=2, coherence="full")
TRUTH = bright(strained_crystal(EDGE), 1e5)


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    seen = np.ones((EDGE, EDGE, EDGE), bool)
    seen[:, :, EDGE // 2 - 1 : EDGE // 2 - 1 + WIDTH] = False  # the peak is among what is hidden
    return seen


@pytest.fixture(scope="module")
def counts(mask: np.ndarray) -> np.ndarray:
    return poisson(np.abs(transform(TRUTH)) ** 2) * mask


@pytest.fixture(scope="module")
def free(counts: np.ndarray, mask: np.ndarray) -> Phased:
    return phase_retrieval(counts, mask, CONFIG)


def test_the_crystal_behind_a_gap_is_found_that_random_starts_miss(
    counts: np.ndarray, mask: np.ndarray, free: Phased
) -> None:
    told: list[float] = []
    found = phase_retrieval_both_ways(counts, mask, CONFIG, progress=told.append)
    assert rank(found.figures) <= rank(free.figures)
    assert correlation(found.object_, TRUTH) > 0.98
    assert correlation(found.object_, TRUTH) >= correlation(free.object_, TRUTH)
    np.testing.assert_array_equal(found.held_out, free.held_out)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)


def test_light_and_a_larger_volume_are_met(counts: np.ndarray, mask: np.ndarray) -> None:
    """Frames of half the light, a background, and more rows than the cube in which crystals are sought."""
    scale = np.where(np.arange(EDGE) % 2, 0.5, 1.0).astype(np.float32)
    wide = ((0, 0), (12, 12), (0, 0))
    pattern = np.pad(np.abs(transform(TRUTH)) ** 2, wide)
    seen = np.pad(mask, wide, constant_values=False)
    measured = poisson(pattern * scale[:, None, None] + 0.5).astype(np.float32) * seen
    found = phase_retrieval_both_ways(
        measured, seen, CONFIG, scale=scale, background=np.full((1, 1, 1), 0.5, np.float32)
    )
    assert found.object_.shape == measured.shape
    assert np.isfinite(found.figures.free_log_likelihood)


def test_too_few_frames_for_a_crystal_leave_the_random_starts() -> None:
    few = poisson(np.abs(transform(TRUTH)) ** 2)[18:30]
    everything = np.ones(few.shape, bool)
    found, free = (invert(few, everything, CONFIG) for invert in (phase_retrieval_both_ways, phase_retrieval))
    np.testing.assert_array_equal(found.object_, free.object_)


def test_it_is_cancelled_and_refuses_as_phase_retrieval_does(counts: np.ndarray, mask: np.ndarray) -> None:
    with pytest.raises(PhasingCancelled):
        phase_retrieval_both_ways(counts, mask, CONFIG, cancelled=lambda: True)
    with pytest.raises(ValueError, match="all voxels are masked"):
        phase_retrieval_both_ways(counts, np.zeros_like(mask), CONFIG)
