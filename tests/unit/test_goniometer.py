from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.devices.goniometer import SLOWER, STEP_S, VirtualAxis
from service.devices.status import State
from service.errors import SettingsError
from service.settings import AxisSettings, parse_settings


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


THETA = AxisSettings(position=1.0, velocity=2.0, low_limit=-10.0, high_limit=10.0)


def axis() -> tuple[VirtualAxis, Clock]:
    clock = Clock()
    return VirtualAxis("theta", THETA, clock), clock


def test_a_move_takes_the_time_that_its_velocity_says() -> None:
    theta, clock = axis()
    theta.move(5.0)
    assert theta.moving
    assert theta.status.state is State.MOVING
    clock.now_s += 1.5
    assert theta.read() == pytest.approx(4.0)
    clock.now_s += 0.5
    assert not theta.moving
    assert theta.read() == 5.0
    assert theta.status.state is State.ON


def test_it_stands_where_the_settings_say() -> None:
    theta, clock = axis()
    clock.now_s += 1000.0
    assert (theta.read(), theta.moving, theta.name, theta.unit) == (1.0, False, "theta", "deg")
    assert "standing at 1 deg" in theta.status.message


def test_abort_stops_it_on_the_way() -> None:
    theta, clock = axis()
    theta.move(-7.0)
    clock.now_s += 2.0
    theta.abort()
    assert not theta.moving
    clock.now_s += 5.0
    assert theta.read() == pytest.approx(-3.0)
    assert theta.status.target == pytest.approx(-3.0)


def test_a_new_target_and_a_new_velocity_count_from_where_it_is() -> None:
    theta, clock = axis()
    theta.write("position", 9.0)
    clock.now_s += 1.0
    theta.write("velocity", 0.5)
    clock.now_s += 2.0
    assert theta.read() == pytest.approx(4.0)
    theta.move(3.0)
    clock.now_s += 1.0
    assert theta.read() == pytest.approx(3.5)
    assert theta.status.velocity == 0.5


@pytest.mark.parametrize("target", [10.001, -11.0, math.nan, math.inf])
def test_a_target_outside_the_limits_is_refused_and_nothing_moves(target: float) -> None:
    theta, _ = axis()
    with pytest.raises(SettingsError, match=r"outside -10\.0 to 10\.0 deg"):
        theta.move(target)
    assert not theta.moving


@pytest.mark.parametrize("velocity", [0.0, -1.0, math.nan, math.inf])
def test_a_velocity_must_be_above_zero(velocity: float) -> None:
    theta, _ = axis()
    with pytest.raises(SettingsError, match="above zero"):
        theta.set_velocity(velocity)


@given(
    targets=st.lists(st.floats(-10.0, 10.0), max_size=6),
    steps_s=st.lists(st.floats(0.0, 20.0), min_size=6, max_size=6),
)
def test_it_never_leaves_its_limits_nor_outruns_its_velocity(targets: list[float], steps_s: list[float]) -> None:
    theta, clock = axis()
    for target, step_s in zip(targets, steps_s, strict=False):
        before = theta.read()
        theta.move(target)
        clock.now_s += step_s
        assert -10.0 <= theta.read() <= 10.0
        assert abs(theta.read() - before) <= 2.0 * step_s + 1e-9
    clock.now_s += 20.0
    assert theta.read() == (targets[-1] if targets else 1.0)


def test_wait_wakes_at_a_move_and_ticks_while_moving() -> None:
    theta = VirtualAxis("theta", THETA)
    standing = theta.wait(None, 0.0)
    assert theta.wait(standing, 0.01) == standing
    threading.Timer(0.05, theta.move, (3.0,)).start()
    moving = theta.wait(standing, 5.0)
    assert moving.state is State.MOVING
    later = theta.wait(moving, 5.0)
    assert 1.0 < later.position < 3.0
    theta.abort()
    theta.close()


def test_a_beginning_outside_the_limits_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match=r"goniometer.axes.chi: .*position 90.0 is outside -10.0 to 10.0"):
        parse_settings({"goniometer": {"axes": {"chi": {"position": 90.0, "low_limit": -10, "high_limit": 10}}}})


def worn(backlash: float = 0.0, encoder_noise: float = 0.0, name: str = "theta") -> tuple[VirtualAxis, Clock]:
    clock = Clock()
    settings = THETA.model_copy(update={"backlash": backlash, "encoder_noise": encoder_noise})
    return VirtualAxis(name, settings, clock), clock


def sent(theta: VirtualAxis, clock: Clock, target: float) -> float:
    """Where the axis comes to a stand when it is sent to `target`."""
    theta.move(target)
    clock.now_s += 20.0 * SLOWER
    return theta.read()


def test_an_axis_with_play_lags_the_motor_by_half_of_it() -> None:
    theta, clock = worn(backlash=0.2)
    theta.move(5.0)
    clock.now_s += 0.04
    assert theta.read() == 1.0
    clock.now_s += 0.96
    assert theta.read() == pytest.approx(2.9)
    clock.now_s += 20.0
    assert (theta.read(), theta.moving, theta.status.target) == (pytest.approx(4.9), False, 5.0)


def test_a_reversal_loses_the_play() -> None:
    theta, clock = worn(backlash=0.2)
    assert sent(theta, clock, 5.0) == pytest.approx(4.9)
    assert sent(theta, clock, 4.81) == pytest.approx(4.9)
    assert sent(theta, clock, 4.7) == pytest.approx(4.8)
    assert sent(theta, clock, 4.6) == pytest.approx(4.7)
    assert sent(theta, clock, 4.79) == pytest.approx(4.7)


def test_a_target_from_the_same_side_is_reached_the_same() -> None:
    theta, clock = worn(backlash=0.5)
    sent(theta, clock, 0.0)
    first = sent(theta, clock, 3.0)
    sent(theta, clock, -2.0)
    assert sent(theta, clock, 3.0) == pytest.approx(first)


@given(
    play=st.floats(0.0, 1.0),
    targets=st.lists(st.floats(-10.0, 10.0), min_size=1, max_size=6),
    steps_s=st.lists(st.floats(0.0, 20.0), min_size=6, max_size=6),
)
def test_play_is_all_that_parts_axis_and_motor(play: float, targets: list[float], steps_s: list[float]) -> None:
    loose, clock = worn(backlash=play)
    tight, other = worn()
    for target, step_s in zip(targets, steps_s, strict=False):
        for theta, its in ((loose, clock), (tight, other)):
            theta.move(target)
            its.now_s += step_s
        assert abs(loose.read() - tight.read()) <= play / 2.0 + 1e-9


def test_all_who_read_within_one_tick_read_the_same() -> None:
    theta, clock = worn(encoder_noise=0.01)
    clock.now_s = 100.0 + 0.1 * STEP_S
    first = theta.read()
    clock.now_s = 100.0 + 0.9 * STEP_S
    assert theta.read() == theta.status.position == first
    clock.now_s = 100.0 + 1.1 * STEP_S
    assert theta.read() != first


def test_the_encoder_scatters_by_its_noise_around_where_the_axis_is() -> None:
    theta, clock = worn(encoder_noise=0.01)
    read = []
    for _ in range(4000):
        clock.now_s += STEP_S
        read.append(theta.read())
    assert theta.true_position() == 1.0
    assert np.mean(read) == pytest.approx(1.0, abs=4.0 * 0.01 / math.sqrt(4000))
    assert np.std(read) == pytest.approx(0.01, rel=0.05)
    assert abs(np.corrcoef(read[1:], read[:-1])[0, 1]) < 0.06


def test_two_encoders_do_not_err_together() -> None:
    theta, chi = (worn(encoder_noise=0.01, name=name)[0] for name in ("theta", "chi"))
    assert theta.read() != chi.read()


def test_without_a_failure_the_encoder_tells_where_the_axis_is() -> None:
    theta, clock = axis()
    theta.fail("none")
    theta.move(5.0)
    clock.now_s += 1.0
    assert theta.read() == theta.true_position() == pytest.approx(3.0)
    assert theta.status.failure == "none"


def test_a_stuck_axis_stays_and_says_so_while_its_motor_turns() -> None:
    theta, clock = axis()
    theta.write("failure", "stuck")
    theta.move(5.0)
    assert theta.moving
    clock.now_s += 3.0
    assert (theta.moving, theta.read(), theta.true_position()) == (False, 1.0, 1.0)
    assert (theta.status.failure, theta.status.target) == ("stuck", 5.0)


@pytest.mark.parametrize("mended", ["none", "lying", "slow"])
def test_a_mended_axis_is_homed_and_does_not_jump(mended: str) -> None:
    theta, clock = axis()
    theta.fail("stuck")
    sent(theta, clock, 5.0)
    theta.fail(mended)
    assert (theta.true_position(), theta.moving, theta.status.target) == (1.0, False, 1.0)
    clock.now_s += 100.0
    assert theta.true_position() == 1.0
    sent(theta, clock, 3.0)
    assert theta.true_position() == 3.0


def test_an_axis_that_sticks_on_its_way_stays_there() -> None:
    theta, clock = axis()
    theta.move(5.0)
    clock.now_s += 1.0
    theta.fail("stuck")
    clock.now_s += 5.0
    assert theta.read() == pytest.approx(3.0)
    theta.fail("none")
    clock.now_s += 5.0
    assert theta.read() == pytest.approx(3.0)


def test_a_lying_axis_moves_and_tells_where_it_was() -> None:
    theta, clock = axis()
    theta.move(5.0)
    clock.now_s += 1.0
    theta.fail("lying")
    clock.now_s += 5.0
    assert (theta.read(), theta.status.position) == (pytest.approx(3.0), pytest.approx(3.0))
    assert theta.true_position() == 5.0
    theta.fail("none")
    assert theta.read() == 5.0


def test_a_lying_encoder_has_no_noise_of_its_own() -> None:
    theta, clock = worn(encoder_noise=0.01)
    before = theta.read()
    theta.fail("lying")
    assert sent(theta, clock, 5.0) == before


def test_a_slow_axis_takes_longer_on_a_running_move_too() -> None:
    theta, clock = axis()
    theta.move(5.0)
    clock.now_s += 1.0
    theta.fail("slow")
    clock.now_s += 0.5 * SLOWER
    assert theta.read() == pytest.approx(4.0)
    assert theta.status.velocity == 2.0
    theta.fail("none")
    clock.now_s += 0.25
    assert theta.read() == pytest.approx(4.5)
    clock.now_s += 0.25
    assert (theta.read(), theta.moving) == (5.0, False)


@pytest.mark.parametrize("failure", ["broken", "", "Stuck", "stuck lying"])
def test_an_unknown_failure_is_a_settings_error_of_one_line(failure: str) -> None:
    theta, _ = axis()
    theta.fail("slow")
    with pytest.raises(SettingsError) as caught:
        theta.write("failure", failure)
    expected = f"theta: failure {failure!r} is unknown; choose one of none, stuck, lying, slow"
    assert str(caught.value) == expected
    assert theta.status.failure == "slow"


@given(
    play=st.floats(0.0, 1.0),
    orders=st.lists(st.sampled_from(["none", "stuck", "lying", "slow"]) | st.floats(-10.0, 10.0), max_size=8),
    step_s=st.floats(0.0, 3.0),
)
def test_no_failure_makes_an_axis_jump_or_leave_its_limits(
    play: float, orders: list[str | float], step_s: float
) -> None:
    theta, clock = worn(backlash=play)
    for order in orders:
        before = theta.true_position()
        theta.write("failure" if isinstance(order, str) else "position", order)
        assert theta.true_position() == pytest.approx(before, abs=1e-12)
        clock.now_s += step_s
        assert abs(theta.true_position() - before) <= 2.0 * step_s + 1e-9
        assert -10.0 <= theta.true_position() <= 10.0
