"""A peak found in a few measurements: a smooth peak is fitted to all of them, and the next is made where it tells most.

For what is known to have one peak of about known widths along each parameter: counts over motors. Pure, as
`models.extremum`: `init`, `propose`, `update`; extremum seeking needs no such knowledge, and many more measurements.

The model is a product of pseudo-Voigt profiles of half width w_k about m_k, on a background,

    counts = B + A prod_k s((p_k - m_k) / w_k)

fitted by least squares of square roots of counts (of even variance where counts are Poisson), with what is known before
as a prior. A measurement loses weight as the peak may have drifted since. The next one is where the covariance of the
place shrinks most (A-optimal design; Chaloner and Verdinelli, Statist. Sci. 10 (1995) 273, linearised at the fit).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares

Vector = NDArray[np.float64]
# A real peak has tails, and the model must be led by them from far away.
TAIL = 0.1
# No peak has quite the shape of the model: its counts may be off by this share of themselves.
MISSHAPEN = 0.03
# Farther off than its width it is of another shape altogether.
TAILS_WRONG = 1.0
# How far widths are known before (a factor e^0.3), and nothing is known of heights.
WIDTH_KNOWN, HEIGHT_KNOWN = 0.3, 5.0
# Places that are weighed for the next measurement, and how far from the peak they lie, in its widths, at first.
CANDIDATES, AROUND = 200, 0.7
# Anscombe's: roots of so many more counts have even variance.
FEW = 0.375
MOST_STEPS = 200
# A scan shows its background so many widths from its maximum, where there are so many places there.
FAR, FLOOR_PLACES = 1.2, 6
# A fringe is told from the peak by looking so many widths beside it; near enough to there counts as looked.
BESIDE, SEEN = 1.5, 0.6
# It is looked for once the place is known to this share of the widths.
COARSELY = 0.1
# Fits begin where most was counted, at the last fit and at this many places drawn about the start.
DRAWN_STARTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """What is known of the peak before it is sought.

    `low`, `high` (parameters,) bounds of proposals; `widths` (parameters,) at half height, about; `reach` how far from
    the start it may be, in widths (standard deviation); `tolerances` (parameters,) to which its place is wanted, as a
    standard deviation; `drift` (parameters,) by how much it may walk a second; `background` counts of a measurement
    without the peak, about; `fringed` parameters along which lesser peaks stand beside it; `around`, how far from the
    place it is measured, in widths; `memory`, so many measurements, the last ones, are kept; `seed` of the places that
    are weighed.
    """

    low: ArrayLike
    high: ArrayLike
    widths: ArrayLike
    tolerances: ArrayLike
    background: float = 1.0
    reach: float = 1.5
    drift: ArrayLike = 0.0
    fringed: tuple[int, ...] = ()
    around: float = AROUND
    memory: int | None = None
    seed: int = 0


class Measured(NamedTuple):
    """`places` (measurements, parameters), `counts` and `times_s` (measurements,) of what was measured."""

    places: Vector
    counts: Vector
    times_s: Vector


class Fit(NamedTuple):
    """`place` (parameters,), its `deviation` (parameters,) and what is behind: `values` and `covariance` of the
    parameters of the model: places, logarithms of widths, of the height and of the background.
    """

    place: Vector
    deviation: Vector
    values: Vector
    covariance: Vector


class Curve(NamedTuple):
    """A peak along one parameter: `place`, `width` at half height, `height` above `background` (counts), and the
    standard `deviations` of the four.
    """

    place: float
    width: float
    height: float
    background: float
    deviations: tuple[float, float, float, float]

    def counts(self, places: ArrayLike) -> Vector:
        """Return the counts that are expected at `places` (places,), float64 (places,)."""
        off = (np.asarray(places, dtype=np.float64)[:, None] - self.place) / self.width
        return _model(np.array([0.0, 0.0, math.log(self.height), math.log(self.background)]), off)[0]


class State(NamedTuple):
    """`start` (parameters,), what was `measured` and the `fit` to it."""

    start: Vector
    measured: Measured
    fit: Fit | None = None


def init(peak: Peak, start: ArrayLike) -> State:
    """Return the state before anything was measured."""
    first = np.clip(np.asarray(start, dtype=np.float64), peak.low, peak.high)
    return State(start=first, measured=Measured(np.empty((0, len(first))), np.empty(0), np.empty(0)))


def propose(peak: Peak, state: State) -> Vector:
    """Return where to measure next, float64 (parameters,), within the bounds: at first at the start."""
    if state.fit is None:
        return state.start
    if _known_to(peak, state.fit, COARSELY):
        unseen = _unseen(peak, state)
        if unseen is not None:
            return unseen
    candidates = np.clip(_candidates(peak, state), peak.low, peak.high)
    gradients = _gradients(state.fit.values, candidates)
    covariance, count = state.fit.covariance, len(state.start)
    spread = gradients @ covariance
    # Sherman and Morrison: by how much one more measurement shrinks each place's variance.
    gain = np.square(spread[:, :count]) / (1.0 + np.sum(spread * gradients, axis=1))[:, None]
    worth = np.sum(gain / np.square(np.asarray(peak.tolerances)), axis=1)
    return np.asarray(candidates[int(np.argmax(worth))])


def update(peak: Peak, state: State, place: ArrayLike, counts: float, time_s: float) -> State:
    """Return the state after `counts` were measured at `place` (parameters,); raise ValueError where they are none."""
    if not (math.isfinite(counts) and counts >= 0.0):
        raise ValueError(f"counts are {counts}, expected a finite number from 0")
    before = state.measured
    kept = slice(0 if peak.memory is None else max(0, len(before.counts) + 1 - peak.memory), None)
    measured = Measured(
        np.vstack([before.places, np.asarray(place, dtype=np.float64)])[kept],
        np.append(before.counts, counts)[kept],
        np.append(before.times_s, time_s)[kept],
    )
    return state._replace(measured=measured, fit=_fitted(peak, state, measured))


def along_one(places: ArrayLike, counts: ArrayLike, width: float, background: float) -> Curve:
    """Return the fit to `counts` at `places` along one parameter, float64 (places,) both, in any order and unit.

    `width` and `background` are what is known before, about; see `floor`. Raises ValueError where there are fewer than
    two places.
    """
    at, counted = np.asarray(places, dtype=np.float64) / width, np.asarray(counts, dtype=np.float64)
    if at.ndim != 1 or at.shape != counted.shape or len(set(at.tolist())) < 2:
        raise ValueError(f"places have shape {at.shape}, counts {counted.shape}; expected two different places or more")
    known = Peak(
        low=[-math.inf], high=[math.inf], widths=[1.0], tolerances=[1.0], background=floor(at, counted, 1.0, background)
    )
    middle = at[int(np.argmax(counted))]  # the fit is done about it, in widths
    measured = Measured(at[:, None] - middle, np.maximum(counted, 0.0), np.zeros(len(at)))
    fit = _fitted(known, init(known, [0.0]), measured)
    (wide, high, low), deviations = np.exp(fit.values[1:]), np.sqrt(np.diag(fit.covariance))
    return Curve(
        float((fit.place[0] + middle) * width), float(wide * width), float(high), float(low),
        tuple((deviations * [width, wide * width, high, low]).tolist()),
    )  # fmt: skip


def floor(places: ArrayLike, counts: ArrayLike, width: float, background: float) -> float:
    """Return the background that a scan shows: the mean of the lower half of what was counted far from its maximum;
    `background` where fewer than FLOOR_PLACES places (places,) are farther than FAR `width` from it.
    """
    at, counted = np.asarray(places, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    far = counted[np.abs(at - at[int(np.argmax(counted))]) > FAR * width]
    if len(far) < FLOOR_PLACES:
        return background
    return max(float(np.sort(far)[: (len(far) + 1) // 2].mean()), FEW)


def found(peak: Peak, state: State) -> bool:
    """Whether the place is known to the tolerances."""
    return state.fit is not None and _known_to(peak, state.fit, 0.0) and _unseen(peak, state) is None


def settled(peak: Peak, state: State) -> Vector:
    """Return the estimate of the place (parameters,), within the bounds."""
    return np.clip(state.start if state.fit is None else state.fit.place, peak.low, peak.high)


def _known_to(peak: Peak, fit: Fit, share: float) -> bool:
    """Whether the place is known to the tolerances, or to `share` of the widths where that is more."""
    return bool(np.all(fit.deviation <= np.maximum(peak.tolerances, share * np.asarray(peak.widths))))


def _unseen(peak: Peak, state: State) -> Vector | None:
    """Where nobody has looked yet for a peak of which the one found is but a fringe; None: nowhere left."""
    assert state.fit is not None
    widths = np.broadcast_to(np.asarray(peak.widths, dtype=np.float64), state.start.shape)
    for axis in peak.fringed:
        for side in (-BESIDE, BESIDE):
            there = state.fit.place.copy()
            there[axis] += side * widths[axis]
            there = np.clip(there, peak.low, peak.high)
            off = np.abs(state.measured.places - there) / widths
            if not np.any(np.all(off < SEEN, axis=1)):
                return there
    return None


def _fitted(peak: Peak, state: State, measured: Measured) -> Fit:
    known, sure = _prior(peak, state, measured)
    even = np.ones(len(measured.counts))
    begun = (_least(begin, measured, known, sure, even) for begin in _starts(peak, state, measured, known))
    likely = min(begun, key=lambda one: float(one.cost))
    best = _least(likely.x, measured, known, sure, _trusted(peak, likely.x, measured))
    # Where the peak is not of the model's shape, less is known than counting tells.
    freedom = max(1, len(measured.counts) - len(known) // 2)
    covariance = np.linalg.inv(best.jac.T @ best.jac) * max(1.0, 2.0 * float(best.cost) / freedom)
    return Fit(best.x[: len(state.start)], np.sqrt(np.diag(covariance)[: len(state.start)]), best.x, covariance)


def _trusted(peak: Peak, values: Vector, measured: Measured) -> Vector:
    """Weights (measurements,), 1 where the model is right: it is not far from the peak's middle, where a real one has
    fringes and tails of its own, nor where the peak may have walked since.
    """
    count = measured.places.shape[1]
    off = np.abs(measured.places - values[:count]) / np.exp(values[count : 2 * count])
    expected, gradients = _model(values, measured.places)
    height = np.maximum(expected, measured.counts)
    wrong = np.square(TAILS_WRONG * np.minimum(1.0, np.square(np.square(off.max(axis=1)))) * height)
    age = measured.times_s.max() - measured.times_s
    walked = np.square(gradients[:, :count] * np.asarray(peak.drift) * age[:, None]).sum(axis=1)
    variance = measured.counts + FEW + np.square(MISSHAPEN * measured.counts)
    return np.asarray(1.0 / np.sqrt(1.0 + (wrong + walked) / variance))


def _least(begin: Vector, measured: Measured, known: Vector, sure: Vector, weights: Vector) -> Any:
    def off(values: Vector) -> Vector:
        expected = _model(values, measured.places)[0]
        return np.concatenate([_roots(measured.counts, expected) * weights, (values - known) / sure])

    def slopes(values: Vector) -> Vector:
        expected, change = _model(values, measured.places)
        return np.concatenate([change * (_turn(measured.counts, expected) * weights)[:, None], np.diag(1.0 / sure)])

    return least_squares(off, begin, slopes, method="lm", max_nfev=MOST_STEPS)


def _roots(counts: Vector, expected: Vector) -> Vector:
    """How far counts are off, in deviations: Poisson's, and MISSHAPEN of the counts themselves."""
    return 2.0 * (np.sqrt(counts + FEW) - np.sqrt(expected + FEW)) / np.sqrt(1.0 + MISSHAPEN**2 * (counts + FEW))


def _turn(counts: Vector, expected: Vector) -> Vector:
    return -1.0 / np.sqrt((expected + FEW) * (1.0 + MISSHAPEN**2 * (counts + FEW)))


def _prior(peak: Peak, state: State, measured: Measured) -> tuple[Vector, Vector]:
    widths = np.broadcast_to(np.asarray(peak.widths, dtype=np.float64), state.start.shape)
    height = math.log(max(float(measured.counts.max()), 10.0 * peak.background))
    known = np.concatenate([state.start, np.log(widths), [height, math.log(peak.background)]])
    sure = np.concatenate([peak.reach * widths, np.full(len(widths), WIDTH_KNOWN), [HEIGHT_KNOWN, 1.0]])
    return known, sure


def _starts(peak: Peak, state: State, measured: Measured, known: Vector) -> list[Vector]:
    count = len(state.start)
    random = np.random.default_rng((peak.seed, len(measured.counts)))
    most = known.copy()
    most[:count] = measured.places[int(np.argmax(measured.counts))]
    starts = [most] + ([state.fit.values] if state.fit is not None else [])
    for _ in range(DRAWN_STARTS):
        drawn = known.copy()
        drawn[:count] += random.normal(size=count) * peak.reach * np.exp(known[count : 2 * count])
        starts.append(drawn)
    return starts


def _gradients(values: Vector, places: Vector) -> Vector:
    """How counts change with the model's parameters, in deviations, float64 (places, values)."""
    expected, slopes = _model(values, places)
    return slopes / np.sqrt(expected + np.square(MISSHAPEN * expected) + FEW)[:, None]


def _candidates(peak: Peak, state: State) -> Vector:
    assert state.fit is not None
    count = len(state.start)
    random = np.random.default_rng((peak.seed, len(state.measured.counts), 1))
    widths = np.exp(state.fit.values[count : 2 * count])
    deviation = np.minimum(state.fit.deviation, peak.reach * widths)
    off = random.normal(size=(CANDIDATES, count))
    along = np.zeros((4 * count, count))
    for axis in range(count):
        along[4 * axis : 4 * axis + 4, axis] = np.array((-1.0, 1.0, -0.5, 0.5)) * peak.around
    near = np.concatenate([off * peak.around, along]) * widths
    return np.asarray(state.fit.place + near + deviation * random.normal(size=near.shape))


def _model(values: Vector, places: Vector) -> tuple[Vector, Vector]:
    count = places.shape[1]
    widths = np.exp(values[count : 2 * count])
    off = (places - values[:count]) / widths
    core, tail = (1.0 - TAIL) * np.exp(-4.0 * math.log(2.0) * off**2), TAIL / (1.0 + 4.0 * off**2)
    profile = core + tail
    # d ln s / d u
    slope = (-8.0 * math.log(2.0) * off * core - 8.0 * off * tail / (1.0 + 4.0 * off**2)) / profile
    peak, flat = np.exp(min(values[-2], 60.0)) * np.prod(profile, axis=1), np.exp(min(values[-1], 60.0))
    slopes = np.concatenate(
        [-slope / widths * peak[:, None], -slope * off * peak[:, None], peak[:, None], np.full((len(peak), 1), flat)],
        axis=1,
    )
    return peak + flat, slopes
