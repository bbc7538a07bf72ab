"""Supports against direct correlation and SciPy's filters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage, signal

from models.bcdi.pattern import gaussian_transfer
from models.bcdi.support import autocorrelation, extent, initial_support, shrink_wrap
from tests.helpers.patterns import centred, corner, pattern_of, strained_crystal, transform

SHAPE = (32, 36, 40)
BOX = (9, 11, 13)


def box() -> np.ndarray:
    object_ = np.zeros(SHAPE, dtype=np.complex64)
    object_[tuple(slice(n // 2 - m // 2, n // 2 + m // 2 + 1) for n, m in zip(SHAPE, BOX, strict=True))] = 1.0
    return object_


def pattern(object_: np.ndarray):
    return pattern_of(np.abs(transform(object_)) ** 2)


def test_autocorrelation_is_the_correlation_of_the_object_with_itself() -> None:
    object_ = strained_crystal(16)
    direct = np.abs(signal.correlate(object_, object_, mode="same", method="direct"))
    np.testing.assert_allclose(centred(autocorrelation(pattern(object_))), direct / direct.max(), atol=1e-4)


def test_first_support_covers_a_centrosymmetric_object_and_little_more() -> None:
    support = centred(initial_support(pattern(box())))
    inside = box() != 0
    assert support[inside].mean() > 0.8  # corners are few differences, so faint in the autocorrelation
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        assert (support.any(axis=others) >= inside.any(axis=others)).all()
    spans = np.ptp(np.argwhere(support), axis=0) + 1
    assert (spans <= 1.5 * np.array(BOX)).all()


@pytest.mark.parametrize("seed", range(3))
def test_first_support_holds_nearly_all_of_a_crystal(seed: int) -> None:
    object_ = strained_crystal(32, seed)
    support = centred(initial_support(pattern(object_)))
    density = np.abs(object_) ** 2
    assert density[support].sum() > 0.9 * density.sum()
    assert support.sum() < 4 * (density > 0.25).sum()


def test_first_support_of_an_object_that_fills_the_array_stays_in_it() -> None:
    support = initial_support(pattern_of(np.pad(np.ones((1, 1, 1)), [(4, 3)] * 3)))
    assert support.shape == (8, 8, 8)
    assert support.any()


def test_extent_is_the_box_around_the_object() -> None:
    assert extent(pattern(box())) == BOX


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_shrink_wrap_is_a_gaussian_filter_and_a_threshold(sigma: float) -> None:
    rng = np.random.default_rng(0)
    objects = np.stack([strained_crystal(24, seed) for seed in (1, 2)]) * np.array([1.0, 5.0])[:, None, None, None]
    objects = (objects + 0.1 * rng.normal(size=objects.shape)).astype(np.complex64)
    threshold = 0.15
    found = centred(
        shrink_wrap(corner(objects), gaussian_transfer((24, 24, 24), sigma, torch.device("cpu")), threshold)
    )
    for object_, support in zip(objects, found, strict=True):
        blurred = ndimage.gaussian_filter(np.abs(object_).astype(float), sigma, mode="wrap", truncate=8.0)
        share = blurred / blurred.max()
        clear = np.abs(share - threshold) > 0.01  # the sampled Gaussian and the transformed one differ a little
        np.testing.assert_array_equal(support[clear], (share >= threshold)[clear])
        assert clear.mean() > 0.9


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_dead_object_has_an_empty_support_and_leaves_its_neighbour_alone(value: float) -> None:
    alive = corner(strained_crystal(16)[None])
    transfer = gaussian_transfer((16, 16, 16), 1.0, torch.device("cpu"))
    found = shrink_wrap(torch.cat([torch.full_like(alive, value), alive]), transfer, 0.1)
    assert not found[0].any()
    torch.testing.assert_close(found[1:], shrink_wrap(alive, transfer, 0.1))
