"""The guard: every rule says its name and both numbers, and nothing that it lets pass breaks a rule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.alignment.guard import AxisLimits, Known, Limits, disagreement, earliest_s, next_leg, refusal
from service.alignment.zones import parse_zone

LIMITS = Limits(
    axes={
        "eta": AxisLimits(low=-10, high=10, largest_step=1, largest_rate=0.5, largest_travel=3, disagreement=0.01),
        "x": AxisLimits(low=-2, high=2, largest_step=4),
    },
    zones=(parse_zone("eta > 5 and x > 1"),),
    stale_s=10,
    heartbeat_s=5,
)
ANY = st.floats() | st.integers(-10, 10).map(float)
AXES = ("eta", "x", "chi")
PLACES = st.dictionaries(st.sampled_from(AXES), ANY)


def known(eta: float = 0.0, x: float = 0.0, **other) -> Known:
    """An armed loop with a fresh result, whose axes have stood for long."""
    now = {"now_s": 100.0, "armed_until_s": 200.0, "result_s": 99.0, "heartbeat_s": 99.0}
    stood = {"positions": {"eta": eta, "x": x}, "moved_s": {"eta": 0.0, "x": 0.0}}
    return Known(**{**now, **stood, **other})


def test_a_move_within_everything_passes() -> None:
    assert refusal(LIMITS, known(), {"eta": 0.5, "x": 0.1}) is None
    assert refusal(LIMITS, known(), {}) is None


@pytest.mark.parametrize(
    ("rule", "passes", "refused", "got", "allowed"),
    [
        ("arming", (known(armed_until_s=100.01), {"eta": 1}), (known(armed_until_s=98.0), {"eta": 1}), "2 s", "0 s"),
        ("soft limit", (known(eta=9.5), {"eta": 10}), (known(eta=9.5), {"eta": 10.001}), "10.001", "-10 to 10"),
        ("soft limit", (known(x=-1.5), {"x": -2}), (known(x=-1.5), {"x": -2.001}), "-2.001", "-2 to 2"),
        ("largest step", (known(), {"eta": 1}), (known(), {"eta": -1.001}), "1.001", "1"),
        (
            "largest rate",
            (known(moved_s={"eta": 98.0}), {"eta": 1}),
            (known(moved_s={"eta": 98.01}), {"eta": 1}),
            "1 in 1.99 s",
            "0.5 a second",
        ),
        (
            "largest travel",
            (known(travelled={"eta": 2.0}), {"eta": -1}),
            (known(travelled={"eta": 2.001}), {"eta": -1}),
            "3.001 since arming",
            "3",
        ),
        (
            "forbidden zone",
            (known(eta=4.5, x=2), {"eta": 4.999}),
            (known(eta=4.5, x=2), {"eta": 5.001}),
            "eta 4.5 to 5.001, x 2 to 2",
            "nothing in eta > 5 and x > 1",
        ),
        ("staleness", (known(result_s=90.0), {"eta": 1}), (known(result_s=89.5), {"eta": 1}), "10.5 s old", "10 s"),
        ("heartbeat", (known(heartbeat_s=95.0), {"x": 1}), (known(heartbeat_s=94.5), {"x": 1}), "5.5 s", "5 s"),
        ("beam", (known(beam=True), {"x": 1}), (known(beam=False), {"x": 1}), "no beam", "moves with beam alone"),
        ("shutter", (known(shutter=True), {"x": 1}), (known(shutter=False), {"x": 1}), "closed", "shutter open"),
    ],
)
def test_a_rule_refuses_with_both_numbers_and_lets_pass_just_inside(rule, passes, refused, got, allowed) -> None:
    assert refusal(LIMITS, *passes) is None
    found = refusal(LIMITS, *refused)
    assert found is not None
    assert found.rule == rule
    assert got in found.got
    assert allowed in found.allowed
    assert str(found) == f"{rule}{f' of {found.axis}' if found.axis else ''}: {found.got}, allowed {found.allowed}"


def test_nothing_moves_before_arming_nor_at_the_moment_it_ends() -> None:
    found = refusal(LIMITS, known(armed_until_s=None), {"eta": 0.5})
    assert str(found) == "arming: not armed, allowed moves after Arm alone"
    assert refusal(LIMITS, known(armed_until_s=100.0), {"eta": 0.5}).rule == "arming"
    assert refusal(LIMITS, known(armed_until_s=math.nan), {"eta": 0.5}).rule == "arming"
    assert refusal(LIMITS, known(armed_until_s=None, beam=False), {"chi": math.nan}).rule == "arming"


@pytest.mark.parametrize("target", [math.nan, math.inf, -math.inf])
def test_a_target_must_be_a_number(target: float) -> None:
    found = refusal(LIMITS, known(), {"x": 0.0, "eta": target})
    assert str(found) == f"target of eta: {target}, allowed a finite number"


@pytest.mark.parametrize("axis", ["chi", "", "Eta"])
def test_an_axis_that_was_not_configured_is_not_moved(axis: str) -> None:
    found = refusal(LIMITS, known(), {axis: 0.0})
    assert (found.rule, found.axis, found.allowed) == ("axes", axis, "eta, x")


@pytest.mark.parametrize("positions", [{"x": 0.0}, {"eta": math.nan, "x": 0.0}, {"eta": math.inf, "x": 0.0}])
def test_an_axis_without_read_back_is_not_moved(positions: dict[str, float]) -> None:
    found = refusal(LIMITS, known(positions=positions), {"eta": 0.0})
    assert (found.rule, found.axis, found.allowed) == ("read-back", "eta", "a finite number")


def test_a_move_that_rests_on_no_result_is_never_stale() -> None:
    assert refusal(LIMITS, known(result_s=None), {"eta": 0.5}) is None
    assert refusal(LIMITS, known(result_s=math.nan), {"eta": 0.5}).rule == "staleness"


def test_rates_count_from_arming_when_nothing_is_told_of_a_move() -> None:
    assert refusal(LIMITS, known(moved_s={}), {"eta": 0.001}).rule == "largest rate"
    assert refusal(LIMITS, known(moved_s={}), {"x": 1.0}) is None


def test_a_zone_on_the_way_is_not_crossed_though_the_end_lies_outside() -> None:
    limits = replace(LIMITS, zones=(parse_zone("0.4 < eta < 0.6 and x < 1"),))
    assert refusal(limits, known(), {"eta": 0.9}).rule == "forbidden zone"
    assert refusal(limits, known(x=2), {"eta": 0.9}) is None
    assert refusal(limits, known(), {"eta": 0.9, "x": 2}).rule == "forbidden zone"


def test_an_axis_may_stand_where_it_was_sent_or_where_it_says() -> None:
    lying = known(eta=4.0, x=2.0, setpoints={"eta": 6.0, "x": 2.0})
    assert refusal(LIMITS, lying, {"eta": 4.5}).rule == "forbidden zone"
    assert refusal(LIMITS, replace(lying, setpoints={"eta": 4.1}), {"eta": 4.5}) is None


def test_an_axis_that_no_one_reads_may_be_in_any_zone() -> None:
    assert refusal(LIMITS, known(positions={"eta": 4.5}), {"eta": 5.1}).rule == "forbidden zone"
    assert refusal(LIMITS, known(positions={"eta": 4.5}), {"eta": 4.9}) is None


@pytest.mark.parametrize("told", [{"positions": {"eta": 4.5, "x": math.nan}}, {"setpoints": {"x": math.nan}}])
def test_an_axis_that_tells_no_number_may_be_in_any_zone(told: dict[str, Mapping[str, float]]) -> None:
    limits = replace(LIMITS, zones=(parse_zone("eta > 0 and x > 1"),))
    assert refusal(limits, known(**{"eta": 4.5, **told}), {"eta": 5.1}) is not None


def test_a_sign_of_life_at_no_known_time_is_none() -> None:
    assert refusal(LIMITS, known(heartbeat_s=math.nan), {"eta": 0.5}) is not None


@st.composite
def sensible_limits(draw) -> Limits:
    above = st.floats(1e-3, 1e3) | st.just(math.inf)
    axes = {
        axis: AxisLimits(
            low=draw(st.floats(-1e3, 0)), high=draw(st.floats(0, 1e3)), largest_step=draw(st.floats(1e-3, 1e3)),
            largest_rate=draw(above), largest_travel=draw(above), disagreement=draw(above),
        )
        for axis in AXES[:2]
    }  # fmt: skip
    zones = ("eta > 5 and x > 1", "eta + x > 7", "-1 < x - eta < 1 and eta > 3 and chi < 0")
    chosen = draw(st.lists(st.sampled_from(zones), max_size=2))
    return Limits(axes=axes, zones=tuple(map(parse_zone, chosen)), stale_s=draw(above), heartbeat_s=draw(above))


anything_known = st.builds(
    Known, now_s=ANY, armed_until_s=st.none() | ANY | st.just(1e300), positions=PLACES, setpoints=PLACES,
    travelled=PLACES, moved_s=PLACES, result_s=st.none() | ANY, beam=st.booleans(), shutter=st.booleans(),
    heartbeat_s=ANY,
)  # fmt: skip


@settings(max_examples=300)
@given(sensible_limits(), anything_known, PLACES, st.booleans())
def test_it_answers_whatever_comes_in(limits: Limits, told: Known, targets: dict[str, float], ready: bool) -> None:
    """`ready`: nothing but places can be odd, so that the rules about places are asked."""
    if ready:
        told = replace(told, now_s=0.0, armed_until_s=1.0, beam=True, shutter=True, heartbeat_s=0.0, result_s=0.0)
    found = refusal(limits, told, targets)
    assert found is None or (found.rule and found.allowed)
    assert "\n" not in str(found)


@st.composite
def short_moves(draw) -> tuple[Known, dict[str, float]]:
    """A move within steps and rates, or a little beyond, of an armed loop that stands anywhere."""
    at = {"eta": draw(st.floats(-10.2, 10.2)), "x": draw(st.floats(-2.1, 2.1))}
    moved_s = {axis: draw(st.floats(90, 100)) for axis in at}
    sent = {axis: place + draw(st.sampled_from([0.0, 0.0, 0.5, 2.0])) for axis, place in at.items()}
    told = known(positions=at, setpoints=sent, moved_s=moved_s, travelled={"eta": draw(st.floats(0, 3))})
    ways = {"eta": draw(st.floats(-1.2, 1.2)), "x": draw(st.floats(-2, 2))}
    chosen = draw(st.sets(st.sampled_from(["eta", "x"]), min_size=1))
    return told, {axis: at[axis] + ways[axis] for axis in sorted(chosen)}


@settings(max_examples=400)
@given(short_moves())
def test_what_passes_breaks_no_rule(move: tuple[Known, dict[str, float]]) -> None:
    told, targets = move
    if refusal(LIMITS, told, targets) is not None:
        return
    for axis, to in targets.items():
        most, way, since_s = LIMITS.axes[axis], abs(to - told.positions[axis]), 100.0 - told.moved_s[axis]
        assert most.low <= to <= most.high
        assert way <= most.largest_step * 1.000001
        assert way / most.largest_rate <= since_s * 1.000001
        assert told.travelled.get(axis, 0.0) + way <= most.largest_travel
    corners = [told.positions, told.setpoints, {**told.positions, **targets}]
    for share in np.random.default_rng(0).uniform(size=(100, 2, 3)):
        shares = dict(zip(("eta", "x"), share / share.sum(axis=1, keepdims=True), strict=True))
        eta, x = (sum(w * c[axis] for w, c in zip(shares[axis], corners, strict=True)) for axis in ("eta", "x"))
        assert not (eta > 5 and x > 1)


steps = st.floats(0.05, 50.0)
ways = st.floats(-100.0, 100.0)


@given(st.tuples(ways, ways), st.tuples(ways, ways), st.tuples(steps, steps))
def test_legs_of_largest_steps_lead_straight_to_the_target(start, end, largest) -> None:
    limits = Limits(
        axes={
            axis: AxisLimits(low=-100, high=100, largest_step=step)
            for axis, step in zip(("eta", "x"), largest, strict=True)
        }
    )
    at, targets = dict(zip(("eta", "x"), start, strict=True)), dict(zip(("eta", "x"), end, strict=True))
    way = np.subtract(end, start)
    expected = max(1, math.ceil(np.abs(way / largest).max() - 1e-6))
    for _ in range(expected + 1):
        leg = next_leg(limits, at, targets)
        assert all(abs(leg[axis] - at[axis]) <= limits.axes[axis].largest_step * 1.000000001 for axis in at)
        off = np.subtract([leg["eta"], leg["x"]], start)
        assert off[0] * way[1] == pytest.approx(off[1] * way[0], abs=1e-8)
        at = leg
        if at == targets:
            break
    assert at == targets


def test_a_leg_moves_only_the_axes_that_were_asked_for() -> None:
    assert next_leg(LIMITS, {"eta": 0.0, "x": 1.0}, {"eta": 4.0}) == {"eta": 1.0}
    assert next_leg(LIMITS, {"eta": 0.0, "x": 1.0}, {"x": 1.0}) == {"x": 1.0}
    assert next_leg(LIMITS, {"eta": 0.0, "x": 1.0}, {}) == {}


@pytest.mark.parametrize(
    "largest",
    [1.0, 1e-3, 1e-6],
)
def test_no_leg_is_refused_for_the_last_digits(largest: float) -> None:
    limits = Limits(axes={"eta": AxisLimits(low=-180, high=180, largest_step=largest)})
    for at in np.random.default_rng(0).uniform(-90, 90, 100).tolist():
        told = known(positions={"eta": at})
        assert refusal(limits, told, next_leg(limits, told.positions, {"eta": at + 50.0})) is None


@given(st.floats(1e-3, 10), st.floats(-5, 5), st.floats(0, 1e3), st.floats(0, 100))
def test_rates_allow_a_move_from_the_earliest_time_on(rate: float, way: float, moved_s: float, since_s: float) -> None:
    limits = Limits(axes={"eta": AxisLimits(low=-10, high=10, largest_step=10, largest_rate=rate)})
    told = known(moved_s={"eta": moved_s}, now_s=moved_s + since_s, armed_until_s=math.inf)
    ready_s = earliest_s(limits, told, {"eta": way})
    assert ready_s == pytest.approx(moved_s + abs(way) / rate)
    assert refusal(limits, replace(told, now_s=ready_s + 1e-6), {"eta": way}) is None
    if abs(way) / rate > 1e-3:
        assert refusal(limits, replace(told, now_s=ready_s - 1e-4), {"eta": way}).rule == "largest rate"


@pytest.mark.parametrize(
    "moved_s",
    [0.0, 1.7e9],
)
def test_the_earliest_time_is_not_refused_for_the_last_digits(moved_s: float) -> None:
    limits = Limits(axes={"eta": AxisLimits(low=-10, high=10, largest_step=10, largest_rate=0.7)})
    told = known(moved_s={"eta": moved_s}, armed_until_s=math.inf)
    for way in np.random.default_rng(0).uniform(0, 1, 100).tolist():
        ready_s = earliest_s(limits, told, {"eta": way})
        assert refusal(limits, replace(told, now_s=ready_s, result_s=None), {"eta": way}) is None


def test_the_slowest_axis_says_when_all_may_move() -> None:
    told = known(moved_s={"eta": 99.0, "x": 98.0})
    assert earliest_s(LIMITS, told, {"x": 2.0}) == 98.0
    assert earliest_s(LIMITS, told, {"eta": 1.0, "x": 2.0}) == 101.0
    assert earliest_s(LIMITS, known(moved_s={}), {"eta": 1.0}) == 102.0
    assert earliest_s(LIMITS, told, {"chi": 1.0}) == earliest_s(LIMITS, told, {}) == 100.0


def test_a_read_back_off_the_setpoint_disagrees() -> None:
    setpoints = {"x": 1.0, "eta": 2.0}
    assert disagreement(LIMITS, setpoints, {"eta": 2.0099, "x": 77.0}) is None
    assert disagreement(LIMITS, {}, {"eta": 2.0}) is None
    found = disagreement(LIMITS, setpoints, {"eta": 1.98, "x": 1.0})
    assert (found.rule, found.axis) == ("disagreement", "eta")
    assert found.got == "0.02 between setpoint 2 and read-back 1.98"
    assert found.allowed == "0.01"


@pytest.mark.parametrize("positions", [{}, {"eta": math.nan}, {"eta": math.inf}])
def test_an_axis_that_tells_no_number_disagrees(positions: dict[str, float]) -> None:
    assert disagreement(LIMITS, {"eta": 2.0}, positions).rule == "disagreement"
