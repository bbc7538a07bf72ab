"""Bounded extremum seeking: any number of parameters driven to the least cost at once, from the cost alone.

Pure: `init` makes a state, `propose` says where to measure, `update` takes what was measured there. The same for the
latent parameters of a crystal and for motors; refusing a move is the guard's.

Each parameter swings at a frequency of its own while the cost shifts the phase of its velocity (Scheinker and Krstic,
Syst. Control Lett. 63 (2014) 25; Scheinker and Pokharel, J. Appl. Phys. 128 (2020) 184901, eq. 20):

    p(n + 1) = p(n) + 2 a sin(w / 2) cos(w (n + 1/2) + k C(n))

Where the cost does not change that is a sin(w n) about a centre. Where it does, the centre goes down its slope by about
a^2 k sin(w) / 2 of it a step, and never by more than 4 a sin(w / 2), however large the cost. What is ours:

- C is how far the cost departs from its recent mean, in units of the largest deviation it had lately, so that k needs
  no tuning and neither the unit nor the zero of the cost matters;
- frequencies fill the band that samples carry, so that a parameter is told from all others in a few times as many
  measurements as there are parameters;
- the swing shrinks with the measurements taken, down to a least one, with which an optimum that walks away is followed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]
# The cost's mean and deviation are those of about so many measurements for each parameter, and of FEWEST at least.
MEMORY, FEWEST = 3, 12
# How many memories long the largest deviation is remembered: forgotten at once, a search at its optimum would go astray
# by what all parameters' swings do to the cost together; never forgotten, it would be slow there.
SLOWLY = 3
# A cost this many deviations off its mean turns the phase no further: one odd measurement must not throw everything.
FARTHEST = 3.0
# Nor does one farther off than that many count for more, in mean and deviation.
OUTLIER = 6.0
# The swing falls as (1 + measurements / (AGED memories)) ^ -FALL: fast enough to settle, slow enough to arrive.
AGED, FALL = 3, 0.75
# Frequencies lie this much off even ones, at most, as a share of their distance.
DETUNED = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeking:
    """What is sought, and how.

    `low`, `high` (parameters,) bounds that no proposal leaves, in any unit; `swing` amplitude at the beginning, as a
    share of the range, and `least_swing`, below which it does not shrink: where the cost is noisy, or its optimum
    walks, as large as it takes for the cost to show it; `gain` k, rad per deviation of the cost; `band` of the
    frequencies w, rad a measurement, within 0 and pi: low ones spare motors that turn back badly; `seed` of the order
    in which parameters take them.
    """

    low: ArrayLike
    high: ArrayLike
    swing: float = 0.01
    least_swing: float = 1e-4
    gain: float = 1.5
    band: tuple[float, float] = (0.15 * math.pi, 0.85 * math.pi)
    seed: int = 0

    def __post_init__(self) -> None:
        low, high = (np.asarray(bound, dtype=np.float64) for bound in (self.low, self.high))
        if low.ndim != 1 or low.shape != high.shape or not len(low) or not np.all(np.isfinite(high - low)):
            raise ValueError(f"bounds have shapes {low.shape} and {high.shape}, expected one number each a parameter")
        if not np.all(low < high):
            raise ValueError(f"bounds of parameter {int(np.argmax(low >= high))}: low is not below high")
        if not 0.0 < self.least_swing <= self.swing <= 0.5:
            raise ValueError(f"swings are {self.least_swing} and {self.swing}, expected 0 < least <= first <= 0.5")
        if not self.gain > 0.0:
            raise ValueError(f"gain is {self.gain}, expected more than 0")
        if not 0.0 < self.band[0] < self.band[1] < math.pi:
            raise ValueError(f"band is {self.band}, expected two frequencies between 0 and pi, the lower first")


class State(NamedTuple):
    """Where the search stands.

    `centre` (parameters,), a share of the range between 0 and 1, about which parameters swing; `step` measurements
    taken; recent `mean` and `variance` of their costs and the `largest` variance lately; the `best` proposal and its
    cost.
    """

    centre: Vector
    step: int = 0
    mean: float = math.nan
    variance: float = 0.0
    largest: float = 0.0
    best: Vector | None = None
    best_cost: float = math.inf


def init(seeking: Seeking, start: ArrayLike) -> State:
    """Return the state that begins at `start` (parameters,), brought within the bounds."""
    low, span = _range(seeking)
    first = np.asarray(start, dtype=np.float64)
    if first.shape != low.shape or not np.all(np.isfinite(first)):
        raise ValueError(f"start has shape {first.shape}, expected {low.shape} finite numbers")
    return State(centre=np.clip((first - low) / span, 0.0, 1.0))


def propose(seeking: Seeking, state: State) -> Vector:
    """Return where to measure next, float64 (parameters,), within the bounds."""
    low, span = _range(seeking)
    place = state.centre + swing(seeking, state) * np.sin(_frequencies(seeking) * state.step)
    return low + span * np.clip(place, 0.0, 1.0)


def swing(seeking: Seeking, state: State) -> float:
    """Return how far parameters swing now, as a share of their range."""
    now: float = seeking.swing * (1.0 + state.step / (AGED * _memory(state))) ** -FALL
    return max(now, seeking.least_swing)


def settled(seeking: Seeking, state: State) -> Vector:
    """Return the parameters without their swing: the estimate of the optimum."""
    low, span = _range(seeking)
    return low + span * state.centre


def update(seeking: Seeking, state: State, cost: float) -> State:
    """Return the state after `cost` was measured at the proposal; raise ValueError where it is not a number.

    The least cost is sought: give the negative of what shall be large.
    """
    if not math.isfinite(cost):
        raise ValueError(f"the cost is {cost}, expected a finite number: measure again, or stop")
    memory = _memory(state)
    mean, variance = _recent(state, cost, memory)
    largest = max(variance, state.largest * (1.0 - 1.0 / (SLOWLY * memory)))
    deviation = math.sqrt(largest)
    turned = seeking.gain * float(np.clip((cost - mean) / deviation, -FARTHEST, FARTHEST)) if deviation > 0.0 else 0.0
    w = _frequencies(seeking)
    swung = w * (state.step + 0.5)
    drift = 2.0 * swing(seeking, state) * np.sin(w / 2.0) * (np.cos(swung + turned) - np.cos(swung))
    after = state._replace(
        centre=np.clip(state.centre + drift, 0.0, 1.0),
        step=state.step + 1,
        mean=mean,
        variance=variance,
        largest=largest,
    )
    if cost < state.best_cost:
        after = after._replace(best=propose(seeking, state), best_cost=cost)
    return after


def _recent(state: State, cost: float, memory: int) -> tuple[float, float]:
    """Mean and variance of the last `memory` costs or so, forgetting by and by."""
    if not state.step:
        return cost, 0.0
    share = 1.0 / min(state.step + 1, memory)
    farthest = OUTLIER * math.sqrt(state.largest)
    off = cost - state.mean if state.step < FEWEST else min(max(cost - state.mean, -farthest), farthest)
    return state.mean + share * off, (1.0 - share) * (state.variance + share * off * off)


def _memory(state: State) -> int:
    return max(FEWEST, MEMORY * len(state.centre))


def _range(seeking: Seeking) -> tuple[Vector, Vector]:
    low = np.asarray(seeking.low, dtype=np.float64)
    return low, np.asarray(seeking.high, dtype=np.float64) - low


def _frequencies(seeking: Seeking) -> Vector:
    count = len(np.asarray(seeking.low))
    random = np.random.default_rng(seeking.seed)
    # Even frequencies would be sums and differences of each other, and curvature would pose as slope.
    within = (np.arange(count) + 0.5 + DETUNED * random.uniform(-1.0, 1.0, count)) / count
    drawn = seeking.band[0] + (seeking.band[1] - seeking.band[0]) * within
    return np.asarray(random.permutation(drawn))
