"""Phase retrieval with a guess at what the detector did not see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.bcdi.iterate import Batch
from models.bcdi.modes import correlation
from models.bcdi.pattern import Filled, measured_pattern
from models.bcdi.phasing import PhasingConfig, phase_retrieval
from tests.helpers.patterns import bright, poisson, strained_crystal, transform

EDGE = 32
QUICK = PhasingConfig(starts=1, keep=1, recipe="50*ER", coherence="full")


@pytest.fixture(scope="module")
def crystal() -> NDArray[np.complex64]:
    return bright(strained_crystal(EDGE), 1e5)


@pytest.fixture(scope="module")
def counts(crystal: NDArray[np.complex64]) -> NDArray[np.float32]:
    return poisson(np.abs(transform(crystal)) ** 2)


@pytest.fixture(scope="module")
def mask() -> NDArray[np.bool_]:
    mask = np.ones((EDGE, EDGE, EDGE), bool)
    mask[:, :, 14:19] = False
    return mask


def test_trust_is_that_of_a_count_at_most() -> None:
    values = np.array([100.0, 100.0, 100.0, 0.0], np.float32)
    filled = Filled(counts=values, std=np.array([10.0, 20.0, 0.0, 0.1], np.float32))
    np.testing.assert_allclose(filled.trust, [1.0, 0.2506, 0.0, 1.0], rtol=1e-3)


def test_projection_goes_as_far_as_the_trust(counts: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
    std = np.where(mask, 0.0, 2.0 * np.sqrt(counts + 0.25)).astype(np.float32)
    one = np.ones((1, 1, 1), np.float32)
    objects = torch.randn(1, EDGE, EDGE, EDGE, dtype=torch.complex64)
    spectra = {}
    for name, filled, seen in (
        ("free", None, mask),
        ("half", Filled(counts=counts, std=std), mask),
        ("counted", None, np.ones_like(mask)),
    ):
        pattern = measured_pattern(
            counts, seen, np.zeros_like(mask), scale=one, background=0 * one, device="cpu", filled=filled
        )
        batch = Batch(pattern, objects.clone(), torch.ones(EDGE, EDGE, EDGE, dtype=torch.bool), beta=0.9)
        spectra[name] = torch.fft.fftn(batch.project(), dim=(-3, -2, -1))
    between = spectra["free"] + 0.25 * (spectra["counted"] - spectra["free"])
    hidden = torch.from_numpy(np.fft.ifftshift(~mask))
    torch.testing.assert_close(spectra["half"][0][hidden], between[0][hidden], rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(spectra["half"][0][~hidden], spectra["free"][0][~hidden], rtol=1e-4, atol=1e-2)


def test_a_true_guess_brings_back_what_the_gap_took(
    crystal: NDArray[np.complex64], counts: NDArray[np.float32], mask: NDArray[np.bool_]
) -> None:
    hidden = np.where(mask, counts, np.float32(0.0))
    config = PhasingConfig(starts=3, keep=2)
    free = phase_retrieval(hidden, mask, config)
    exact = Filled(counts=np.where(mask, 0.0, counts), std=np.where(mask, 0.0, np.sqrt(counts + 0.25)))
    told = phase_retrieval(hidden, mask, config, filled=replace(exact))
    assert correlation(told.object_, crystal) > correlation(free.object_, crystal)
    assert told.held_out[~mask].sum() == 0  # judged by what was seen alone


def test_a_guess_that_is_hardly_trusted_leads_to_the_crystal() -> None:
    edge = 48
    crystal = bright(strained_crystal(edge), 1e5)
    expected = np.abs(transform(crystal)) ** 2
    mask = np.ones(expected.shape, bool)
    mask[:, :, 20:28] = False
    off = np.exp(0.3 * np.random.default_rng(0).standard_normal(expected.shape))
    guess = np.where(mask, 0.0, expected * off).astype(np.float32)
    filled = Filled(counts=guess, std=np.where(mask, np.float32(0.0), 5.0 * np.sqrt(guess + np.float32(0.25))))
    config = PhasingConfig(starts=4, keep=1, coherence="full")
    found = phase_retrieval(poisson(expected) * mask, mask, config, filled=filled).object_
    assert correlation(found, crystal) > 0.98


def test_without_trust_the_result_is_that_of_a_free_gap(counts: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
    hidden = np.where(mask, counts, np.float32(0.0))
    nothing = Filled(counts=np.zeros_like(counts), std=np.zeros_like(counts))
    free, told = (phase_retrieval(hidden, mask, QUICK, filled=filled) for filled in (None, nothing))
    np.testing.assert_array_equal(free.object_, told.object_)


@pytest.mark.parametrize("wrong", [np.ones((2, 2, 2)), np.full((EDGE,) * 3, -1.0), np.full((EDGE,) * 3, np.nan)])
def test_wrong_guesses_are_told(
    wrong: NDArray[np.float64], counts: NDArray[np.float32], mask: NDArray[np.bool_]
) -> None:
    with pytest.raises(ValueError, match="filled counts of shape"):
        phase_retrieval(counts, mask, QUICK, filled=Filled(counts=wrong.astype(np.float32), std=np.zeros_like(counts)))
