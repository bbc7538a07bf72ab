"""Phase retrieval of crystals of one density: what a gap hides is found, and nothing is asked of what is no crystal."""

from __future__ import annotations

import numpy as np
import pytest

from models.bcdi.phasing import PhasingConfig, phase_retrieval
from models.bcdi.uniform import OBJECTS, uniform_objects
from tests.helpers.patterns import bright, poisson, strained_crystal, transform

EDGE, WIDTH = 48, 6


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    """Counts without noise, 1e5 at the peak."""
    return np.abs(transform(bright(strained_crystal(EDGE), 1e5))) ** 2


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    seen = np.ones((EDGE, EDGE, EDGE), bool)
    seen[:, :, EDGE // 2 - 1 : EDGE // 2 - 1 + WIDTH] = False  # the peak is among what is hidden
    return seen


def likeness(object_: np.ndarray, expected: np.ndarray, where: np.ndarray) -> float:
    told = np.abs(transform(object_)) ** 2
    return float(np.corrcoef(np.log1p(told[where]), np.log1p(expected[where]))[0, 1])


def test_what_lies_behind_a_gap_at_the_peak_is_found(expected: np.ndarray, mask: np.ndarray) -> None:
    counts = poisson(expected) * mask
    objects = uniform_objects(counts, mask)
    assert objects.dtype == np.complex64
    assert objects.shape == (OBJECTS, *counts.shape)
    found = objects[0]
    assert likeness(found, expected, ~mask) > 0.98
    config = PhasingConfig(starts=16, keep=4, coherence="full", held_out=0.0)
    free = phase_retrieval(counts, mask, config).object_
    assert likeness(found, expected, ~mask) > likeness(free, expected, ~mask)


def test_the_same_seed_finds_the_same(expected: np.ndarray, mask: np.ndarray) -> None:
    counts = poisson(expected)[8:40, 8:40, 8:40]
    first, again = (uniform_objects(counts, mask[8:40, 8:40, 8:40], seed=3) for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("shape", [(16, 17, 30), (21, 16, 16)])
def test_noise_of_any_size_gives_some_object(shape: tuple[int, ...]) -> None:
    counts = np.random.default_rng(0).poisson(0.1, shape).astype(np.float32)
    found = uniform_objects(counts, np.ones(shape, bool))
    assert found.shape == (OBJECTS, *shape)
    assert np.isfinite(found).all()


def test_nothing_counted_is_told_in_one_line() -> None:
    with pytest.raises(ValueError, match="zero counts in all good voxels"):
        uniform_objects(np.zeros((16, 16, 16), np.float32), np.ones((16, 16, 16), bool))
