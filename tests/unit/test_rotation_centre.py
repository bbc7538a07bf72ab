"""How far the crystal lies from the axis: ID01's example, and crystals of the twin that are centred at each angle."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from models.simulate.goniometer import Goniometer, offset
from service.alignment.rotation_centre import several_angles, two_angles
from service.errors import DataError

ACROSS_ZERO = tuple(np.linspace(-5.0, 5.0, 11))


def centred_m(goniometer: Goniometer, angles_deg, height_m: float = 0.0) -> np.ndarray:
    """The y that brings the crystal to the height of the beam at each angle."""

    def above(y: float, eta: float) -> float:
        return offset(goniometer, {"y": y, "eta": eta}, 0.0).y_m - height_m

    return np.array([brentq(above, -0.1, 0.1, args=(eta,), xtol=1e-15) for eta in angles_deg])


def test_the_example_of_id01() -> None:
    """Centred at 72.026 um at 24.63 deg and at 70.826 um at 25.03 deg."""
    centre = two_angles((72.026e-6, 70.826e-6), (24.63, 25.03))
    assert abs(centre.along_m) == pytest.approx(172e-6, abs=0.5e-6)
    assert centre.deviation_m == 0.0


@given(st.floats(-1e-3, 1e-3), st.floats(-1e-3, 1e-3))
def test_two_angles_tell_a_crystal_of_the_twin(along_m: float, up_m: float) -> None:
    angles = (-0.25, 0.25)
    positions = centred_m(Goniometer(crystal_m=(0.0, up_m, along_m)), angles)
    centre = two_angles(tuple(positions), angles)
    assert centre.along_m == pytest.approx(along_m, rel=1e-4, abs=1e-11)


def test_two_angles_are_as_sure_as_the_turn_is_large() -> None:
    near, far = (two_angles((0.0, 1e-6), (0.0, turn), 1e-8) for turn in (0.5, 1.0))
    assert near.deviation_m == pytest.approx(math.sqrt(2.0) * 1e-8 / math.radians(0.5))
    assert far.deviation_m == pytest.approx(near.deviation_m / 2.0)
    assert two_angles((0.0, 1e-6), (1.0, 0.0), 1e-8).deviation_m == pytest.approx(far.deviation_m)
    assert two_angles((1e-6, 0.0), (1.0, 0.0)).along_m == pytest.approx(far.along_m)


@given(
    st.floats(-1e-3, 1e-3),
    st.floats(-1e-4, 1e-4),
    st.floats(-1e-5, 1e-5),
    st.floats(-40.0, 40.0),
    st.integers(3, 12),
)
def test_several_angles_tell_the_distance_exactly(along_m, up_m, height_m, middle_deg, count) -> None:
    angles = middle_deg + np.linspace(-5.0, 5.0, count)
    positions = centred_m(Goniometer(crystal_m=(0.0, up_m, along_m)), angles, height_m)
    centre = several_angles(positions.tolist(), angles.tolist(), 1e-9)
    assert centre.along_m == pytest.approx(along_m, abs=1e-9)


def test_noisy_positions_over_ten_degrees_tell_it_within_a_micrometre() -> None:
    positions = centred_m(Goniometer(crystal_m=(0.0, 30e-6, 172e-6)), ACROSS_ZERO, 3e-6)
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(scale=50e-9, size=len(positions))
        centre = several_angles(positions + noise, ACROSS_ZERO, 50e-9)
        assert centre.along_m == pytest.approx(172e-6, abs=1e-6)
        assert 0.0 < centre.deviation_m < 0.5e-6


@pytest.mark.parametrize("middle_deg", [0.0, 25.0])
def test_the_deviation_is_what_many_draws_scatter_by(middle_deg: float) -> None:
    angles = middle_deg + np.array(ACROSS_ZERO)
    positions = centred_m(Goniometer(crystal_m=(0.0, -20e-6, -120e-6)), angles, 1e-6)
    noise = np.random.default_rng(7).normal(scale=40e-9, size=(200, len(angles)))
    centres = [several_angles(positions + each, angles, 40e-9) for each in noise]
    errors = np.array([centre.along_m for centre in centres]) + 120e-6
    deviation_m = centres[0].deviation_m
    assert np.mean(np.abs(errors) < 2.0 * deviation_m) >= 0.9
    assert errors.std() == pytest.approx(deviation_m, rel=0.15)
    assert abs(errors.mean()) < 3.0 * deviation_m / math.sqrt(200)


def test_the_deviation_is_that_of_the_positions() -> None:
    once, twice = (several_angles(np.zeros(11), ACROSS_ZERO, deviation) for deviation in (1e-8, 2e-8))
    assert twice.deviation_m == pytest.approx(2.0 * once.deviation_m)


@pytest.mark.parametrize(
    ("positions", "angles"),
    [
        ((0.0, 1e-6), (3.0, 3.0)),
        ((math.nan, 1e-6), (3.0, 4.0)),
        ((0.0, math.inf), (3.0, 4.0)),
        ((0.0, 1e-6), (3.0, math.nan)),
        ((0.0, 1e-6), (math.inf, 4.0)),
    ],
)
def test_two_angles_that_do_not_tell_are_a_data_error(positions, angles) -> None:
    with pytest.raises(DataError, match=r"^centre of rotation: angles .*; expected two angles$"):
        two_angles(positions, angles)


@pytest.mark.parametrize(
    ("positions", "angles"),
    [
        ((), ()),
        ((0.0, 1e-6), (3.0, 4.0)),
        ((0.0, 1e-6, 2e-6), (3.0, 4.0, 3.0)),
        ((0.0, 1e-6), (3.0, 4.0, 5.0)),
        ((0.0, 1e-6, 2e-6, 3e-6), (3.0, 4.0, 5.0)),
        ((0.0, 1e-6, 2e-6), (0.0, 360.0, 720.0)),
        ((0.0, 1e-6, 2e-6), (3.0, 3.0 + 1e-9, 3.0 + 2e-9)),
        ((0.0, 1e-6, 2e-6), (0.0, 1.0, 90.0)),
        ((0.0, math.nan, 2e-6), (0.0, 1.0, 2.0)),
        ((0.0, 1e-6, 2e-6), (0.0, math.inf, 2.0)),
    ],
)
def test_several_angles_that_do_not_tell_are_a_data_error(positions, angles) -> None:
    with pytest.raises(DataError, match=r"^centre of rotation: "):
        several_angles(positions, angles, 1e-8)
