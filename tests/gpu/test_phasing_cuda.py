"""CUDA and CPU run the same code and must come to the same object."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.bcdi.modes import correlation
from models.bcdi.phasing import PhasingConfig, phase_retrieval
from tests.helpers.patterns import bright, gaps, poisson, strained_crystal, transform

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]

TRUTH = bright(strained_crystal(32), 1e6)


def measured() -> tuple[np.ndarray, np.ndarray]:
    mask = gaps(TRUTH.shape)
    return poisson(np.abs(transform(TRUTH)) ** 2) * mask, mask


@pytest.mark.parametrize("coherence", ["full", "gaussian", "pseudo-voigt"])
def test_few_iterations_agree_between_cpu_and_cuda(coherence: str) -> None:
    config = PhasingConfig(recipe="10*ER", starts=3, keep=2, coherence=coherence)
    here = phase_retrieval(*measured(), config)
    there = phase_retrieval(*measured(), replace(config, device="cuda"))
    np.testing.assert_array_equal(here.held_out, there.held_out)
    assert here.selected == there.selected
    assert correlation(here.object_, there.object_) > 0.999
    assert there.figures.chi == pytest.approx(here.figures.chi, rel=0.02)


def test_a_crystal_is_recovered_on_cuda() -> None:
    found = phase_retrieval(*measured(), PhasingConfig(starts=6, keep=3, coherence="full", device="cuda"))
    assert correlation(TRUTH, found.object_) > 0.95


def test_cuda_goes_on_from_a_given_object() -> None:
    config = PhasingConfig(starts=2, keep=1, device="cuda")
    assert correlation(TRUTH, phase_retrieval(*measured(), config, start=TRUTH).object_) > 0.95
