"""The geometry of a series: what the stream says, what the settings add, and what is but assumed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.bcdi.geometry import Geometry, momentum_transfer
from service.errors import SettingsError
from service.records import SeriesStart
from service.settings import parse_settings
from service.wire.messages import decode, encode
from service.worker.geometry import geometry_of, goniometer_positions
from tests.helpers.series import FIXED_DEG, bragg_peak, start_of

THETA = {"theta": np.linspace(0.2, 0.3, 9)}
FACTS = {"energy_kev": 9.0, "distance_m": 0.5, "pixel_size_m": 55e-6}
AT_ZERO = ("chi", "phi", "mu", "delta", "gamma")
# 34-ID-C in the words of a general instrument.
AXES = {
    "sample": [["theta", "y+"], ["chi", "z-"], ["phi", [0, 1, 0]]],
    "detector": [["delta", "y+"], ["gamma", "x-"]],
    "row": "y-",
    "column": [1.0, 0.0, 0.0],
}


def told(user: dict[str, Any] | None = None, header: dict[str, Any] | None = None, **geometry: Any) -> Geometry:
    """Geometry of a series whose start says `user` and `header`, with these settings."""
    start = start_of(bragg_peak(), user_data=user or {}, header=header or {})
    return geometry_of(start, THETA, parse_settings({"geometry": geometry}).geometry)


def test_a_general_instrument_needs_no_more_than_settings() -> None:
    settings = FACTS | {"angles_deg": FIXED_DEG, "rocking_axis": "th", "beam_center_px": (11.5, 13.5)}
    general = told(**settings, instrument="general", axes=AXES)
    known = told(**settings)
    assert general.rocking_axis == "theta"
    assert general.beam_center_px == (11.5, 13.5)
    assert not general.beam_center_assumed
    voxel = (4.0, 3.0, 20.0)
    np.testing.assert_allclose(momentum_transfer(general, voxel), momentum_transfer(known, voxel), atol=1e-12)


def test_the_stream_goes_before_the_settings() -> None:
    settings = FACTS | {"angles_deg": {"del": 1.0, "mu": 0.0}, "rocking_axis": "phi", "beam_center_px": (1, 2)}
    user = {"instrument": "34-ID-C", "positions": FIXED_DEG, "rocking_axis": "theta"}
    found = told(user, {"beam_center_x": 8.0, "beam_center_y": 7.0}, **settings, axes=AXES)
    assert found.beam_center_px == (7.0, 8.0)
    assert dict(found.angles_deg) == FIXED_DEG | {"mu": 0.0}
    assert (found.rocking_axis, found.axes) == ("theta", None)


def test_axes_that_a_detector_leaves_at_zero_give_way_to_what_is_known() -> None:
    """DECTRIS detectors announce every axis of their goniometer, at 0 where nobody set it."""
    unset = {name: {"start": 0.0, "increment": 0.0} for name in AT_ZERO}
    announced = {"theta": {"start": 0.2, "increment": 0.01}} | unset
    positions = goniometer_positions(announced, 9)
    assert list(positions) == ["theta"]
    start = start_of(bragg_peak(), user_data={"positions": {"phi": -5.0}}, header={"goniometer": announced})
    found = geometry_of(start, positions, parse_settings({"geometry": FACTS | {"angles_deg": {"chi": 90.0}}}).geometry)
    assert dict(found.angles_deg) == {"chi": 90.0, "phi": -5.0, "mu": 0.0, "delta": 0.0, "gamma": 0.0}


def test_a_beam_centre_that_is_but_assumed_goes_behind_the_settings() -> None:
    chip, assumed = {"beam_center_x": 130.0, "beam_center_y": 129.0}, {"beam_center_assumed": True}
    settings = FACTS | {"angles_deg": FIXED_DEG}
    only = told(assumed, chip, **settings)
    assert (only.beam_center_px, only.beam_center_assumed) == ((129.0, 130.0), True)
    measured = told(assumed, chip, **settings, beam_center_px=(120.0, 125.0))
    assert (measured.beam_center_px, measured.beam_center_assumed) == ((120.0, 125.0), False)
    unknown = told({}, {"beam_center_x": 0.0, "beam_center_y": 0.0}, **settings)
    assert (unknown.beam_center_px, unknown.beam_center_assumed) == (None, True)
    assert not told({}, chip, **settings).beam_center_assumed


@pytest.mark.parametrize(
    ("translation", "expected_m"),
    [
        ([0.0, 0.0, 0.75], 0.75),
        ([0.0, 0.0, -0.237], 0.237),
        ([0, 0, 2], 2),
        ([0.0, 0.0, 0.0], 0.5),
        (["a", "b", "c"], 0.5),
        ([0.1], 0.5),
        (3, 0.5),
    ],
)
def test_translation_of_a_detector_is_its_distance_where_it_is_set(translation: Any, expected_m: float) -> None:
    """As it comes over the wire; 0 is what a detector says that nobody told."""
    honest = start_of(bragg_peak())
    start = start_of(
        bragg_peak(),
        user_data={"positions": FIXED_DEG},
        header=dict(honest.header) | {"detector_translation": translation},
    )
    received = decode(encode(start))
    assert isinstance(received, SeriesStart)
    settings = parse_settings({"geometry": FACTS}).geometry
    assert geometry_of(received, THETA, settings).distance_m == expected_m
    nearer = start_of(
        bragg_peak(),
        user_data={"positions": FIXED_DEG, "distance_m": 0.4},
        header={"detector_translation": translation},
    )
    assert geometry_of(nearer, THETA, settings).distance_m == 0.4


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        (AXES | {"row": "up"}, "direction of row must be one of"),
        (AXES | {"row": "x+"}, "not perpendicular"),
        (AXES | {"sample": [["theta", "y+"], ["theta", "z-"]]}, "names a circle twice"),
        ({"sample": AXES["sample"]}, "geometry.axes.detector: Field required"),
        (AXES | {"rows": "y-"}, "geometry.axes.rows: no such setting"),
    ],
)
def test_axes_that_describe_no_instrument_are_refused_as_settings(axes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        parse_settings({"geometry": {"axes": axes}})
