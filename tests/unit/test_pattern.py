"""The measured pattern: order, amplitudes, held-out voxels and coarser views, against NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from models.bcdi.levels import full_level
from models.bcdi.pattern import (
    CENTRE_SHARE,
    Level,
    coarse_pattern,
    gaussian_transfer,
    hold_out,
    measured_pattern,
    resample,
    resize,
    to_level,
)
from tests.helpers.patterns import (
    blurred,
    bright,
    centred,
    corner,
    gaps,
    pattern_of,
    poisson,
    strained_crystal,
    transform,
)

CPU = torch.device("cpu")
edges = st.integers(1, 9)
shapes = st.tuples(edges, edges, edges)


def noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def central(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Crop or pad the three last axes about index n // 2."""
    for axis, m in zip((-3, -2, -1), shape, strict=True):
        n = array.shape[axis]
        index = np.arange(m) - m // 2 + n // 2
        taken = np.take(array, index.clip(0, n - 1), axis=axis)
        inside = ((index >= 0) & (index < n)).reshape([-1 if axis == a else 1 for a in (-3, -2, -1)])
        array = taken * inside
    return array


@pytest.mark.parametrize("fraction", [0.01, 0.05])
def test_held_out_islands_are_good_voxels_away_from_the_centre(fraction: float) -> None:
    mask = gaps((40, 41, 42))
    chosen = hold_out(mask, fraction, 3)
    assert chosen.sum() == pytest.approx(fraction * mask.sum(), rel=0.15)
    assert not (chosen & ~mask).any()
    _, count = ndimage.label(hold_out(np.ones_like(mask), fraction, 3))
    assert count < chosen.sum() / 4


def test_nothing_is_held_out_at_the_centre_and_anything_may_be_elsewhere() -> None:
    mask = np.ones((40, 41, 42), dtype=bool)
    ever = np.any([hold_out(mask, 0.4, seed) for seed in range(20)], axis=0)
    places = np.indices(mask.shape) - (np.array(mask.shape) // 2)[:, None, None, None]
    distance = np.linalg.norm(places, axis=0)
    np.testing.assert_array_equal(ever[distance <= CENTRE_SHARE * 40], False)
    assert ever[distance > CENTRE_SHARE * 40].mean() > 0.99


def test_held_out_voxels_follow_the_seed() -> None:
    mask = np.ones((20, 20, 20), dtype=bool)
    np.testing.assert_array_equal(hold_out(mask, 0.05, 1), hold_out(mask, 0.05, 1))
    assert (hold_out(mask, 0.05, 1) != hold_out(mask, 0.05, 2)).any()
    assert not hold_out(mask, 0.0, 1).any()


@pytest.mark.parametrize("shape", [(6, 8, 10), (5, 7, 9), (6, 7, 8)])
def test_amplitudes_are_those_of_the_object_and_the_peak_lies_in_the_corner(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    field = np.abs(transform(noise(shape)))
    scale = rng.uniform(0.5, 2.0, (shape[0], 1, 1)).astype(np.float32)
    background = rng.uniform(0.0, 3.0, shape[1:]).astype(np.float32)
    counts = (scale * field**2 + background).astype(np.float32)
    mask, held = rng.random(shape) < 0.9, rng.random(shape) < 0.1
    pattern = measured_pattern(counts, mask, held, scale=scale, background=background, device="cpu")
    assert pattern.shape == shape
    np.testing.assert_array_equal(pattern.seen, np.fft.ifftshift(mask & ~held))
    np.testing.assert_array_equal(pattern.held_out, np.fft.ifftshift(mask & held))
    np.testing.assert_array_equal(centred(pattern.counts), counts)
    np.testing.assert_allclose(centred(pattern.amplitude), field * (mask & ~held), atol=2e-3)
    np.testing.assert_array_equal(centred(pattern.scale), np.broadcast_to(scale, shape))
    np.testing.assert_array_equal(centred(pattern.background), np.broadcast_to(background, shape))
    assert pattern.counts[0, 0, 0] == counts[tuple(n // 2 for n in shape)]


def test_counts_below_the_background_have_amplitude_zero() -> None:
    pattern = pattern_of(np.ones((4, 4, 4)), background=2.0)
    assert not pattern.amplitude.any()


@given(st.integers(1, 40), st.integers(1, 4), st.data())
def test_indices_of_a_level_lie_around_the_same_centre(m: int, step: int, data: st.DataObject) -> None:
    n = data.draw(st.integers(m * step, m * step + 20))
    array = np.arange(n)
    found = np.fft.fftshift(np.fft.ifftshift(array)[Level(shape=(m,), step=(step,)).indices(n, 0).numpy()])
    np.testing.assert_array_equal(found, array[n // 2 + step * (np.arange(m) - m // 2)])


@pytest.mark.parametrize("shape", [(24, 26, 28), (23, 24, 25)])
def test_gaussian_transfer_is_a_gaussian_filter(shape: tuple[int, int, int]) -> None:
    values, sigma = np.random.default_rng(0).random(shape), 1.7
    transfer = gaussian_transfer(shape, sigma, CPU)
    smooth = torch.fft.irfftn(torch.fft.rfftn(torch.from_numpy(values)) * transfer, s=shape)
    expected = ndimage.gaussian_filter(values, sigma, mode="wrap", truncate=8.0)
    np.testing.assert_allclose(smooth, expected, atol=1e-5)
    assert transfer[0, 0, 0] == 1.0


@given(shapes, shapes)
def test_resize_crops_and_pads_around_the_centre(shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    array = noise((2, *shape))
    np.testing.assert_array_equal(centred(resize(corner(array), wanted)), central(array, wanted))


@given(shapes, shapes)
def test_resampling_keeps_the_transform_and_comes_back(shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    array = noise(shape)
    resampled = resample(corner(array), wanted)
    np.testing.assert_allclose(transform(centred(resampled)), central(transform(array), wanted), atol=1e-3)
    if all(n <= m for n, m in zip(shape, wanted, strict=True)):
        np.testing.assert_allclose(centred(resample(resampled, shape)), array, atol=1e-4)


def test_resampling_to_the_same_shape_does_nothing() -> None:
    array = corner(noise((4, 5, 6)))
    assert resample(array, (4, 5, 6)) is array


LEVELS = [
    Level(shape=(16, 16, 16), step=(2, 2, 2)),
    Level(shape=(16, 20, 32), step=(2, 1, 1)),
    Level(shape=(24, 24, 16), step=(1, 1, 2)),
    full_level((32, 32, 32)),
]


@pytest.mark.parametrize(("now", "then"), [(LEVELS[0], LEVELS[3]), (LEVELS[1], LEVELS[3]), (LEVELS[2], LEVELS[3])])
def test_objects_on_another_level_keep_the_transform_that_both_share(now: Level, then: Level) -> None:
    small = np.zeros((2, *(n for n in now.shape)), dtype=np.complex64)
    small[:, 5:11, 6:10, 6:11] = noise((2, 6, 4, 5))
    found = centred(to_level(corner(small), now, then))
    assert found.shape == (2, *then.shape)
    chosen = [n // 2 + k * (np.arange(m) - m // 2) for n, m, k in zip(then.shape, now.shape, now.step, strict=True)]
    np.testing.assert_allclose(transform(found)[:, *np.ix_(*chosen)], transform(small), atol=1e-3)


@pytest.fixture(scope="module")
def crystal() -> np.ndarray:
    return bright(strained_crystal(32), 1e4)


REACH = (14, 14, 14)


def taken(array: np.ndarray, level: Level) -> np.ndarray:
    chosen = [
        n // 2 + k * (np.arange(m) - m // 2) for n, m, k in zip(array.shape, level.shape, level.step, strict=True)
    ]
    return array[np.ix_(*chosen)]


@pytest.mark.parametrize("level", LEVELS)
def test_a_coarse_view_of_a_clean_pattern_is_the_pattern(crystal: np.ndarray, level: Level) -> None:
    field = np.abs(transform(crystal))
    coarse = coarse_pattern(pattern_of(field**2), level, None, REACH)
    assert coarse.shape == level.shape
    assert coarse.seen.all()
    np.testing.assert_allclose(centred(coarse.amplitude) ** 2, taken(field**2, level), atol=1e-5 * field.max() ** 2)


def test_a_coarse_view_keeps_the_share_of_the_noise_that_lies_within_reach(crystal: np.ndarray) -> None:
    """The noise of counting is white: its variance falls as the number of differences that are kept."""
    intensity = np.abs(transform(crystal)) ** 2
    counts = poisson(intensity)
    coarse = coarse_pattern(pattern_of(counts), full_level((32, 32, 32)), None, (12, 12, 12))
    before, after = counts - intensity, centred(coarse.amplitude) ** 2 - intensity
    bright_enough = intensity > 2.0  # below, negative intensities are cut to zero
    ratio = np.square(after)[bright_enough].sum() / np.square(before)[bright_enough].sum()
    assert ratio == pytest.approx((25 / 32) ** 3, rel=0.15)


def test_a_coarse_view_sharpens_what_partial_coherence_blurred(crystal: np.ndarray) -> None:
    intensity = np.abs(transform(crystal)) ** 2
    transfer = gaussian_transfer(intensity.shape, 0.5, CPU)
    measured = blurred(intensity, transfer.numpy())
    sharp = centred(coarse_pattern(pattern_of(measured), full_level(measured.shape), transfer, REACH).amplitude) ** 2
    assert np.abs(sharp - intensity).max() < 0.05 * np.abs(measured - intensity).max()


def test_unseen_voxels_stay_unseen_and_hardly_disturb_the_rest() -> None:
    """A smooth pattern is its neighbours' mean; holes left at zero would take 1.5 % of the counts around them."""
    places = np.indices((32, 32, 32)) - 16
    field = np.abs(transform(100.0 * np.exp(-np.square(places).sum(axis=0) / (2 * 1.2**2))))
    mask = gaps((32, 32, 32))
    pattern = pattern_of(field**2 * mask, mask, held_out=0.02)
    coarse = coarse_pattern(pattern, full_level((32, 32, 32)), None, (6, 6, 6))
    assert coarse.held_out.any()
    np.testing.assert_array_equal(coarse.seen, pattern.seen)
    np.testing.assert_array_equal(coarse.held_out, pattern.held_out)
    assert not coarse.amplitude[~coarse.seen].any()
    error = (coarse.amplitude - pattern.amplitude)[pattern.seen]
    assert error.square().sum() < 0.005 * pattern.amplitude.square().sum()


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_a_coarse_view_of_mostly_unseen_noise_is_finite(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((8, 8, 8)) < 0.1
    coarse = coarse_pattern(
        pattern_of(poisson(np.full(mask.shape, 2.0), seed) * mask, mask), LEVELS[0], None, (2, 2, 2)
    )
    assert torch.isfinite(coarse.amplitude).all()
