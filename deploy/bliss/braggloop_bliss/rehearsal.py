"""A counter to rehearse with: counts of a peak over the session's axes where there is no crystal.

- plugin: generic
  package: braggloop_bliss.rehearsal
  class: SimulatedPeak
  name: rehearsal
  height: 10000
  background: 3
  axes:
    - {axis: $theta, centre: 0.31, width: 0.2}
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from braggloop_bliss.bliss_api import SamplingCounter, SamplingCounterController, SamplingMode

SEED = 0


class SimulatedPeak(SamplingCounter):
    """Gaussian over the axes, `width` at half height, of `height` and `background` counts, with Poisson noise."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        controller = _PeakController(f"{config['name']}_controller")
        super().__init__(config["name"], controller, mode=SamplingMode.SINGLE, unit="counts")
        self.axes = [(item["axis"], float(item["centre"]), float(item["width"])) for item in config["axes"]]
        self.height, self.background = float(config["height"]), float(config.get("background", 0.0))
        self._noise = np.random.default_rng(SEED)

    def expected(self) -> float:
        """Counts without noise where the axes stand."""
        squares = sum(((axis.position - centre) / width) ** 2 for axis, centre, width in self.axes)
        return self.background + self.height * math.exp(-4.0 * math.log(2.0) * squares)

    def drawn(self) -> float:
        """Counts of one reading."""
        return float(self._noise.poisson(self.expected()))

    def __info__(self) -> str:
        peak = ", ".join(f"{axis.name} {centre:g} (width {width:g})" for axis, centre, width in self.axes)
        return f"{self.name}: a simulated peak of {self.height:g} counts at {peak}"


class _PeakController(SamplingCounterController):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.max_sampling_frequency = None

    def read(self, counter: SimulatedPeak) -> float:
        return counter.drawn()
