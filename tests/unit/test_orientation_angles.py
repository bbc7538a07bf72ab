"""Where the circles go for a reflection: diffcalc-core's positions, there and back, limits, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from models.bcdi.geometry import HC_KEV_ANGSTROM
from service.alignment.angles import hkl_at
from service.alignment.reflection import AXES
from service.errors import GeometryError, SettingsError
from tests.helpers.diffcalc_scenarios import (
    BISECT,
    EQUAL,
    LATTICES,
    POSITIONS,
    ZERO,
    cubic,
    reached,
    solved,
    standing,
    turns,
    you,
)


@pytest.mark.parametrize(("orientation", "constraints", "hkl", "wavelength", "expected", "decimals"), POSITIONS)
def test_positions_are_diffcalcs(orientation, constraints, hkl, wavelength, expected, decimals) -> None:
    energy_kev = HC_KEV_ANGSTROM / wavelength
    positions = solved(orientation, constraints, hkl, energy_kev, current=you(*expected))
    apart = [np.abs(np.array(list(angles.values())) - expected).max() for angles in positions]
    assert min(apart) < 1.5 * 10.0**-decimals
    np.testing.assert_allclose(hkl_at(orientation, you(*expected), energy_kev), hkl, atol=1.5 * 10.0**-decimals)


@pytest.mark.parametrize("constraints", [{"qaz": 90, "alpha": 90, "phi": 0}, {"delta": 90, "beta": 0, "phi": 0}])
def test_reference_is_a_reflection(constraints) -> None:
    positions = solved(cubic(), constraints, (math.sqrt(2), 0, 0), HC_KEV_ANGSTROM, reference_hkl=(1, -1, 0))
    assert any(np.allclose(list(angles.values()), (0, 90, 0, 45, 0, 0), atol=1e-4) for angles in positions)


def test_surface_is_a_reflection() -> None:
    constraints, current = {"betain": 10, "mu": 0, "nu": 0}, you(0, 60, 0, 30, 0, 0)
    for surface in (None, (0, 1, 1)):
        positions = solved(cubic(20, 30), constraints, (1, 0, 0), HC_KEV_ANGSTROM, current=current, surface_hkl=surface)
        normal = np.array([0, 0, 1.0]) if surface is None else cubic(20, 30).ub @ surface
        for angles in positions:
            inner = Rotation.from_euler("ZYZ", [-angles["eta"], angles["chi"], -angles["phi"]], True)
            up = (Rotation.from_euler("X", angles["mu"], True) * inner).apply(normal / np.linalg.norm(normal))
            assert np.rad2deg(np.arcsin(-up[1])) == pytest.approx(10.0, abs=1e-6)


@pytest.mark.parametrize(
    ("constraints", "hkl"),
    [
        ({"eta": 0, "delta": 0, "phi": 0}, (0, 1, 0)),
        ({"eta": 0, "delta": 0, "chi": 0}, (0, 0, 1)),
        ({"mu": 0, "nu": 0, "chi": 90}, (0, 0, 1)),
        (BISECT, (0, 0, 1)),
        ({"chi": 90, "phi": 0, "a_eq_b": True}, (0, 0, 1)),
        ({"psi": 90, "mu": 0, "phi": 0}, (0, 0, 1)),
        ({"eta": 120, "phi": 0, "mu": 0}, (0, 1, 0)),
    ],
)
def test_what_diffcalc_cannot_choose_is_one_line(constraints, hkl) -> None:
    with pytest.raises(GeometryError, match=r"^reflection \d \d \d cannot be reached with [^\n*]*: [A-Z][^\n*]*$"):
        solved(cubic(), constraints, hkl, HC_KEV_ANGSTROM)


MODES = [
    BISECT,
    EQUAL,
    {"mu": 0, "nu": 0, "chi": 90},
    {"eta": 0, "delta": 0, "bisect": True},
    {"mu": 0, "qaz": 90, "psi": 90},
]
indices = st.tuples(*[st.integers(-4, 4)] * 3).filter(any)
limits = st.dictionaries(
    st.sampled_from(["eta", "chi", "phi", "delta", "mu", "nu"]),
    st.floats(-200, 200).map(lambda low: (low, low + 250.0)),
    max_size=3,
)
stands = st.fixed_dictionaries({axis: st.floats(-400, 400) for axis in AXES})


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(LATTICES), turns, st.sampled_from(MODES), indices, st.floats(7, 20), limits, stands)
def test_hkl_to_angles_and_back(cell, u, constraints, hkl, energy_kev, limits, current) -> None:
    orientation = standing(cell, u)
    positions = reached(orientation, constraints, hkl, energy_kev, limits, current)
    assume(positions)
    travels = [sum(abs(angles[axis] - current[axis]) for axis in AXES) for angles in positions]
    assert travels == sorted(travels)
    for angles in positions:
        np.testing.assert_allclose(hkl_at(orientation, angles, energy_kev), hkl, atol=2e-6)
        assert all(low <= angles[axis] <= high for axis, (low, high) in limits.items())
        assert all(abs(angles[axis] - current[axis]) <= 180.0 + 1e-6 for axis in AXES if axis not in limits)


def test_angles_come_in_the_turn_that_limits_allow() -> None:
    arguments = (cubic(), EQUAL, (0, 1, 0), HC_KEV_ANGSTROM)
    arm = {"delta": (-5, 120), "chi": (-10, 10)}
    assert [angles["phi"] for angles in solved(*arguments, arm)] == pytest.approx([90.0])
    assert [angles["phi"] for angles in solved(*arguments, arm | {"phi": (-360, 0)})] == pytest.approx([-270.0])
    assert [angles["phi"] for angles in solved(*arguments, arm, ZERO | {"phi": 500.0})] == pytest.approx([450.0])


def test_a_limit_is_met_by_a_rounding_error() -> None:
    frozen = {"mu": (0, 0), "nu": (0, 0), "delta": (60, 60)}
    for angles in solved(cubic(), EQUAL, (1, 0, 0), HC_KEV_ANGSTROM, frozen):
        assert (angles["mu"], angles["nu"], angles["delta"]) == (0.0, 0.0, 60.0)


def test_outside_the_limits_names_axis_value_and_limit() -> None:
    with pytest.raises(GeometryError) as refused:
        solved(cubic(), BISECT, (1, 0, 1), HC_KEV_ANGSTROM, {"delta": (-5, 80), "chi": (0, 90), "eta": (0, 90)})
    assert str(refused.value) == (
        "reflection 1 0 1 has no position within limits: the nearest has delta at 90.000 deg, limits -5 to 80 deg"
    )


def test_below_the_limits_tells_the_nearest_turn() -> None:
    with pytest.raises(GeometryError, match=r"the nearest has delta at 90.000 deg, limits 95 to 100 deg$"):
        solved(cubic(), BISECT, (1, 0, 1), HC_KEV_ANGSTROM, {"delta": (95, 100)})


@pytest.mark.parametrize(("hkl", "expected"), [((1, 1, 0), 5), ((1, 0, 0), 6)])  # of the 8 that diffcalc-core tells
def test_each_position_is_told_once(hkl, expected) -> None:
    assert len(solved(cubic(), {"mu": 0, "nu": 0, "bisect": True}, hkl, HC_KEV_ANGSTROM)) == expected


def test_beyond_the_ewald_sphere_tells_both_numbers() -> None:
    with pytest.raises(GeometryError, match=r"3 0 0 is beyond the Ewald sphere: \|q\| is 18.8496 .* at most 12.5664"):
        solved(cubic(), BISECT, (3, 0, 0), HC_KEV_ANGSTROM)


@pytest.mark.parametrize(
    ("constraints", "words"),
    [
        ({}, "constraints none: expected three"),
        ({"mu": 0, "nu": 0}, "constraints mu 0, nu 0: expected three"),
        ({"mu": 0, "nu": 0, "delta": 0}, "expected three"),
        ({"mu": 0, "nu": 0, "chi": 90, "phi": 0}, "First un-constrain"),
        ({"delta": 0, "mu": 0, "chi": 90, "nu": 0}, "expected three"),
        ({"mu": 0, "nu": 0, "chi": 90, "bisect": False}, "expected three"),
        ({"mu": 1, "eta": 1, "bisect": True}, "constraints mu 1, eta 1, bisect: expected three"),
        ({"mu": 0, "nu": 0, "theta": 3}, "Invalid constraint name: theta"),
        ({"mu": 0, "nu": 0, "asdict": 3}, "_asdict"),
        ({"mu": True, "nu": 0, "chi": 90}, "mu requires numerical value"),
        ({"mu": float("nan"), "nu": 0, "chi": 90}, "mu is nan"),
    ],
)
def test_modes_that_are_none(constraints, words) -> None:
    with pytest.raises(SettingsError, match=words) as refused:
        solved(cubic(), constraints, (1, 0, 0), HC_KEV_ANGSTROM)
    assert "\n" not in str(refused.value)


def test_limits_and_stands_that_are_none() -> None:
    arguments = (cubic(), BISECT, (1, 0, 1), HC_KEV_ANGSTROM)
    with pytest.raises(SettingsError, match="limits of chi are 90 to 0 deg: expected the lower one first"):
        solved(*arguments, {"chi": (90, 0)})
    with pytest.raises(GeometryError, match="there is no axis theta"):
        solved(*arguments, {"theta": (0, 90)})
    with pytest.raises(GeometryError, match="angles lack delta"):
        solved(*arguments, {}, {"mu": 0.0})
    with pytest.raises(GeometryError, match="hkl is 0 0 0"):
        solved(cubic(), BISECT, (1, 0, 1), HC_KEV_ANGSTROM, surface_hkl=(0, 0, 0))
    with pytest.raises(GeometryError, match="hkl is 0 0 0"):
        solved(cubic(), BISECT, (0, 0, 0), HC_KEV_ANGSTROM)
