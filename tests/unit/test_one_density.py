"""Phase retrieval both ways: from random starts, and from the crystal of one density."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.restore.gaps import simulated
from models.bcdi import one_density
from models.bcdi.modes import correlation
from models.bcdi.one_density import phase_retrieval_both_ways
from models.bcdi.phasing import PhasingConfig, phase_retrieval
from models.bcdi.search import PhasingCancelled, rank
from models.bcdi.uniform import OBJECTS, uniform_crystals
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


def test_a_crystal_behind_a_gap_is_found_that_random_starts_miss() -> None:
    *_, case = simulated(1e6, 2, 6, "cross")
    config = PhasingConfig(starts=5, keep=3)
    free = phase_retrieval(case.counts, case.mask, config)
    told: list[float] = []
    found = phase_retrieval_both_ways(case.counts, case.mask, config, progress=told.append)
    assert case.object_ is not None
    assert correlation(free.object_, case.object_) < 0.9
    assert correlation(found.object_, case.object_) > 0.98
    assert rank(found.figures) < 0.2 * rank(free.figures)
    np.testing.assert_array_equal(found.held_out, free.held_out)
    assert found.kept.shape[0] == OBJECTS
    assert found.mode_weights[0] > 0.95
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)


def test_random_starts_stay_where_they_are_better(mask: np.ndarray) -> None:
    hidden = np.ones_like(mask)
    hidden[:, :, EDGE // 2 - 3 : EDGE // 2 + 3] = hidden[:, EDGE // 2 - 3 : EDGE // 2 + 3] = False  # all of the peak
    measured = poisson(np.abs(transform(TRUTH)) ** 2) * hidden
    found, free = (invert(measured, hidden, CONFIG) for invert in (phase_retrieval_both_ways, phase_retrieval))
    np.testing.assert_array_equal(found.object_, free.object_)


def test_crystals_are_sought_in_the_middle_and_in_even_light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of half the light, a background, and more rows than the cube in which crystals are sought."""
    scale = np.where(np.arange(EDGE) % 2, 0.5, 1.0).astype(np.float32)[:, None, None]
    pattern = np.pad(np.abs(transform(TRUTH)) ** 2, ((0, 0), (20, 21), (0, 0)))
    measured = (pattern * scale + 0.5).astype(np.float32)
    shown: list[np.ndarray] = []

    def seek(counts: np.ndarray, *given: object) -> object:
        shown.append(counts)
        return uniform_crystals(counts, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(one_density, "uniform_crystals", seek)
    everything = np.ones(measured.shape, bool)
    dark = np.full((1, 1, 1), 0.5, np.float32)
    found = phase_retrieval_both_ways(measured, everything, CONFIG, scale=scale, background=dark)
    assert found.object_.shape == measured.shape
    (cube,) = shown
    assert cube.shape == (EDGE, 64, EDGE)
    bright_voxels = (pattern[:, 12:76] > 100.0) & (cube > 0)
    ratio = cube[bright_voxels] / pattern[:, 12:76][bright_voxels]
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=0.02)


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
    with pytest.raises(ValueError, match="held_out is 0: nothing would decide"):
        phase_retrieval_both_ways(counts, mask, replace(CONFIG, held_out=0.0))
