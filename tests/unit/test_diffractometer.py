"""Circles, senses and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from models.bcdi.diffractometer import BEAM, chain, diffractometer, rotation

GENERAL = {
    "sample": [("theta", "y+"), ("phi", (0.0, 3.0, 4.0))],
    "detector": [["delta", "y+"], ["gamma", "x-"]],
    "row": "y-",
    "column": "x+",
}


@given(
    st.tuples(*[st.floats(-1, 1) for _ in range(3)]).filter(lambda v: np.linalg.norm(v) > 1e-3), st.floats(-360, 360)
)
def test_rotation_is_scipys(direction, angle_deg) -> None:
    unit = np.array(direction) / np.linalg.norm(direction)
    expected = Rotation.from_rotvec(np.deg2rad(angle_deg) * unit).as_matrix()
    np.testing.assert_allclose(rotation(unit, angle_deg), expected, atol=1e-12)


def test_rotation_takes_many_angles() -> None:
    turns = rotation((0.0, 1.0, 0.0), np.array([[0.0, 10.0], [20.0, 30.0]]))
    assert turns.shape == (2, 2, 3, 3)
    np.testing.assert_allclose(turns[1, 0], rotation((0.0, 1.0, 0.0), 20.0))


def test_outer_circles_carry_inner_ones() -> None:
    circles = diffractometer("34-ID-C").detector
    turned = chain(circles, {"delta": 30.0, "gamma": 12.0})
    expected = Rotation.from_euler("y", 30, degrees=True) * Rotation.from_euler("x", -12, degrees=True)
    np.testing.assert_allclose(turned, expected.as_matrix(), atol=1e-12)


def test_detector_of_34idc_goes_outboard_and_up() -> None:
    x, y, z = chain(diffractometer("34-ID-C").detector, {"delta": 30.0, "gamma": 10.0}) @ BEAM
    assert x > 0
    assert y > 0
    assert z > 0


def test_detector_of_id01_goes_inboard_and_up() -> None:
    x, y, _ = chain(diffractometer("ID01").detector, {"nu": 30.0, "delta": 10.0}) @ BEAM
    assert x < 0
    assert y > 0


@pytest.mark.parametrize("name", ["34-ID-C", "34idc", "34IDC", "34-id-c"])
def test_names_are_read_whatever_their_hyphens(name) -> None:
    assert diffractometer(name).name == "34-ID-C"


def test_general_takes_names_and_vectors() -> None:
    found = diffractometer("general", GENERAL)
    assert found.sample[0].direction == (0.0, 1.0, 0.0)
    np.testing.assert_allclose(found.sample[1].direction, (0.0, 0.6, 0.8))
    assert [circle.name for circle in found.detector] == ["delta", "gamma"]


@pytest.mark.parametrize(
    ("instrument", "axes", "message"),
    [
        ("ID99", None, "'ID99' is not known: expected 34-ID-C, ID01"),
        ("ID01", GENERAL, "only for the instrument 'general'"),
        ("general", None, "needs its axes"),
        ("general", {"sample": [], "row": "y-"}, "lack detector, column"),
        ("general", {**GENERAL, "sample": "theta"}, "sample must list"),
        ("general", {**GENERAL, "sample": 3}, "sample must list"),
        ("general", {**GENERAL, "detector": [("a", "x+"), ("a", "y+")]}, "names a circle twice"),
        ("general", {**GENERAL, "row": "up"}, "direction of row must be one of"),
        ("general", {**GENERAL, "row": (0, 0, 0)}, "not all zero"),
        ("general", {**GENERAL, "row": (0, 1)}, "three finite numbers"),
        ("general", {**GENERAL, "row": (0, float("nan"), 1)}, "three finite numbers"),
        ("general", {**GENERAL, "row": ("a", "b", "c")}, "three numbers"),
        ("general", {**GENERAL, "row": "x+"}, "not perpendicular"),
    ],
)
def test_impossible_descriptions_are_refused_in_one_line(instrument, axes, message) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        diffractometer(instrument, axes)
    assert "\n" not in str(refused.value)
