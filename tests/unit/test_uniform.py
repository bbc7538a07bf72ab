"""Phase retrieval of crystals of one density: what a gap hides is found, and nothing is asked of what is no crystal."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from models.bcdi.coherence import SIGMA_PER_FWHM
from models.bcdi.phasing import PhasingConfig, phase_retrieval
from models.bcdi.uniform import FOUND, OBJECTS, framed_crystal, uniform_crystals
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


def likeness(told: np.ndarray, expected: np.ndarray, where: np.ndarray) -> float:
    return float(np.corrcoef(np.log1p(told[where]), np.log1p(expected[where]))[0, 1])


def test_what_lies_behind_a_gap_at_the_peak_is_found(expected: np.ndarray, mask: np.ndarray) -> None:
    counts = poisson(expected) * mask
    objects, intensity = uniform_crystals(counts, mask)
    assert (objects.dtype, intensity.dtype) == (np.complex64, np.float32)
    assert objects.shape == intensity.shape == (OBJECTS, *counts.shape)
    assert likeness(np.abs(transform(objects[0])) ** 2, expected, ~mask) > 0.98
    assert likeness(intensity[0], expected, ~mask) > 0.98
    config = PhasingConfig(starts=16, keep=4, coherence="full", held_out=0.0)
    free = phase_retrieval(counts, mask, config).object_
    assert likeness(intensity[0], expected, ~mask) > likeness(np.abs(transform(free)) ** 2, expected, ~mask)


def test_fringes_that_the_beam_washes_out_are_not_taken_for_the_crystals(
    expected: np.ndarray, mask: np.ndarray
) -> None:
    blurred = gaussian_filter(expected, 0.8 * SIGMA_PER_FWHM)
    objects, intensity = uniform_crystals(poisson(blurred) * mask, mask)
    assert likeness(intensity[0], blurred, ~mask) > 0.98
    sharp = np.abs(transform(objects[0])) ** 2
    assert likeness(intensity[0], blurred, ~mask) > likeness(sharp, blurred, ~mask)


def test_the_crystal_is_told_from_others_once_frames_have_doses(expected: np.ndarray, mask: np.ndarray) -> None:
    dose = np.exp(0.05 * np.random.default_rng(1).normal(size=(EDGE, 1, 1)))
    counts = poisson(10.0 * expected * dose) * mask
    crystal = bright(strained_crystal(EDGE), 1e6)
    found = framed_crystal(counts, mask, crystal)
    assert found.found
    assert likeness(found.intensity, 10.0 * expected * dose, ~mask) > 0.99
    other = framed_crystal(counts, mask, bright(strained_crystal(EDGE, seed=5), 1e6))
    assert not other.found
    assert other.unexplained > 3.0 * FOUND > found.unexplained
    dark = framed_crystal(poisson(1e-4 * expected) * mask, mask, crystal)
    assert not dark.found
    assert np.isinf(dark.unexplained)


def test_the_same_seed_finds_the_same(expected: np.ndarray, mask: np.ndarray) -> None:
    counts = poisson(expected)[8:40, 8:40, 8:40]
    first, again = (uniform_crystals(counts, mask[8:40, 8:40, 8:40], seed=3) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shape", [(16, 17, 30), (21, 16, 16)])
def test_noise_of_any_size_gives_some_object(shape: tuple[int, ...]) -> None:
    counts = np.random.default_rng(0).poisson(0.1, shape).astype(np.float32)
    for found in uniform_crystals(counts, np.ones(shape, bool)):
        assert found.shape == (OBJECTS, *shape)
        assert np.isfinite(found).all()


def test_nothing_counted_is_told_in_one_line() -> None:
    with pytest.raises(ValueError, match="zero counts in all good voxels"):
        uniform_crystals(np.zeros((16, 16, 16), np.float32), np.ones((16, 16, 16), bool))
