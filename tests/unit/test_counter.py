from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pytest

from models.simulate.goniometer import Drift, Goniometer
from service.adapters.tango import device_names, obeying
from service.adapters.twin_scene import BEAM_M, ROCKING_DEG, near, where_aligned
from service.compose import virtual_counter
from service.devices.counter import Counter
from service.devices.status import State
from service.errors import DeviceError, SettingsError
from service.settings import parse_settings

SEED = 3
AXES = {
    "x": {"unit": "m", "low_limit": -1e-4, "high_limit": 1e-4},
    "y": {"unit": "m", "low_limit": -1e-4, "high_limit": 1e-4},
    "eta": {"low_limit": -8.0, "high_limit": 8.0},
}


def mean(counter: Counter, times: int = 20) -> float:
    return float(np.mean([counter.count() for _ in range(times)]))


def test_counts_are_largest_where_the_crystal_is_aligned() -> None:
    goniometer = near(SEED).goniometer
    aligned = where_aligned(goniometer)
    here = dict(aligned)
    counter = Counter(goniometer, lambda: here, 0.1, SEED, clock_s=lambda: 0.0)
    best = mean(counter)
    assert best == pytest.approx(1e5 * 0.1, rel=0.01)
    widths = {"x": BEAM_M, "y": BEAM_M, "eta": ROCKING_DEG}
    for (axis, width), way in itertools.product(widths.items(), (-0.3, 0.3)):
        here.update(aligned)
        here[axis] += way * width
        assert mean(counter) < 0.9 * best, axis


def test_counts_are_poisson_draws_of_the_exposure_and_repeat_by_seed() -> None:
    first, second = (Counter(Goniometer(), dict, 0.01, 5) for _ in range(2))
    drawn = [first.count() for _ in range(300)]
    assert drawn == [second.count() for _ in range(300)]
    assert np.mean(drawn) == pytest.approx(1000.0, rel=0.01)
    assert np.var(drawn) == pytest.approx(1000.0, rel=0.3)
    first.write("exposure_s", 0.1)
    assert mean(first) == pytest.approx(1e4, rel=0.01)


def test_drifts_begin_with_the_counter() -> None:
    clock = iter((100.0, 100.0, 200.0))
    drifting = Goniometer(drifts={"x": Drift(rate=10.0 * BEAM_M / 100.0)})
    counter = Counter(drifting, dict, 1.0, 0, clock_s=lambda: next(clock))
    assert counter.count() == pytest.approx(1e5, rel=0.02)
    assert counter.count() < 1e3


@pytest.mark.parametrize("exposure_s", [0.0, -1.0, float("nan"), 1e9])
def test_an_impossible_exposure_is_refused(exposure_s: float) -> None:
    counter = Counter(Goniometer(), dict, 0.1, 0)
    with pytest.raises(SettingsError, match="expected exposure_s from"):
        counter.write("exposure_s", exposure_s)
    assert counter.status.exposure_s == 0.1


def test_an_axis_that_does_not_answer_is_an_alarm_until_it_does() -> None:
    def positions() -> Mapping[str, float]:
        if broken:
            raise DeviceError("x does not answer")
        return {}

    broken = True
    counter = Counter(Goniometer(), positions, 0.1, 0)
    with pytest.raises(DeviceError, match="x does not answer"):
        counter.count()
    assert (counter.status.state, counter.status.message) == (State.ALARM, "x does not answer")
    assert np.isnan(counter.status.counts)
    counter.reset()
    assert counter.status.state is State.ON
    broken = False
    assert counter.count() == counter.status.counts


def test_a_server_has_a_counter_where_its_axes_are() -> None:
    with_axes = parse_settings({"goniometer": {"axes": AXES}})
    named = parse_settings({"counter": {"axes": {axis: f"id01/motor/{axis}" for axis in AXES}}})
    without = parse_settings({"goniometer": {"axes": {"x": AXES["x"]}}})
    assert (
        device_names(with_axes)["VirtualCounter"] == device_names(named)["VirtualCounter"] == ("braggloop/counter/1",)
    )
    assert device_names(without)["VirtualCounter"] == device_names(parse_settings({}))["VirtualCounter"] == ()
    followed = obeying(with_axes, {"x": "a/b/x", "theta": "a/b/theta"})
    assert followed.counter.axes == {"x": "a/b/x", "theta": "a/b/theta"}
    with pytest.raises(SettingsError, match=r"counter\.axes lacks eta, y"):
        virtual_counter(followed)
    assert obeying(named, {"x": "a/b/x"}).counter == named.counter
    with pytest.raises(SettingsError, match=r"counter\.axes\.theta"):
        parse_settings({"counter": {"axes": {"theta": "a/b/theta"}}})
