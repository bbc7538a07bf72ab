"""Spots, fringes and rocking curves against what they were made of."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from models.fringes import fringe_visibility
from models.rocking_curve import full_width
from models.spot import counting_pixels, spot_centre

SPACING_PX = 12.0
FINE = 4  # samples a pixel: what a pixel counts is an integral over it


def spot(centre: tuple[float, float], height: float, sigma_px: float, background: float, seed: int) -> NDArray[np.int_]:
    y, x = np.mgrid[:120, :160]
    shape = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2.0 * sigma_px**2))
    return np.random.default_rng(seed).poisson(height * shape + background)


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.floats(30.0, 90.0), st.floats(30.0, 130.0)),
    st.floats(1.0, 7.0),
    st.sampled_from([0.0, 0.2, 5.0]),
    st.integers(0, 1000),
)
def test_a_spot_is_found_to_a_share_of_a_pixel(
    centre: tuple[float, float], sigma_px: float, background: float, seed: int
) -> None:
    frame = spot(centre, 300.0, sigma_px, background, seed).astype(np.uint16)
    random = np.random.default_rng(seed)
    frame[random.integers(0, 120, 6), random.integers(0, 160, 6)] = 65000  # hot
    frame[5:8] = np.iinfo(np.uint16).max  # a gap
    assert spot_centre(frame) == pytest.approx(centre, abs=0.3)


@pytest.mark.parametrize("background", [0.0, 0.01, 1.0, 30.0])
def test_no_spot_is_no_number(background: float) -> None:
    frame = spot((60.0, 80.0), 0.0, 1.0, background, seed=0)
    frame[50, 50] = 100_000
    assert np.all(np.isnan(spot_centre(frame.astype(np.int32))))


def test_a_flat_top_leaves_the_centre() -> None:
    frame = np.minimum(spot((60.3, 80.7), 5000.0, 5.0, 0.1, seed=1), 1000)
    assert spot_centre(frame) == pytest.approx((60.3, 80.7), abs=0.1)


def test_pixels_that_do_not_count() -> None:
    assert counting_pixels(np.array([[0, 65535, 65534]], dtype=np.uint16)).tolist() == [[True, False, True]]
    assert counting_pixels(np.array([[-1, 3, 2**31 - 1]], dtype=np.int32)).tolist() == [[False, True, False]]
    assert counting_pixels(np.array([[math.nan, -0.1, 0.0]])).tolist() == [[False, False, True]]
    with pytest.raises(ValueError, match=r"shape \(3,\), expected a frame"):
        counting_pixels(np.zeros(3))


def fringes(angle: float, blur_px: float) -> NDArray[np.float64]:
    """The fringes of a slit, right of its peak, blurred by a Gaussian: light of partial coherence."""
    y, x = ((np.arange(128 * FINE) + 0.5) / FINE - 64.0 for _ in range(2))
    along = math.cos(angle) * x[None, :] + math.sin(angle) * y[:, None]
    across = math.cos(angle) * y[:, None] - math.sin(angle) * x[None, :]
    fine = np.sinc(along / SPACING_PX) ** 2 * np.sinc(across / 40.0) ** 2
    pixels = ndimage.gaussian_filter(fine, blur_px * FINE).reshape(128, FINE, 128, FINE).mean(axis=(1, 3))
    return np.asarray(pixels[64 - 20 + 20 * (angle > 0.0) :, 64 + 16 : 64 + 60][:50])


@pytest.mark.parametrize("angle", [0.0, 0.4])
@pytest.mark.parametrize("blur_px", [0.0, 1.0, 2.0, 3.0, 4.0])
def test_contrast_falls_as_the_degree_of_coherence(blur_px: float, angle: float) -> None:
    """Born and Wolf, 10.4: the visibility of two equal beams is the modulus of the degree of coherence between them,
    here exp(-2 pi^2 s^2 / p^2), the transform of the blur at one wave every p pixels; times that of a square pixel.
    """
    expected = math.exp(-2.0 * (math.pi * blur_px / SPACING_PX) ** 2) * np.sinc(1.0 / SPACING_PX)
    pattern = fringes(angle, blur_px)
    random = np.random.default_rng(3)
    measured = [
        fringe_visibility(random.poisson(pattern * (2e4 / pattern.sum())).astype(np.uint32), SPACING_PX)
        for _ in range(8)
    ]
    assert np.mean(measured) == pytest.approx(expected, abs=0.035)
    assert np.std(measured) < 0.03


def test_noise_alone_is_hardly_contrast_and_few_counts_are_none() -> None:
    random = np.random.default_rng(4)
    assert fringe_visibility(random.poisson(20.0, (40, 60)), SPACING_PX) < 0.05
    assert math.isnan(fringe_visibility(random.poisson(0.1, (40, 60)), SPACING_PX))
    with pytest.raises(ValueError, match="expected more than 2 px, and two fringes"):
        fringe_visibility(random.poisson(20.0, (10, 10)), SPACING_PX)


@given(st.floats(0.01, 10.0), st.floats(-5.0, 5.0), st.floats(0.0, 50.0), st.integers(0, 99))
def test_the_width_of_a_gaussian(width: float, middle: float, background: float, seed: int) -> None:
    positions = middle + width * np.linspace(-3.0, 3.0, 61)
    values = 1000.0 * np.exp(-4.0 * math.log(2.0) * ((positions - middle) / width) ** 2) + background
    order = np.random.default_rng(seed).permutation(61)
    assert full_width(positions[order], values[order]) == pytest.approx(width, rel=0.01)


def test_fringes_do_not_widen_a_rocking_curve() -> None:
    angles = np.linspace(-4.0, 4.0, 161)
    assert full_width(angles, np.sinc(angles) ** 2) == pytest.approx(0.886, rel=0.01)  # of sinc^2, at half height


@pytest.mark.parametrize(
    "values", [[1.0, 1.0, 1.0, 1.0, 1.0], [0, 1, 2, 3, 9, 9], [1, math.nan, 9, 1, 1], [0, 9, 0, 0]], ids=str
)
def test_what_shows_no_width_is_no_number(values: list[float]) -> None:
    assert math.isnan(full_width(np.arange(len(values)), values))


def test_a_curve_has_a_value_for_each_position() -> None:
    with pytest.raises(ValueError, match=r"shape \(3,\) and values of shape \(4,\)"):
        full_width(np.arange(3), np.arange(4))
