"""Ways to the best point, asked and told by hand: no axes, no clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import peak
from service.alignment.methods.goto import Goto
from service.alignment.methods.lines import Lines, golden, parabola, scan
from service.alignment.methods.paraboloid import Paraboloid
from service.alignment.methods.peak import PeakFit
from service.alignment.methods.port import Axis, Method, Point, unchanged
from service.alignment.methods.search import spiral, sweep
from service.alignment.methods.seeking import Seeking
from service.errors import SettingsError

AXES = (
    Axis(name="x", low=-4.0, high=6.0, width=1.0, tolerance=0.03),
    Axis(name="eta", low=10.0, high=30.0, width=0.5, tolerance=0.015),
)
TOP = np.array([0.6, 20.4])
START = np.array([0.0, 20.0])
MOST = 400


def counts(at: Point, height: float = 1e4, background: float = 2.0) -> float:
    off = (at - TOP) / np.array([axis.width for axis in AXES])
    return float(height * np.exp(-4.0 * math.log(2.0) * np.sum(np.square(off))) + background)


def run(method: Method, value: Callable[[Point], float]) -> list[Point]:
    asked: list[Point] = []
    while len(asked) < MOST and (point := method.ask()) is not None:
        asked.append(np.array(point))
        method.tell(point, value(point), float(len(asked)))
    return asked


def noisy(seed: int) -> Callable[[Point], float]:
    random = np.random.default_rng(seed)
    return lambda at: float(random.poisson(counts(at)))


METHODS = {
    "peak": lambda: PeakFit(AXES, START, background=2.0),
    "seeking": lambda: Seeking(AXES, START),
    "scan": lambda: Lines(AXES, START, scan),
    "golden": lambda: Lines(AXES, START, golden),
    "parabola": lambda: Lines(AXES, START, parabola),
    "paraboloid": lambda: Paraboloid(AXES, START),
}


@pytest.mark.parametrize("name", METHODS)
def test_each_finds_the_top_and_ends(name: str) -> None:
    method = METHODS[name]()
    asked = run(method, noisy(0))
    share = 0.25 if name == "seeking" else 0.1
    assert len(asked) < MOST
    assert np.all(np.abs(method.best() - TOP) <= share * np.array([1.0, 0.5]))
    assert method.failure() == ""


def test_the_fit_of_a_peak_asks_least() -> None:
    assert len(run(METHODS["peak"](), noisy(1))) < min(
        len(run(METHODS[name](), noisy(1))) for name in METHODS if name != "peak"
    )


@pytest.mark.parametrize("name", METHODS)
def test_none_leaves_its_bounds_or_stops_at_a_refusal(name: str) -> None:
    method = METHODS[name]()
    random = np.random.default_rng(0)
    for number in range(80):
        point = method.ask()
        if point is None:
            break
        assert all(axis.low - 1e-9 <= at <= axis.high + 1e-9 for axis, at in zip(AXES, point, strict=True))
        if random.uniform() < 0.3:
            method.refused()
        else:
            method.tell(point, float(random.poisson(50.0)), float(number))


@settings(deadline=None)  # the first call loads LAPACK
@given(st.integers(1, 4), st.integers(0, 1000))
def test_a_sum_of_squares_has_its_top_found_at_once(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    axes = tuple(Axis(name=str(n), low=-9.0, high=9.0, width=1.0, tolerance=1e-6) for n in range(count))
    response = np.eye(count) + random.uniform(-0.4, 0.4, (count, count)) / count  # axes are coupled, not the same
    top = random.uniform(-1.0, 1.0, count)
    method = Paraboloid(axes, np.zeros(count), unchanged)
    asked = run(method, lambda at: -float(np.sum(np.square(response @ (at - top)))))
    assert len(asked) == (count + 1) * (count + 2) // 2 + 1
    assert method.best() == pytest.approx(top, abs=1e-6)
    assert method.failure() == ""


@pytest.mark.parametrize("offset", [0.0, 1000.0, -1000.0])
def test_a_wall_is_no_better_than_the_worst_that_was_measured(offset: float) -> None:
    """Values that are no counts lie anywhere; what may not be gone to must not look best among them."""
    top, axes = np.array([0.8, 0.3]), [Axis(name=name, low=-5.0, high=5.0, width=1.0, tolerance=0.05) for name in "xy"]
    methods = Lines(axes, np.zeros(2), partial(parabola, levelled=unchanged)), Paraboloid(axes, np.zeros(2), unchanged)
    for method in methods:
        while (place := method.ask()) is not None:
            if place[0] < -0.4:
                method.refused()
            else:
                method.tell(place, offset - float(np.sum((place - top) ** 2)), 0.0)
        assert method.best() == pytest.approx(top, abs=0.15) or method.failure()


def test_what_has_no_top_is_told() -> None:
    method = Paraboloid(AXES, START, unchanged)
    run(method, lambda at: float(at[0] * at[1]))
    assert method.failure() == "no top of a paraboloid after 8 rounds: give other widths"


def test_a_fringe_is_not_taken_for_the_peak() -> None:
    eta = Axis(name="eta", low=-5.0, high=5.0, width=1.0, tolerance=0.03, fringed=True)
    random = np.random.default_rng(2)

    def fringed(at: Point) -> float:
        return float(random.poisson(1e5 * np.sinc(0.886 * at[0]) ** 2 + 2.0))

    method = PeakFit((eta,), np.array([1.6]), background=2.0)
    run(method, fringed)
    assert abs(method.best()[0]) < 0.1


def test_a_peak_that_is_none_is_told() -> None:
    random = np.random.default_rng(3)
    method = PeakFit(AXES, START, background=2.0)
    run(method, lambda _: float(random.poisson(2.0)))
    assert method.failure().startswith("no peak: the most was ")


def test_a_measurement_loses_weight_as_the_peak_may_have_walked() -> None:
    axes = tuple(
        Axis(name=a.name, low=a.low, high=a.high, width=a.width, tolerance=a.tolerance, drift=0.02 * a.width)
        for a in AXES
    )
    method, top = PeakFit(axes, START, background=2.0, follow=True), TOP.copy()
    random = np.random.default_rng(4)
    off = []
    for number in range(120):
        point = method.ask()
        top += np.array([0.01, 0.0])
        method.tell(point, float(random.poisson(counts(point - top + TOP))), float(number))
        off.append(abs(method.best()[0] - top[0]))
    assert np.median(off[30:]) < 0.1


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1.0])
def test_counts_that_are_none_are_refused(wrong: float) -> None:
    known = peak.Peak(low=[0.0], high=[1.0], widths=[0.1], tolerances=[0.01])
    with pytest.raises(ValueError, match="expected a finite number from 0"):
        peak.update(known, peak.init(known, [0.5]), [0.5], wrong, 0.0)


def test_a_spiral_passes_every_place_and_ends_at_the_crystal() -> None:
    axes = (
        Axis(name="x", low=-50, high=50, width=1.0, tolerance=0.1),
        Axis(name="y", low=-50, high=50, width=2.0, tolerance=0.1),
    )
    crystal = np.array([6.3, -9.1])

    def shines(at: Point) -> float:
        return 100.0 * math.exp(-4.0 * math.log(2.0) * float(np.sum(np.square((at - crystal) / [1.0, 2.0]))))

    method = spiral(axes, np.zeros(2), background=0.5, reach=10.0)
    while (point := method.ask()) is not None:
        method.tell(point, shines(point), 0.0)
    assert method.failure() == ""
    assert np.all(np.abs(method.best() - crystal) < [1.0, 2.0])


def test_a_search_that_finds_nothing_says_so() -> None:
    method = sweep(AXES[1:], START[1:], background=0.5, reach=5.0)
    assert len(run(method, lambda _: 0.0)) > 10
    assert method.failure().startswith("nothing found: the most was 0")
    assert method.best() == pytest.approx(START[1:])


def test_searches_are_for_so_many_axes() -> None:
    with pytest.raises(SettingsError, match="2 axes, not over 1"):
        spiral(AXES[:1], START[:1], 1.0, 5.0)
    with pytest.raises(SettingsError, match="1 axis, not along 2"):
        sweep(AXES, START, 1.0, 5.0)


def test_going_somewhere_measures_nothing() -> None:
    method = Goto(TOP)
    assert method.ask() is None
    assert method.best() == pytest.approx(TOP)
