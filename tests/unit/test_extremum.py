"""Bounded extremum seeking: it finds, it follows, and it never leaves its bounds."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.extremum import Seeking, State, Vector, init, propose, settled, swing, update

Cost = Callable[[Vector, int], float]


def sought(seeking: Seeking, start: Vector, cost: Cost, measurements: int) -> State:
    state = init(seeking, start)
    for step in range(measurements):
        state = update(seeking, state, cost(propose(seeking, state), step))
    return state


def bowl(optimum: Vector, steepness: Vector) -> Cost:
    return lambda place, step: float((steepness * (place - optimum) ** 2).sum())


@pytest.mark.parametrize(("count", "measurements"), [(1, 300), (2, 400), (6, 1200), (30, 6000)])
def test_the_optimum_is_found(count: int, measurements: int) -> None:
    random = np.random.default_rng(count)
    optimum, steepness = random.uniform(-0.5, 0.5, count), 10.0 ** random.uniform(-0.5, 0.5, count)
    seeking = Seeking(low=-np.ones(count), high=np.ones(count), swing=0.02)
    start = np.clip(optimum + 0.3 * random.choice([-1.0, 1.0], count), -1.0, 1.0)
    cost = bowl(optimum, steepness)
    state = sought(seeking, start, cost, measurements)
    assert np.abs(settled(seeking, state) - optimum).max() < 0.02
    assert state.best is not None
    assert cost(state.best, 0) == state.best_cost < 1e-3 * cost(start, 0)


def test_curvature_does_not_pose_as_slope() -> None:
    """Coupled parameters whose frequencies, were they even, would be sums and differences of each other."""
    for seed in range(3):
        random = np.random.default_rng(seed)
        mixed = random.normal(size=(7, 7))
        hessian = mixed @ mixed.T / 7.0 + np.eye(7)
        seeking = Seeking(low=-np.ones(7), high=np.ones(7), swing=0.02)
        state = sought(seeking, np.full(7, 0.2), lambda place, step, h=hessian: float(place @ h @ place), 2100)  # type: ignore[misc]
        assert np.abs(settled(seeking, state)).max() < 0.03


@pytest.mark.parametrize("odd", [10.0, 1e6, 1e160, -1e6])
def test_one_odd_measurement_does_no_lasting_harm(odd: float) -> None:
    cost = bowl(np.array([0.2, -0.4]), np.ones(2))
    seeking = Seeking(low=[-1.0, -1.0], high=[1.0, 1.0], swing=0.02)
    state = sought(seeking, np.array([-0.3, 0.3]), lambda p, n: odd if n == 20 else cost(p, n), 1000)
    assert np.abs(settled(seeking, state) - [0.2, -0.4]).max() < 0.03


@pytest.mark.parametrize(("scale", "offset"), [(2.0**20, 0.0), (2.0**-20, 0.0), (1.0, -512.0)])
def test_unit_and_zero_of_the_cost_do_not_matter(scale: float, offset: float) -> None:
    seeking = Seeking(low=[-2.0, 0.0], high=[2.0, 8.0])
    cost = bowl(np.array([0.3, 5.0]), np.array([1.0, 0.2]))
    start = np.array([-1.0, 1.0])
    plain = sought(seeking, start, cost, 60)
    other = sought(seeking, start, lambda place, step: scale * cost(place, step) + offset, 60)
    np.testing.assert_allclose(other.centre, plain.centre, rtol=0, atol=1e-6)


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=80), st.integers(1, 5), st.floats(0.001, 0.5))
def test_no_cost_drives_it_out_of_bounds_or_far(costs: list[float], count: int, first: float) -> None:
    low, high = -np.arange(1.0, count + 1.0), np.arange(2.0, count + 2.0)
    seeking = Seeking(low=low, high=high, swing=first, least_swing=first / 10.0)
    state = init(seeking, np.zeros(count))
    for cost in costs:
        place = propose(seeking, state)
        assert np.all((low <= place) & (place <= high))
        after = update(seeking, state, cost)
        assert np.abs(after.centre - state.centre).max() <= 4.0 * swing(seeking, state)
        assert first / 10.0 <= swing(seeking, after) <= first
        state = after
    assert state.best_cost == min(costs)


def test_an_optimum_that_walks_is_followed() -> None:
    count, speed = 4, 2e-4
    seeking = Seeking(low=-np.ones(count), high=np.ones(count), swing=0.02, least_swing=0.005)

    def optimum(step: int) -> Vector:
        return np.full(count, -0.3 + speed * step)

    state = sought(seeking, optimum(0), lambda place, step: float(((place - optimum(step)) ** 2).sum()), 3000)
    assert np.abs(settled(seeking, state) - optimum(3000)).max() < 0.06


def test_noise_on_the_cost_is_borne() -> None:
    random = np.random.default_rng(3)
    optimum = np.array([0.2, -0.4])
    seeking = Seeking(low=[-1.0, -1.0], high=[1.0, 1.0], swing=0.05, least_swing=0.03)
    noisy = bowl(optimum, np.ones(2))
    state = sought(seeking, np.array([-0.5, 0.5]), lambda p, n: noisy(p, n) + 0.01 * random.normal(), 1500)
    assert np.abs(settled(seeking, state) - optimum).max() < 0.1


def test_the_same_costs_lead_the_same_way() -> None:
    seeking = Seeking(low=np.zeros(3), high=np.ones(3))
    cost = bowl(np.full(3, 0.4), np.ones(3))
    first, second = (sought(seeking, np.full(3, 0.7), cost, 100) for _ in range(2))
    assert np.array_equal(first.centre, second.centre)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low": [0.0]}, r"bounds have shapes \(1,\) and \(2,\)"),
        ({"low": [0.0, 1.0]}, "bounds of parameter 1: low is not below high"),
        ({"low": [0.0, -math.inf]}, "expected one number each a parameter"),
        ({"swing": 0.6}, "swings are 0.0001 and 0.6"),
        ({"band": (0.0, 1.0)}, "band is"),
        ({"gain": -1.0}, "gain is -1"),
    ],
)
def test_bad_bounds_are_told(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Seeking(**({"low": [0.0, 0.0], "high": [1.0, 1.0]} | changes))  # type: ignore[arg-type]


def test_bad_starts_and_costs_are_told() -> None:
    seeking = Seeking(low=[0.0, 0.0], high=[1.0, 1.0])
    with pytest.raises(ValueError, match="start has shape"):
        init(seeking, [0.5])
    state = init(seeking, [0.5, 9.0])
    assert state.centre.tolist() == [0.5, 1.0]
    with pytest.raises(ValueError, match="the cost is nan, expected a finite number"):
        update(seeking, state, math.nan)
