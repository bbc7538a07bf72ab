"""Kernels of partial coherence against closed forms and direct convolution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from models.bcdi.coherence import FIRST_WIDTH_VOXELS, SMALLEST_RATIO, Kernel, convolve, envelope
from tests.helpers.patterns import blurred, bright, corner, pattern_of, poisson, strained_crystal, transform

SHAPE = (32, 33, 34)


def kernel(widths: tuple[float, float, float], mixing: float, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """The kernel in the order of FFTs."""
    transfer = envelope(shape, torch.tensor(widths), torch.tensor(mixing))
    return torch.fft.irfftn(transfer, s=shape).numpy()


@pytest.mark.parametrize("mixing", [0.0, 0.3, 1.0])
def test_a_kernel_has_sum_one(mixing: float) -> None:
    assert kernel((0.5, 2.0, 3.0), mixing).sum() == pytest.approx(1.0, abs=1e-5)
    assert envelope(SHAPE, torch.tensor([0.5, 2.0, 3.0]), torch.tensor(mixing))[0, 0, 0] == 1.0


def test_the_gaussian_kernel_has_its_full_widths_at_half_maximum() -> None:
    widths = (4.0, 5.0, 6.0)
    axes = [np.minimum(np.arange(n), n - np.arange(n)) for n in SHAPE]
    expected = np.ones(SHAPE)
    for axis, (distance, width) in enumerate(zip(axes, widths, strict=True)):
        profile = 0.5 ** ((2 * distance / width) ** 2)
        expected = expected * (profile / profile.sum()).reshape([-1 if a == axis else 1 for a in range(3)])
    np.testing.assert_allclose(kernel(widths, 0.0), expected, atol=1e-6)


def test_the_lorentzian_kernel_is_a_wrapped_cauchy_distribution() -> None:
    """The Poisson kernel: a Lorentzian summed over all periods."""
    widths = (4.0, 5.0, 6.0)
    expected = np.ones(SHAPE)
    for axis, (n, width) in enumerate(zip(SHAPE, widths, strict=True)):
        ratio = np.exp(-np.pi * width / n)
        turn = np.cos(2 * np.pi * np.arange(n) / n)
        profile = (1 - ratio**2) / (1 - 2 * ratio * turn + ratio**2) / n
        expected = expected * profile.reshape([-1 if a == axis else 1 for a in range(3)])
    np.testing.assert_allclose(kernel(widths, 1.0), expected, atol=0.02 * expected.max())


def test_convolving_is_a_direct_convolution() -> None:
    intensity = ndimage.gaussian_filter(np.random.default_rng(0).random((12, 13, 14)), 1.0, mode="wrap")
    widths, mixing = torch.tensor([1.5, 2.0, 2.5]), torch.tensor(0.4)
    transfer = envelope(intensity.shape, widths, mixing)
    wrapped = torch.fft.irfftn(transfer, s=intensity.shape).numpy()
    direct = sum(
        (wrapped[shift] * np.roll(intensity, shift, (0, 1, 2)) for shift in np.ndindex(*intensity.shape)),
        np.zeros(intensity.shape),
    )
    found = convolve(torch.from_numpy(intensity.astype(np.float32)), transfer)
    np.testing.assert_allclose(found, direct, rtol=1e-5)


def test_ringing_never_makes_an_intensity_negative() -> None:
    spike = torch.zeros((2, 16, 16, 16))
    spike[:, 3, 4, 5] = 1e6
    found = convolve(spike, envelope((16, 16, 16), torch.tensor([0.2, 0.3, 0.4]), torch.tensor(0.0)))
    assert found.min() >= 0.0
    assert (found >= SMALLEST_RATIO * spike).all()


def blurred_pattern(widths: tuple[float, float, float], mixing: float, exposed: bool) -> tuple:
    """A partially coherent pattern and the coherent intensity, corner order."""
    coherent = np.abs(transform(bright(strained_crystal(32), 1e6))) ** 2
    transfer = envelope(coherent.shape, torch.tensor(widths), torch.tensor(mixing)).numpy()
    rate = blurred(coherent, transfer)
    pattern = pattern_of(poisson(rate) if exposed else rate, held_out=0.02)
    return pattern, corner(coherent.astype(np.float32))


@pytest.mark.parametrize("exposed", [False, True])
def test_refinement_finds_the_widths_of_a_gaussian(exposed: bool) -> None:
    widths = (0.8, 1.1, 1.4)
    pattern, coherent = blurred_pattern(widths, 0.0, exposed)
    found = Kernel("gaussian", pattern)
    found.refine(coherent)
    np.testing.assert_allclose(found.widths, widths, rtol=0.1)
    assert found.mixing == 0.0
    np.testing.assert_allclose(found.apply(coherent), convolve(coherent, found.transfer))


def test_refinement_finds_a_pseudo_voigt() -> None:
    widths, mixing = (1.0, 1.3, 1.2), 0.5
    pattern, coherent = blurred_pattern(widths, mixing, False)
    found = Kernel("pseudo-voigt", pattern)
    for _ in range(3):
        found.refine(coherent)
    np.testing.assert_allclose(
        found.transfer, envelope((32, 32, 32), torch.tensor(widths), torch.tensor(mixing)), atol=0.06
    )
    assert 0.0 < found.mixing < 1.0


@pytest.mark.parametrize(("kind", "mixing"), [("gaussian", 0.0), ("pseudo-voigt", 0.3)])
def test_refinement_lowers_the_misfit_to_the_measured_amplitudes(kind: str, mixing: float) -> None:
    pattern, coherent = blurred_pattern((1.0, 1.0, 1.0), mixing, True)
    found = Kernel(kind, pattern)

    def misfit() -> float:
        error = (found.apply(coherent).sqrt() - pattern.amplitude) * pattern.seen
        return float(error.square().sum())

    before = misfit()
    found.refine(coherent)
    assert misfit() < 0.25 * before


def test_a_refinement_that_fails_leaves_the_kernel_as_it_was() -> None:
    pattern, coherent = blurred_pattern((1.0, 1.0, 1.0), 0.0, False)
    found = Kernel("gaussian", pattern)
    found.refine(torch.full_like(coherent, torch.nan))
    np.testing.assert_array_equal(found.widths, np.full(3, FIRST_WIDTH_VOXELS, np.float32))
    assert torch.isfinite(found.transfer).all()
