"""The twin's crystal on its goniometer: where it is against a matrix, what it scatters against a convolution."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import argrelmax, fftconvolve
from scipy.spatial.transform import Rotation

from models.simulate.goniometer import (
    BLUR,
    SINC_FWHM,
    Drift,
    Goniometer,
    Offset,
    beam_profile,
    fluorescence_hz,
    offset,
    reflected_hz,
    rocking_curve,
)

HERE = Offset(0.0, 0.0, 0.0)
CURVES = pytest.mark.parametrize("curve", [beam_profile, rocking_curve])
metres = st.floats(-1e-3, 1e-3)
degrees = st.floats(-180.0, 180.0)


@CURVES
def test_half_a_width_off_half_is_left(curve) -> None:
    assert curve(0.0) == pytest.approx(1.0)
    assert curve(0.5) == pytest.approx(0.5, abs=1e-3)


@CURVES
def test_both_sides_are_the_same_and_the_middle_is_largest(curve) -> None:
    off = np.linspace(0.0, 30.0, 3001)
    np.testing.assert_allclose(curve(-off), curve(off), rtol=0, atol=1e-15)
    assert np.argmax(curve(off)) == 0
    assert np.all(curve(off) > -1e-12)
    assert np.all(np.diff(curve(off[:80])) < 0.0)


@CURVES
def test_a_curve_keeps_the_shape_of_what_is_asked(curve) -> None:
    off = np.linspace(-2.0, 2.0, 12).reshape(3, 4)
    assert curve(off).shape == (3, 4)
    assert curve(off)[1, 2] == pytest.approx(float(curve(off[1, 2])))


def test_the_rocking_curve_is_a_sinc_squared_that_a_gaussian_blurs() -> None:
    off, step = np.linspace(-40.0, 40.0, 16001, retstep=True)
    blur = np.exp(-0.5 * np.square(off / BLUR))
    blurred = fftconvolve(np.square(np.sinc(SINC_FWHM * off)), blur, mode="same") * step
    near = np.abs(off) < 10.0
    np.testing.assert_allclose(rocking_curve(off[near]), blurred[near] / blurred.max(), rtol=0, atol=3e-4)


def test_fringes_of_a_few_per_cent_stand_beside_the_reflection() -> None:
    off = np.linspace(0.0, 5.0, 5001)
    fringes = argrelmax(rocking_curve(off))[0]
    assert len(fringes) >= 3
    assert off[fringes[0]] == pytest.approx(1.43 / SINC_FWHM, abs=0.05)
    assert 0.01 < rocking_curve(off[fringes[0]]) < 0.05
    assert np.all(np.diff(rocking_curve(off[fringes])) < 0.0)


def test_the_beam_has_tails_that_a_gaussian_has_not() -> None:
    assert 1e-4 < beam_profile(5.0) < 1e-2


def test_there_is_one_reflection_however_far_one_goes() -> None:
    assert np.all(rocking_curve(np.linspace(5.0, 200.0, 20001)) < 0.01)


@given(st.tuples(metres, metres, metres), st.tuples(metres, metres, metres), degrees, degrees)
def test_the_crystal_is_where_a_rotation_about_x_takes_it(crystal, translation, eta, reflection) -> None:
    goniometer = Goniometer(crystal_m=crystal, reflection_deg=reflection)
    x, y, _ = Rotation.from_euler("x", eta, degrees=True).apply(np.add(crystal, translation))
    off = offset(goniometer, {**dict(zip("xyz", translation, strict=True)), "eta": eta}, 0.0)
    np.testing.assert_allclose(off, (x, y, eta - reflection), rtol=0, atol=1e-15 * 180.0)


def test_a_positive_turn_takes_what_is_downstream_down() -> None:
    off = offset(Goniometer(crystal_m=(1e-6, 0.0, 2e-6)), {"eta": 90.0}, 0.0)
    np.testing.assert_allclose(off, (1e-6, -2e-6, 90.0), atol=1e-18)


@given(degrees)
def test_a_crystal_on_the_axis_stays_in_the_beam(eta: float) -> None:
    off = offset(Goniometer(), {"eta": eta}, 1000.0)
    assert (off.x_m, off.y_m) == (0.0, 0.0)


def test_a_crystal_off_the_axis_wanders_out_of_the_beam() -> None:
    goniometer = Goniometer(crystal_m=(0.0, 0.0, 50e-6))
    counts = [fluorescence_hz(goniometer, offset(goniometer, {"eta": eta}, 0.0)) for eta in (0.0, 1.0, 2.0, 5.0)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 2020.0
    assert counts[-1] < 22.0


@given(metres, st.floats(-45.0, 45.0), degrees)
def test_a_skewed_y_leans_towards_x_and_stays_as_long(y: float, skew: float, eta: float) -> None:
    off = offset(Goniometer(skew_deg=skew), {"y": y, "eta": eta}, 0.0)
    assert off.x_m == pytest.approx(y * math.sin(math.radians(skew)), abs=1e-18)
    assert off.y_m == pytest.approx(y * math.cos(math.radians(skew)) * math.cos(math.radians(eta)), abs=1e-18)


@given(degrees)
def test_the_axis_wobbles_once_a_turn(eta: float) -> None:
    goniometer = Goniometer(confusion_m=1e-6)
    off, next_turn = (offset(goniometer, {"eta": each}, 0.0) for each in (eta, eta + 360.0))
    np.testing.assert_allclose(off[:2], next_turn[:2], atol=1e-18)
    assert math.hypot(off.x_m + 1e-6, off.y_m) == pytest.approx(1e-6)
    assert offset(goniometer, {}, 0.0) == HERE


drifts = st.builds(Drift, rate=st.floats(-1.0, 1.0), swing=st.floats(-1.0, 1.0), phase_rad=st.floats(-10.0, 10.0))


@given(drifts, st.floats(0.0, 1e4))
def test_a_drift_starts_at_nothing_and_goes_no_farther_than_rate_and_swing(drift: Drift, time_s: float) -> None:
    assert drift.at(0.0) == 0.0
    assert abs(drift.at(time_s)) <= abs(drift.rate) * time_s + 4.0 * abs(drift.swing) + 1e-9


def test_drifts_move_what_they_are_named_after() -> None:
    drifts = {"x": Drift(rate=1e-9), "y": Drift(rate=-2e-9), "eta": Drift(swing=1e-3, periods_s=(40.0,))}
    goniometer = Goniometer(drifts=drifts)
    assert offset(goniometer, {}, 0.0) == HERE
    assert offset(goniometer, {}, 10.0) == pytest.approx((1e-8, -2e-8, 1e-3))
    assert offset(goniometer, {}, 20.0) == pytest.approx((2e-8, -4e-8, 0.0))


def test_in_the_middle_of_everything_all_counts_come() -> None:
    goniometer = Goniometer(counts_hz=1e5, fluorescence_hz=2e3, background_hz=20.0)
    assert reflected_hz(goniometer, HERE) == pytest.approx(100_020.0)
    assert fluorescence_hz(goniometer, HERE) == pytest.approx(2020.0)


def test_half_a_width_off_in_two_ways_leaves_a_quarter() -> None:
    goniometer = Goniometer(background_hz=0.0, beam_fwhm_m=(2e-6, 1e-6), rocking_fwhm_deg=0.1)
    assert fluorescence_hz(goniometer, Offset(1e-6, 0.5e-6, 77.0)) == pytest.approx(500.0)
    assert reflected_hz(goniometer, Offset(1e-6, 0.0, -0.05)) == pytest.approx(25e3, rel=2e-3)


@pytest.mark.parametrize("off", [Offset(5e-3, 0.0, 0.0), Offset(0.0, -5e-3, 0.0), Offset(5e-3, 5e-3, 1.0)])
def test_far_away_only_background_counts(off: Offset) -> None:
    goniometer = Goniometer()
    assert reflected_hz(goniometer, off) == pytest.approx(20.0, abs=0.01)
    assert fluorescence_hz(goniometer, off) == pytest.approx(20.0, abs=0.01)


def test_off_the_reflection_it_still_fluoresces() -> None:
    goniometer = Goniometer()
    assert reflected_hz(goniometer, Offset(0.0, 0.0, 1.0)) < 100.0
    assert fluorescence_hz(goniometer, Offset(0.0, 0.0, 1.0)) == pytest.approx(2020.0)
