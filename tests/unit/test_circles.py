"""The instruments' own axes as You's circles: against the geometry of phase retrieval, there and back, what is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffcalc.hkl.geometry import Position, get_q_phi, get_rotation_matrices
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.spatial.transform import Rotation

from models.bcdi.diffractometer import diffractometer
from models.bcdi.geometry import Geometry, momentum_transfer, sample_rotation, wavenumber
from service.alignment.circles import CIRCLES, TurnedBy, circles_of
from service.alignment.orientation import Orientation
from service.alignment.orientation_file import save
from service.alignment.orientation_settings import OrientationSettings
from service.alignment.orienting import Orienting
from service.alignment.reflection import Reflection
from service.errors import GeometryError, SettingsError
from service.settings import parse_settings

INSTRUMENTS = ("34-ID-C", "ID01")
TO_NEXUS = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])  # You's frame -> ours, docs/reference/frames.md
# You's sample frame -> ours, all circles at zero: both instruments hold phi's axis up, You's along the left.
TO_SAMPLE = Rotation.from_euler("z", 90, degrees=True).as_matrix() @ TO_NEXUS

SEEN = tuple(  # a file wants two, U is given
    Reflection(hkl=(1, 1, sign), angles_deg=dict.fromkeys(CIRCLES, 30.0), energy_kev=9.0) for sign in (1, -1)
)

angle = st.floats(-170, 170)
anywhere = st.fixed_dictionaries(dict.fromkeys(("theta", "chi", "phi", "mu", "eta", "nu", "delta", "gamma"), angle))


def measured(instrument: str, axes_deg: dict[str, float]) -> Geometry:
    """A scan whose first frame stands there, the direct beam at pixel 0, 0."""
    known = diffractometer(instrument)
    names = [circle.name for circle in (*known.sample, *known.detector)]
    rocking = names[0]
    return Geometry(
        instrument=instrument, energy_kev=9.0, distance_m=1.0, pixel_size_m=(55e-6, 55e-6), beam_center_px=(0.0, 0.0),
        angles_deg={name: axes_deg[name] for name in names[1:]}, rocking_axis=rocking,
        rocking_deg=axes_deg[rocking] + np.array([0.0, 0.01]),
    )  # fmt: skip


@pytest.mark.parametrize("instrument", INSTRUMENTS)
@settings(max_examples=60, deadline=None)
@given(axes_deg=anywhere)
def test_q_is_that_of_our_geometry(instrument: str, axes_deg: dict[str, float]) -> None:
    """In the laboratory by the table of frames alone; turned back with the sample by one more turn, always the same."""
    geometry = measured(instrument, axes_deg)
    position = Position(**circles_of(instrument, {}).of(axes_deg))
    _, _, _, eta, chi, phi = get_rotation_matrices(position)
    mu = get_rotation_matrices(position)[0]
    theirs = wavenumber(geometry) * get_q_phi(position)[:, 0]
    ours = momentum_transfer(geometry, [0, 0, 0])
    np.testing.assert_allclose(ours, TO_NEXUS @ mu @ eta @ chi @ phi @ theirs, atol=1e-9)
    np.testing.assert_allclose(sample_rotation(geometry, 0.0).T @ ours, TO_SAMPLE @ theirs, atol=1e-9)


@pytest.mark.parametrize("instrument", INSTRUMENTS)
@given(axes_deg=anywhere)
def test_axes_are_found_again(instrument: str, axes_deg: dict[str, float]) -> None:
    circles = circles_of(instrument, {})
    again = circles.axes_at(circles.of(axes_deg))
    assert again == pytest.approx({axis: axes_deg[axis] for axis in circles.axes}, abs=1e-9)


def test_id01_turns_eta_alone_onto_a_reflection(tmp_path: Path) -> None:
    """Where the axes go, our geometry sees Q of the crystal: its length, and its place in the sample."""
    given_ = {"geometry": {"instrument": "ID01", "energy_kev": 9.0}, "orientation": {"element": "Pt"}, "out": tmp_path}
    orienting = Orienting(parse_settings(given_))
    cell = orienting.lattice
    u = Rotation.from_euler("XYZ", [20, 15, 40], degrees=True).as_matrix()
    save(Orientation(lattice=cell, reflections=SEEN, u=u), orienting.file)
    stand = {"mu": 1.0, "eta": 12.0, "phi": 30.0, "nu": 5.0, "delta": 20.0}
    limits = {"nu": (-90.0, 90.0), "delta": (-90.0, 90.0)}
    best, *_ = orienting.positions((-1, 1, -1), stand, None, limits)
    assert (best.axes_deg["mu"], best.axes_deg["phi"]) == pytest.approx((1.0, 30.0))
    geometry = measured("ID01", dict(best.axes_deg))
    ours = momentum_transfer(geometry, [0, 0, 0])
    expected = TO_SAMPLE @ u @ np.array([-1.0, 1.0, -1.0]) * (2 * np.pi / cell.a_angstrom)
    np.testing.assert_allclose(sample_rotation(geometry, 0.0).T @ ours, expected, atol=1e-6)


@given(st.sampled_from((1, -1)), angle, angle, angle, angle)
def test_limits_turn_with_their_axis(sign: Any, offset_deg: float, one: float, other: float, at: float) -> None:
    low, high = sorted((one, other))
    circles = circles_of(
        "", {**dict.fromkeys(CIRCLES, 0.0), "chi": TurnedBy(axis="k", sign=sign, offset_deg=offset_deg)}
    )
    limits = circles.limits_of({"k": (low, high)})
    lowest, highest = limits["chi"]
    you = circles.of({"k": at})["chi"]
    assert (low <= at <= high) == (lowest <= you <= highest) or min(abs(you - lowest), abs(you - highest)) < 1e-9
    assert limits["mu"] == (0.0, 0.0)
    assert "chi" not in circles.limits_of({})


@pytest.mark.parametrize(
    ("instrument", "given_", "said"),
    [
        ("general", {}, "those of instrument 'general' are not known"),
        ("34-ID-C", {"mu": TurnedBy(axis="theta")}, "says nothing of eta, chi, phi, nu, delta"),
        ("ID01", dict.fromkeys(CIRCLES, TurnedBy(axis="x")), "x turns two circles"),
    ],
)
def test_circles_that_are_none(instrument: str, given_: dict[Any, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        circles_of(instrument, given_)


def test_an_axis_that_nobody_tells_is_named() -> None:
    with pytest.raises(GeometryError, match="nobody says where gamma stand: expected theta, chi, phi, delta, gamma"):
        circles_of("34-ID-C", {}).of(dict.fromkeys(("theta", "chi", "phi", "delta"), 0.0))


def test_settings_tell_numbers_from_truth_and_words() -> None:
    told = OrientationSettings.model_validate(
        {"constraints": {"eta": 0, "a_eq_b": True, "phi": "present"}, "circles": {"mu": 0, "eta": {"axis": "th"}}}
    )
    assert [type(value) for value in told.constraints.values()] == [float, bool, str]
    assert told.circles == {"mu": 0.0, "eta": TurnedBy(axis="th")}


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"element": "Xx"}, "expected one of Au, Pt"),
        ({"element": "Au", "lattice": {"a_angstrom": 4.0}}, "expected one of both"),
        ({"constraints": {"psi": "present"}}, "psi has no present angle"),
        ({"circles": {"mu": {"axis": "th", "sign": 2}}}, "Input should be 1 or -1"),
        ({"circles": {"theta": 0.0}}, "Input should be 'mu'"),
    ],
)
def test_settings_that_are_none(given_: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        OrientationSettings.model_validate(given_)
