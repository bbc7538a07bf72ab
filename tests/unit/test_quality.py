"""Figures of merit against plain formulas and statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import poisson as poisson_law

from models.bcdi.quality import PRTF_LIMIT, figures, index_radius, mean_deviance, prtf, resolution
from tests.helpers.patterns import bright, centred, corner, gaps, pattern_of, poisson, strained_crystal, transform

SHAPE = (16, 18, 20)


def test_figures_are_their_formulas() -> None:
    rng = np.random.default_rng(0)
    counts, intensity = poisson(rng.uniform(0, 50, SHAPE)), rng.uniform(1, 50, (2, *SHAPE)).astype(np.float32)
    scale = rng.uniform(0.5, 2, (SHAPE[0], 1, 1))
    background = rng.uniform(0, 2, SHAPE)
    pattern = pattern_of(counts, gaps(SHAPE), scale=scale, background=background, held_out=0.1)
    seen, held = centred(pattern.seen), centred(pattern.held_out)
    for found, one in zip(figures(pattern, corner(intensity)), intensity, strict=True):
        model = scale * one + background
        root, data = np.sqrt(model[seen]), np.sqrt(counts[seen])
        assert found.chi == pytest.approx(np.sum((root - data) ** 2) / np.sum(data**2), rel=1e-4)
        assert found.r_factor == pytest.approx(np.sum(np.abs(root - data)) / np.sum(data), rel=1e-4)
        assert found.chi2 == pytest.approx(np.mean((model[seen] - counts[seen]) ** 2 / model[seen]), rel=1e-4)
        n, m = counts[held].astype(float), model[held]
        m = m * n.sum() / m.sum()
        # Half the deviance is how much less likely the model makes the counts than they make themselves.
        expected = 2 * np.mean(poisson_law.logpmf(n, n) - poisson_law.logpmf(n, m))
        assert found.free_log_likelihood == pytest.approx(expected, rel=1e-4)


def test_a_perfect_model_has_no_error_and_a_perfect_model_of_noisy_counts_has_deviance_one() -> None:
    expected = np.random.default_rng(1).uniform(50, 500, (32, 32, 32)).astype(np.float32)
    clean = figures(pattern_of(expected, held_out=0.05), corner(expected[None]))[0]
    assert (clean.chi, clean.r_factor, clean.chi2, clean.free_log_likelihood) == pytest.approx((0, 0, 0, 0), abs=1e-5)
    noisy = figures(pattern_of(poisson(expected), held_out=0.1), corner(expected[None]))[0]
    assert noisy.free_log_likelihood == pytest.approx(1.0, abs=0.1)
    assert noisy.chi2 == pytest.approx(1.0, abs=0.05)
    # The square root of Poisson counts has variance 1/4.
    assert noisy.chi == pytest.approx(0.25 / expected.mean(), rel=0.05)


def test_deviance_is_free_of_scale_and_falls_towards_the_truth() -> None:
    rng = np.random.default_rng(2)
    truth = rng.uniform(1, 100, 5000)
    counts = torch.from_numpy(rng.poisson(truth))
    exact = mean_deviance(counts, torch.from_numpy(truth))
    assert mean_deviance(counts, torch.from_numpy(7.0 * truth)) == pytest.approx(exact, rel=1e-6)
    off = [mean_deviance(counts, torch.from_numpy(truth * rng.uniform(1 - e, 1 + e, 5000))) for e in (0.2, 0.5, 0.9)]
    assert exact < off[0] < off[1] < off[2]


def test_deviance_of_nothing_is_unknown_and_of_darkness_finite() -> None:
    assert np.isnan(mean_deviance(torch.zeros(0), torch.zeros(0)))
    assert np.isfinite(mean_deviance(torch.tensor([0.0, 3.0]), torch.zeros(2)))
    assert mean_deviance(torch.zeros(4), torch.ones(4)) == pytest.approx(0.0, abs=0.05)


EDGES = np.linspace(0.0, 0.5, 9)


def agreement(objects: np.ndarray, intensity: np.ndarray, mask: np.ndarray | None = None, **more: object) -> np.ndarray:
    good = np.ones(intensity.shape, dtype=bool) if mask is None else mask
    radius = index_radius(intensity.shape)
    return prtf(objects.astype(np.complex64), intensity.astype(np.float32), good, radius, EDGES, **more)


@pytest.fixture(scope="module")
def crystal() -> np.ndarray:
    return bright(strained_crystal(24), 1e4)


def test_perfect_agreement_has_a_transfer_of_one_in_every_shell(crystal: np.ndarray) -> None:
    values = agreement(np.stack([crystal] * 3), np.abs(transform(crystal)) ** 2)
    np.testing.assert_allclose(values, 1.0, atol=1e-3)
    assert values.dtype == np.float32


def test_poisson_noise_does_not_bias_the_transfer(crystal: np.ndarray) -> None:
    counts = poisson(np.abs(transform(crystal)) ** 2)
    np.testing.assert_allclose(agreement(crystal[None], counts), 1.0, atol=0.05)


def test_random_phases_average_out_as_one_over_the_root_of_their_number(crystal: np.ndarray) -> None:
    count, rng = 16, np.random.default_rng(0)
    field = np.abs(transform(crystal)) * np.exp(2j * np.pi * rng.random((count, 24, 24, 24)))
    axes = (1, 2, 3)
    objects = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(field, axes=axes), axes=axes), axes=axes)
    values = agreement(objects, np.abs(transform(crystal)) ** 2)
    np.testing.assert_allclose(values[3:], 1 / np.sqrt(count), rtol=0.15)  # the inmost shells hold few voxels


def test_transfer_falls_where_the_starts_differ(crystal: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    outside = index_radius(crystal.shape) > 0.25
    field = transform(crystal) * np.where(outside, np.exp(2j * np.pi * rng.random((16, 24, 24, 24))), 1.0)
    axes = (1, 2, 3)
    objects = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(field, axes=axes), axes=axes), axes=axes)
    values = agreement(objects, np.abs(transform(crystal)) ** 2)
    np.testing.assert_allclose(values[EDGES[1:] <= 0.25], 1.0, atol=1e-3)
    assert (values[EDGES[:-1] >= 0.25] < 0.35).all()


def test_only_good_voxels_count_and_scale_is_respected(crystal: np.ndarray) -> None:
    intensity, mask = np.abs(transform(crystal)) ** 2, gaps((24, 24, 24))
    scale = np.linspace(0.5, 2.0, 24)[:, None, None]
    spoilt = np.where(mask, intensity * scale, 1e6)
    np.testing.assert_allclose(agreement(crystal[None], spoilt, mask, scale=scale), 1.0, atol=1e-3)


def test_dark_counts_are_no_part_of_the_transfer(crystal: np.ndarray) -> None:
    """A dark as bright as the outer shells would pull them down; a shell that holds nothing else is unknown."""
    intensity = np.abs(transform(crystal)) ** 2
    values = agreement(crystal[None], poisson(intensity + 50.0), background=np.full((1, 24, 24), 50.0))
    known = np.isfinite(values)
    assert known[:4].all()
    np.testing.assert_allclose(values[:4], 1.0, atol=0.05)
    only_dark = agreement(crystal[None], np.full(crystal.shape, 50.0), background=50.0)
    assert np.isnan(only_dark).all()
    assert agreement(crystal[None], intensity + 50.0)[3] < 0.9


def test_shells_without_counts_are_unknown(crystal: np.ndarray) -> None:
    intensity = np.abs(transform(crystal)) ** 2
    values = agreement(crystal[None], intensity, index_radius(crystal.shape) < 0.25)
    np.testing.assert_array_equal(np.isnan(values), EDGES[:-1] >= 0.25)


def test_resolution_is_where_the_transfer_crosses_one_over_e() -> None:
    q = np.linspace(0.1, 1.0, 10)
    length, method = resolution(1.0 - q, q)
    assert length == pytest.approx(2 * np.pi / (1.0 - PRTF_LIMIT))
    assert method == "PRTF falls below 1/e"
    unknown = np.where(np.arange(10) == 2, np.nan, 1.0 - q)
    assert resolution(unknown, q)[0] == pytest.approx(length)


@pytest.mark.parametrize(("value", "q", "words"), [(0.9, 1.0, "edge of the data"), (0.1, 0.1, "first shell")])
def test_resolution_without_a_crossing_says_so(value: float, q: float, words: str) -> None:
    length, method = resolution(np.full(10, value), np.linspace(0.1, 1.0, 10))
    assert length == pytest.approx(2 * np.pi / q)
    assert words in method


def test_resolution_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no shell with counts"):
        resolution(np.full(3, np.nan), np.arange(3))


def test_radius_is_that_of_the_frequencies_of_the_transform() -> None:
    z, y, x = np.meshgrid(*(np.fft.fftshift(np.fft.fftfreq(n)) for n in (6, 7, 8)), indexing="ij")
    np.testing.assert_allclose(index_radius((6, 7, 8)), np.sqrt(z**2 + y**2 + x**2), atol=1e-6)
