"""What a result is judged by: shares explained, starts that agree, and the words."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import torch

from models.bcdi.quality import mean_deviance
from models.bcdi.trust import LEAST_AGREEMENT, LEAST_EXPLAINED, agreement, doubt, explained, peak_outside

SHAPE = (8, 8, 8)
EVERY = np.ones(SHAPE, dtype=bool)
ONE = np.ones((1, 1, 1), dtype=np.float32)


def drawn(expected: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).poisson(expected).astype(np.float32)


def share(counts: np.ndarray, model: np.ndarray, scale: np.ndarray = ONE, background: np.ndarray = 0 * ONE) -> float:
    deviance = mean_deviance(torch.from_numpy(counts.ravel()), torch.from_numpy(model.astype(np.float32).ravel()))
    return explained(counts, EVERY, scale, background, deviance)


def test_the_truth_explains_nearly_all_and_a_flat_model_nothing() -> None:
    peak = np.broadcast_to(1000.0 * np.exp(-(np.linspace(-3, 3, 8) ** 2)), SHAPE)
    counts = drawn(peak)
    assert 0.95 < share(counts, peak) < 1.0
    assert share(counts, np.full(SHAPE, 7.0)) == pytest.approx(0.0, abs=1e-6)


def test_a_model_of_noise_by_its_own_draws_explains_less_than_nothing() -> None:
    rng = np.random.default_rng(1)
    assert share(drawn(np.full(SHAPE, 3.0)), rng.exponential(3.0, SHAPE)) < -0.2


def test_known_background_and_exposure_are_no_merit_of_the_object() -> None:
    background = np.broadcast_to(np.linspace(0, 50, 8, dtype=np.float32)[:, None, None], SHAPE)
    scale = np.broadcast_to(np.linspace(1, 4, 8, dtype=np.float32), SHAPE)
    flat = background + 20 * scale
    assert share(drawn(flat), flat, scale, background) == pytest.approx(0.0, abs=0.02)


def test_without_held_out_voxels_nothing_is_known_and_without_counts_nothing_is_explained() -> None:
    nothing = np.zeros(SHAPE, dtype=np.float32)
    assert np.isnan(explained(nothing, ~EVERY, ONE, 0 * ONE, float("nan")))
    assert share(nothing, np.ones(SHAPE)) == pytest.approx(0.0, abs=1e-9)


def test_agreement_is_the_correlation_of_the_starts() -> None:
    for count, correlation in ((2, 0.3), (5, 0.8), (10, 0.0), (10, 1.0)):
        gram = np.full((count, count), correlation) + (1 - correlation) * np.eye(count)
        weights = np.linalg.eigvalsh(gram)[::-1] / count
        assert agreement(weights.astype(np.float32)) == pytest.approx(correlation, abs=1e-6)
    assert np.isnan(agreement(np.ones(1, dtype=np.float32)))


def test_doubt_is_one_line_with_both_numbers_and_a_way_out() -> None:
    noise, apart = doubt(0.04, 1.0), doubt(0.9, 0.2)
    assert "explained 0.04, expected 0.15 or more); find the peak" in noise
    assert "agreement 0.20, expected 0.5 or more); expose longer" in apart
    assert "\n" not in noise + apart


@pytest.mark.parametrize(
    ("brightest", "came", "seen"),
    [(5, range(10), True), (9, range(10), False), (8, range(10), True), (0, range(10), False), (30, range(18), False),
     (8, [*range(5), *range(7, 12)], True), (7, range(7, 12), False), (0, [0], False)],
)  # fmt: skip
def test_a_rocking_curve_brightest_at_the_edge_of_what_came_is_doubted(
    brightest: int, came: Iterable[int], seen: bool
) -> None:
    received = np.zeros(64, bool)
    received[list(came)] = True
    curve = 1000.0 / (1.0 + (np.arange(64) - brightest) ** 2)
    assert (peak_outside(curve, received) == "") is seen


@pytest.mark.parametrize("starts_agreement", [LEAST_AGREEMENT, float("nan")])
@pytest.mark.parametrize("explained_share", [LEAST_EXPLAINED, float("nan")])
def test_what_is_not_known_is_not_doubted(explained_share: float, starts_agreement: float) -> None:
    assert doubt(explained_share, starts_agreement) == ""
