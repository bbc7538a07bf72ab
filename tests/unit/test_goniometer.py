from __future__ import annotations

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.devices.goniometer import VirtualAxis
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
