"""What an alignment drives up: terms of several measures, averaged over readings, never a wrong number."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.alignment.methods.choose import chosen
from service.alignment.objective import Averaged, averaged, combined, distance, off_centre, region_sum, score
from service.alignment.plan import AlignmentSettings
from service.alignment.term import Term
from service.errors import SettingsError
from service.records import Measured
from service.results.alignment_picture import write_alignment
from service.settings import parse_section

FINITE = st.floats(-1e6, 1e6)


def term(**how: Any) -> Term:
    return parse_section(Term, {"attribute": "a", **how})


def test_a_region_is_summed_without_pixels_that_do_not_count() -> None:
    frame = np.arange(20, dtype=np.uint16).reshape(4, 5)
    frame[1, 1] = 65535
    assert region_sum(frame, (1, 3, 1, 3)) == 7 + 11 + 12
    assert math.isnan(region_sum(frame, (1, 2, 1, 2)))
    with pytest.raises(ValueError, match=r"region \[0, 5, 0, 5\] is not within an image of shape \(4, 5\)"):
        region_sum(frame, (0, 5, 0, 5))


def test_how_far_a_spot_is_off() -> None:
    frame = np.zeros((60, 80), dtype=np.uint32)
    frame[29:32, 39:42] = 50
    assert off_centre(frame, (27.0, 44.0)) == pytest.approx(5.0)
    read = {"a": frame}
    whole = score({"spot": term(measure="centring", target=(27.0, 44.0), scale=5.0)}, read)
    part = score({"spot": term(measure="centring", target=(27.0, 44.0), scale=5.0, region=(10, 50, 20, 60))}, read)
    assert whole == pytest.approx(-1.0)
    assert part == pytest.approx(whole)


@given(st.lists(FINITE, min_size=1, max_size=8), st.floats(0.1, 10.0))
def test_a_distance_is_none_at_the_target_and_grows_in_its_scale(target: list[float], scale: float) -> None:
    assert distance(target, target, scale) == 0.0
    aside = [target[0] + 3.0 * scale, *target[1:]]
    assert distance(aside, target, scale) == pytest.approx(3.0, abs=1e-3)


def test_terms_are_weighed_and_added() -> None:
    terms = {
        "sum": term(measure="region", region=(0, 2, 0, 2), scale=10.0),
        "chi": term(attribute="b", weight=-2.0, scale=0.5),
        "latent": term(attribute="c", measure="distance", target=(1.0, 2.0), scale=2.0),
        "rocking": term(attribute="d", measure="width", positions="e", scale=0.1),
    }
    read = {
        "a": np.full((2, 2), 5, dtype=np.int32),
        "b": 0.25,
        "c": np.array([1.0, 6.0]),
        "d": np.array([0.0, 0.0, 10.0, 0.0, 0.0]),
        "e": np.array([0.0, 0.1, 0.2, 0.3, 0.4]),
    }
    assert score(terms, read) == pytest.approx(2.0 - 1.0 - 4.0 - 1.0)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"measure": "region", "region": (0, 1, 0, 1)},
        {"measure": "centring", "target": (0.0, 0.0)},
        {"measure": "visibility", "region": (0, 1, 0, 1), "spacing_px": 4.0},
        {"measure": "width"},
        {"measure": "width", "attribute": "b", "positions": "a"},
        {"measure": "distance", "target": (0.0,)},
    ],
    ids=str,
)
def test_an_attribute_without_a_value_is_no_number(how: dict[str, Any]) -> None:
    terms = {"good": term(attribute="b"), "bad": term(**how)}
    assert math.isnan(score({"bad": terms["bad"]}, {"a": None, "b": np.arange(9.0)}))
    assert math.isnan(combined({"bad": terms["bad"]}, [{"a": None, "b": np.arange(9.0)}] * 5, 3.0).value)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_one_term_that_is_none_makes_all_none(wrong: float) -> None:
    assert math.isnan(score({"x": term(), "y": term(attribute="b")}, {"a": 1.0, "b": wrong}))


@pytest.mark.parametrize(
    ("how", "value", "said"),
    [
        ({}, np.zeros(3), r"objective name: got shape \(3,\), expected a number"),
        ({"measure": "region", "region": (0, 1, 0, 9)}, np.zeros((2, 2)), "objective name: region .* is not within"),
        ({"measure": "distance", "target": (0.0,)}, np.zeros(3), r"objective name: .* expected \(1,\)"),
        ({"measure": "centring", "target": (0.0, 0.0)}, 3.0, "objective name: got float64 of shape"),
    ],
)
def test_what_is_of_another_kind_is_told_by_name(how: dict[str, Any], value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        score({"name": term(**how)}, {"a": value})


@given(st.lists(FINITE, min_size=1, max_size=20), st.floats(2.0, 10.0), st.booleans())
def test_a_mean_lies_among_the_readings_and_most_are_kept(values: list[float], outliers: float, counts: bool) -> None:
    found = averaged(values, outliers, counts)
    assert min(values) - 1e-6 <= found.value <= max(values) + 1e-6
    assert 2 * found.left_out < len(values)
    assert len(values) >= 5 or found.left_out == 0
    assert averaged([*values, math.nan], outliers, counts).left_out == 0
    assert math.isnan(averaged([*values, math.nan], outliers, counts).value)


def test_one_wild_reading_is_left_out_and_told() -> None:
    assert averaged([10.0, 11.0, 9.0, 10.0, 500.0], 5.0) == Averaged(10.0, 1)
    assert averaged([10.0, 11.0, 9.0, 10.0, 500.0]) == Averaged(108.0, 0)
    assert averaged([0.0, 0.0, 0.0, 0.0, 2.0], 5.0, counts=True) == Averaged(0.4, 0)
    assert averaged([0.0, 0.0, 0.0, 0.0, 20.0], 5.0, counts=True) == Averaged(0.0, 1)
    # Where most are alike their deviation, 0, tells nothing of the others.
    assert averaged([3.0, 3.0, 3.0, 3.0, 4.0], 5.0) == Averaged(3.2, 0)
    assert averaged([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 3.0, 2.0], 5.0) == Averaged(0.6, 0)


@pytest.mark.parametrize("mean", [0.1, 0.5, 1.0, 3.0, 100.0])
def test_the_mean_of_counts_is_not_drawn_by_the_rule(mean: float) -> None:
    random = np.random.default_rng(6)
    points = random.poisson(mean, (3000, 5))
    found = [averaged(readings, 5.0, counts=True) for readings in points]
    assert np.mean([each.value for each in found]) == pytest.approx(points.mean(), rel=0.01)
    assert sum(each.left_out for each in found) < 0.02 * 5 * len(found)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"measure": "region"}, "measure region needs region"),
        ({"measure": "visibility", "region": (0, 9, 0, 9)}, "measure visibility needs spacing_px"),
        ({"target": (1.0,)}, "measure value has no use for target"),
        ({"measure": "centring", "target": (1.0,)}, "target has 1 numbers, expected 2"),
        ({"measure": "region", "region": (3, 3, 0, 1)}, "expected rows"),
        ({"measure": "centring", "target": (1.0, 1.0), "weight": 1.0}, "would drive away from the target"),
        ({"weight": 0.0}, "expected a number other than 0"),
        ({"weight": math.nan}, "expected a number other than 0"),
        ({"scale": 0.0}, "scale"),
    ],
)
def test_a_term_that_makes_no_sense_is_refused(how: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        term(**how)


@pytest.mark.parametrize("values", [(), (0.0, 0.0), (3.0, 900.0), (-4.0, -1.0), (-4.0, 0.0, 5.0)], ids=str)
def test_values_of_any_sign_have_a_picture(values: tuple[float, ...], tmp_path: Path) -> None:
    measured = [Measured(value=value, positions={"x": 0.1 * value}) for value in values]
    assert write_alignment(measured, "aligned", tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


AXIS = {"low": -1.0, "high": 1.0, "width": 0.5, "tolerance": 0.01, "largest_step": 1.0}
SUM = {"attribute": "a/b/c/image", "measure": "region", "region": (0, 9, 0, 9)}
SHARP = {"attribute": "a/b/c/sharpness"}


def asked(**changes: Any) -> AlignmentSettings:
    return parse_section(AlignmentSettings, {"axes": {"x": AXIS}, "devices": {"x": "a/motor/x"}, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "value says nothing"),
        ({"value": "a/b/c/d", "objective": {"sum": SUM}}, "value and objective both say"),
        ({"objective": {"sharp": SHARP}}, "method peak is of counts, and what is driven up is not: choose paraboloid"),
        ({"objective": {"sum": SUM, "sharp": SHARP}}, "method peak is of counts"),
        ({"objective": {"sum": {**SUM, "scale": 10.0}}}, "method peak is of counts"),
        ({"value": "a/b/c/d", "counts": False, "method": "sweep"}, "method sweep is of counts"),
        (
            {"value": "a/b/c/d", "fresh": "a/b/c/e", "value_s": 60.0},
            "dead_man_s is 15, expected more than a point may take, 60.1 s",
        ),
        ({"value": "a/b/c/d", "readings": 4, "outliers": 5.0}, "outliers among 4 readings: expected 5"),
    ],
)
def test_settings_that_do_not_fit_are_told_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as refused:
        asked(**changes)
    assert "\n" not in str(refused.value)


def test_counts_of_a_region_keep_the_fit_of_a_peak() -> None:
    assert asked(objective={"sum": SUM}).plan().counts
    assert asked(value="a/b/c/d").plan().counts
    assert not asked(objective={"sharp": SHARP}, method="golden").plan().counts


@pytest.mark.parametrize("method", ["parabola", "paraboloid", "golden", "scan", "seeking"])
@pytest.mark.parametrize("level", [-1e4, 0.0])
def test_numbers_of_any_sign_are_driven_up(method: str, level: float) -> None:
    axes = {"x": {**AXIS, "low": -3.0, "high": 3.0}}
    plan = asked(objective={"sharp": SHARP}, method=method, axes=axes).plan()
    way, random = chosen(plan, np.array([0.4])), np.random.default_rng(7)
    for number in range(400):
        point = way.ask()
        if point is None:
            break
        way.tell(point, level - 100.0 * float(point[0] - 0.1) ** 2 + random.normal(0.0, 0.05), float(number))
    assert way.best()[0] == pytest.approx(0.1, abs=0.1 if method == "seeking" else 0.05)
