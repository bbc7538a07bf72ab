"""Forbidden zones: what a person may write, and whether a box of positions touches what was written."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.alignment.zones import Zone, parse_zone
from service.errors import SettingsError

halves = st.integers(-8, 8).map(lambda number: number / 2)
comparisons = st.sampled_from(["<", "<=", ">", ">="])


@st.composite
def inequalities(draw, least: int = 1, most: int = 3) -> str:
    """Up to `most` inequalities in three axes, with numbers that floats tell exactly."""
    rows = []
    for _ in range(draw(st.integers(least, most))):
        weights = draw(st.tuples(halves, halves, halves).filter(any))
        rows.append(
            "{}*delta - {}*gamma {} eta*{} + {}".format(*weights[:2], draw(comparisons), weights[2], draw(halves))
        )
    return " and ".join(rows)


@st.composite
def boxes(draw, axes: tuple[str, ...] = ("delta", "gamma", "eta")) -> dict[str, tuple[float, float]]:
    lows = {axis: draw(halves) for axis in axes}
    return {axis: (low, low + draw(st.integers(0, 12)) / 4) for axis, low in lows.items()}


def inside(text: str, box: dict[str, tuple[float, float]], points: int = 300) -> bool:
    """Whether Python finds one of many points of the box where the text holds; each edge belongs to the zone."""
    code = compile(text.replace(">=", ">").replace("<=", "<").replace(">", ">=").replace("<", "<="), "zone", "eval")
    lows, highs = np.array(list(box.values())).T
    drawn = np.random.default_rng(0).uniform(lows, highs, (points, len(box))).tolist()
    return any(eval(code, dict(zip(box, point, strict=True))) for point in [*drawn, *product(*box.values())])


@pytest.mark.parametrize(
    ("text", "axes", "weights", "bounds"),
    [
        ("delta <= 30", ("delta",), [[1]], [30]),
        ("delta > 30", ("delta",), [[-1]], [-30]),
        ("30 < delta", ("delta",), [[-1]], [-30]),
        ("-delta < -30", ("delta",), [[-1]], [-30]),
        ("delta > 30 and gamma + 0.5*delta > 40", ("delta", "gamma"), [[-1, 0], [-0.5, -1]], [-30, -40]),
        ("gamma*2 - 3 <= delta/4 + 1", ("delta", "gamma"), [[-0.25, 2]], [4]),
        ("2*(eta + 3*(x - 1))/4 <= 5", ("eta", "x"), [[0.5, 1.5]], [6.5]),
        ("0 < delta - gamma <= 5", ("delta", "gamma"), [[-1, 1], [1, -1]], [0, 5]),
        ("x < y < z < 1", ("x", "y", "z"), [[1, -1, 0], [0, 1, -1], [0, 0, 1]], [0, 0, 1]),
        ("-(eta - x) >= -(1 + 1)", ("eta", "x"), [[1, -1]], [2]),
        ("delta - delta + gamma < 1e-6", ("delta", "gamma"), [[0, 1]], [1e-6]),
    ],
)
def test_linear_inequalities_are_read(text, axes, weights, bounds) -> None:
    zone = parse_zone(text)
    assert (zone.text, zone.axes) == (text, axes)
    np.testing.assert_allclose(zone.weights, weights)
    np.testing.assert_allclose(zone.bounds, bounds)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("delta**2 > 30", "not linear"),
        ("delta % 2 > 1", "not linear"),
        ("delta*gamma > 30", "delta * gamma is not linear"),
        ("1/delta > 30", "1 / delta is not linear"),
        ("delta/gamma > 30", "not linear"),
        ("sin(delta) > 0.5", "sin(delta) is not linear"),
        ("delta.real > 1", "not linear"),
        ("delta[0] > 1", "not linear"),
        ("delta > '30'", "not linear"),
        ("delta > 1j", "not linear"),
        ("delta", "compares nothing"),
        ("delta + 30", "compares nothing"),
        ("delta > 30 or gamma > 40", "compares nothing"),
        ("not delta > 30", "compares nothing"),
        ("delta > 30 and gamma", "gamma compares nothing"),
        ("delta == 30", "no < or >"),
        ("delta != 30", "no < or >"),
        ("delta in gamma", "no < or >"),
        ("40 > 30", "names no axis"),
        ("delta > 30 > 20", "names no axis"),
        ("delta - delta > 30", "names no axis"),
        ("0*delta > 30", "names no axis"),
        ("delta/0 > 30", "division by zero"),
        ("delta > 1/(2 - 2)", "division by zero"),
        ("delta > True", "True is no number"),
        ("False*delta > 1", "False is no number"),
        ("delta >", "invalid syntax"),
        ("delta > 30 gamma > 40", "invalid syntax"),
        ("delta > 30; gamma > 40", "invalid syntax"),
        ("delta\n> 30", "invalid syntax"),
        ("", "invalid syntax"),
        ("delta > 1\0", "null bytes"),
        pytest.param(
            "(" * 300 + "delta" + ")" * 300 + " > 1", "too many nested parentheses", id="brackets in brackets"
        ),
        pytest.param("-" * 3000 + "delta > 1", "recursion", id="signs before signs"),
        pytest.param("delta" + " + delta" * 20000 + " > 1", "recursion", id="sums of sums"),
        pytest.param("-" * 100_000 + "delta > 1", "", id="deeper than the parser"),
        pytest.param("delta > " + "9" * 400, "", id="an integer no float holds"),
        ("1e400*delta > 0", ""),
        ("delta > 0*1e400", ""),
    ],
)
def test_anything_else_is_a_settings_error_of_one_line_with_an_example(text: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_zone(text)
    message = str(caught.value)
    assert said in message
    assert message.endswith("expected linear inequalities such as 'delta > 30 and gamma + 0.5*delta > 40'")
    assert "\n" not in message


@given(st.text(st.sampled_from("delta gamma<>=+-*/()0123.e and"), max_size=30) | st.text(max_size=30))
def test_whatever_is_written_is_a_zone_or_a_settings_error(text: str) -> None:
    with contextlib.suppress(SettingsError):
        assert parse_zone(text).axes


@given(inequalities(), boxes())
def test_a_box_with_a_point_in_the_zone_touches_it(text: str, box: dict[str, tuple[float, float]]) -> None:
    if inside(text, box):
        assert parse_zone(text).touched(box)


@given(inequalities(most=1), boxes())
def test_one_inequality_is_touched_just_where_a_corner_is_in_it(text: str, box: dict[str, tuple[float, float]]) -> None:
    assert parse_zone(text).touched(box) == inside(text, box, points=0)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(halves, halves, halves).filter(lambda row: any(row[:2])), min_size=2, max_size=4),
    boxes(("delta", "gamma")),
)
def test_several_inequalities_are_touched_just_where_one_point_is_in_all(
    rows: list[tuple[float, float, float]], box: dict[str, tuple[float, float]]
) -> None:
    zone = parse_zone(" and ".join(f"{a}*delta + {b}*gamma <= {c}" for a, b, c in rows))
    assert zone.touched(box) == met(rows, box)


def met(rows: list[tuple[float, float, float]], box: dict[str, tuple[float, float]]) -> bool:
    """Whether rows a delta + b gamma <= c have a point in common in the box: where two edges cross, in fractions."""
    (left, right), (low, high) = box["delta"], box["gamma"]
    edges = [(1, 0, right), (-1, 0, -left), (0, 1, high), (0, -1, -low), *rows]
    exact = [tuple(map(Fraction, edge)) for edge in edges]
    for (a, b, c), (d, e, f) in combinations(exact, 2):
        if across := a * e - b * d:
            x, y = (c * e - b * f) / across, (a * f - c * d) / across
            if all(u * x + v * y <= w for u, v, w in exact):
                return True
    return False


def test_a_way_between_two_corners_of_a_zone_touches_nothing() -> None:
    wedge = parse_zone("gamma > delta + 1 and gamma > 1 - delta")
    assert not wedge.touched({"delta": (-3.0, 3.0), "gamma": (-3.0, 0.9)})
    assert wedge.touched({"delta": (-3.0, 3.0), "gamma": (-3.0, 1.1)})
    assert not wedge.touched({"delta": (1.0, 3.0), "gamma": (-3.0, 1.9)})


def test_a_zone_that_lies_within_the_box_is_touched() -> None:
    assert parse_zone("0.4 < delta < 0.5").touched({"delta": (0.0, 1.0)})


def test_the_edge_belongs_to_the_zone() -> None:
    zone = parse_zone("delta > 30")
    assert zone.touched({"delta": (0.0, 30.0)})
    assert not zone.touched({"delta": (0.0, np.nextafter(30.0, 0.0))})


@pytest.mark.parametrize(
    ("text", "box", "touched"),
    [
        ("delta > 30", {}, True),
        ("delta > 30 and gamma > 40", {"gamma": (50.0, 50.0)}, True),
        ("delta > 30 and gamma > 40", {"gamma": (0.0, 39.0)}, False),
        ("delta + gamma > 40", {"gamma": (0.0, 1.0), "eta": (0.0, 0.0)}, True),
        ("delta + gamma > 40 and delta < 0", {"gamma": (0.0, 1.0)}, False),
        ("delta + gamma > 40 and delta < 0", {"delta": (-1.0, 1.0)}, True),
    ],
)
def test_an_axis_that_the_box_does_not_tell_may_be_anywhere(text, box, touched) -> None:
    assert parse_zone(text).touched(box) is touched


@pytest.mark.parametrize("text", ["delta > 30", "delta > 30 and gamma > 40"])
def test_an_axis_that_is_not_known_may_be_anywhere(text: str) -> None:
    assert parse_zone(text).touched({"delta": (np.nan, np.nan), "gamma": (50.0, 50.0)})


def test_small_weights_weigh_too() -> None:
    zone = parse_zone("x + 1e-10*counts > 1 and x < 0.5")
    assert zone.touched({"x": (0.4, 0.4), "counts": (0.0, 1e10)})


@given(inequalities(), boxes(), st.data())
def test_a_larger_box_touches_no_less(text: str, box: dict[str, tuple[float, float]], data: st.DataObject) -> None:
    zone: Zone = parse_zone(text)
    larger = {axis: (low - data.draw(st.floats(0, 1)), high) for axis, (low, high) in box.items()}
    assert zone.touched(larger) or not zone.touched(box)
    fewer = {axis: span for axis, span in box.items() if axis != "eta"}
    assert zone.touched(fewer) or not zone.touched(box)
