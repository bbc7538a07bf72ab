"""Ways to align: ours, and the peers', all behind the same port, on the same beamline, through the same guard."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from service.alignment.methods.bayesian import Bayesian
from service.alignment.methods.choose import chosen
from service.alignment.methods.port import Around, Axis, Method, Point
from service.alignment.plan import Plan

Choose = Callable[[Plan, Point], Method]
Arrived = Callable[[Point], bool]


class ToldWhen(Around):
    """A method that does not know its end, told by one who knows the truth: as soon as its best point is good."""

    def __init__(self, method: Method, arrived: Arrived) -> None:
        super().__init__(method)
        self._arrived = arrived
        self._there = False

    def ask(self) -> Point | None:
        return None if self._there else self._method.ask()

    def tell(self, at: Point, value: float, time_s: float) -> None:
        super().tell(at, value, time_s)
        self._there = self._arrived(self._method.best())


class Gains(NamedTuple):
    """Of Xopt's extremum seeking: its k, the amplitude as a share of the range, the decay, and the range in widths."""

    k: float = 2.0
    oscillation: float = 0.1
    decay: float = 1.0
    reach: float = 3.0


# Evaluations in the slowest oscillation: ten of its fastest, whose frequency is 1.75 times as high.
PERIOD = 18


class XoptSeeking:
    """Xopt's ExtremumSeeking (Scheinker et al.) on the logarithm of the counts; `pip install xopt`."""

    def __init__(self, axes: Sequence[Axis], start: Point, gains: Gains) -> None:
        from xopt import VOCS
        from xopt.generators.sequential.extremumseeking import ExtremumSeekingGenerator

        self._names = [axis.name for axis in axes]
        self._low, self._high = (
            np.array([at + side * gains.reach * axis.width for axis, at in zip(axes, start, strict=True)])
            for side in (-1.0, 1.0)
        )
        bounds = zip(self._low.tolist(), self._high.tolist(), strict=True)
        self._generator = ExtremumSeekingGenerator(
            vocs=VOCS(
                variables=dict(zip(self._names, map(list, bounds), strict=True)), objectives={"cost": "MINIMIZE"}
            ),
            k=gains.k, oscillation_size=gains.oscillation, decay_rate=gains.decay,
        )  # fmt: skip
        self._next = np.array(start, dtype=np.float64)
        # Its centre is nowhere told: the mean of the last period of the slowest oscillation stands for it.
        self._last: deque[Point] = deque([self._next], maxlen=PERIOD)

    def ask(self) -> Point | None:
        return self._next

    def tell(self, at: Point, value: float, time_s: float) -> None:
        self._go_on(-math.log(max(value, 0.0) + 1.0))

    def refused(self) -> None:
        self._go_on(0.0)

    def failure(self) -> str:
        return ""

    def best(self) -> Point:
        return np.asarray(np.mean(self._last, axis=0))

    def _go_on(self, cost: float) -> None:
        import pandas as pd

        told: dict[str, Any] = dict(zip(self._names, self._next.tolist(), strict=True)) | {"cost": cost}
        self._generator.add_data(pd.DataFrame([told]))
        proposed = self._generator.generate(1)[0]
        wanted = np.array([proposed[name] for name in self._names])
        self._next = np.clip(wanted, self._low, self._high)
        self._last.append(self._next)


def xopt(gains: Gains) -> Choose:
    return lambda plan, start: XoptSeeking(plan.sought(), start, gains)


def ours(plan: Plan, start: Point) -> Method:
    """The plan's method; Bayesian optimisation, which is told when to end, does not end by itself."""
    if plan.method == "bayesian":
        return Bayesian(plan.sought(), start, seed=plan.seed, ends=False)
    return chosen(plan, start)
