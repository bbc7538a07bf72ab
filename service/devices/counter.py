"""A counter that sees a virtual crystal where axes stand: the controller behind VirtualCounter."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.simulate.goniometer import Goniometer, offset, reflected_hz
from service.devices.status import Board, State, Status, reading
from service.errors import DeviceError, SettingsError

SHORTEST_S, LONGEST_S = 1e-6, 3600.0
READY = "counts what the crystal reflects where its axes stand"


@dataclass(frozen=True, kw_only=True)
class CounterStatus(Status):
    """What a counter shows."""

    counts: float = reading(
        0.0, label="Counts", description="Counts of one exposure where the axes stand; each read counts anew.",
        unit="counts", format="%.9g", limits=(0, None),
    )  # fmt: skip
    exposure_s: float = reading(
        0.1, label="Exposure", description="How long each count is exposed; it does not take that long.", unit="s",
        format="%.6g", limits=(SHORTEST_S, LONGEST_S), writable=True,
    )  # fmt: skip


class Counter:
    """Counts the reflection of a crystal on a goniometer whose axes stand at `positions()`; safe from every thread.

    Positions of models.simulate.goniometer.AXES, metres and degrees. Noise is Poisson's, drawn with `seed`; drifts
    begin with the counter, on `clock_s`.
    """

    def __init__(
        self, goniometer: Goniometer, positions: Callable[[], Mapping[str, float]], exposure_s: float, seed: int,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._goniometer, self._positions = goniometer, positions
        self._random = np.random.default_rng(seed)
        self._clock_s, self._began_s = clock_s, clock_s()
        self._counting = threading.Lock()
        self._board = Board(CounterStatus(state=State.ON, message=READY, exposure_s=exposure_s))

    @property
    def status(self) -> CounterStatus:
        return self._board.status

    def wait(self, seen: CounterStatus | None, timeout_s: float) -> CounterStatus:
        """Return the status as soon as it is another than `seen`, or as it is after `timeout_s`."""
        return self._board.wait(seen, timeout_s)

    def count(self) -> float:
        """Count once and show it; raise DeviceError, an ALARM until the next count, where an axis does not answer."""
        with self._counting:
            try:
                rate_hz = self._rate_hz()
            except DeviceError as error:
                self._board.update(state=State.ALARM, message=str(error), counts=math.nan)
                raise
            counts = float(self._random.poisson(rate_hz * self.status.exposure_s))
            self._board.update(state=State.ON, message=READY, counts=counts)
            return counts

    def write(self, field: str, value: Any) -> None:
        """Take a new exposure, s; raise SettingsError outside its limits."""
        if field != "exposure_s" or not SHORTEST_S <= value <= LONGEST_S:
            raise SettingsError(f"{field} {value}: expected exposure_s from {SHORTEST_S:g} to {LONGEST_S:g} s")
        self._board.update(exposure_s=float(value))

    def reset(self) -> None:
        """Acknowledge that an axis did not answer."""
        self._board.update(state=State.ON, message=READY)

    def close(self) -> None:
        """Nothing is held."""

    def _rate_hz(self) -> float:
        off = offset(self._goniometer, self._positions(), self._clock_s() - self._began_s)
        return reflected_hz(self._goniometer, off)
