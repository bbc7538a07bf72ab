"""A counter behind Tango that sees a peak where its motors stand, and can be told to suffer.

python -m benchmarks.align.counter_device PORT AXIS=DEVICE [AXIS=DEVICE ...]
"""

from __future__ import annotations

import math
import sys
from typing import ClassVar

import numpy as np
import tango
from tango.server import Device, attribute, run

from service.adapters.tango import TangoAxis, TangoDevice

NAME = "braggloop/counter/1"
TOP, BACKGROUND = 1e4, 5.0
TROUBLES = ("none", "nan", "lost", "no beam", "shutter")


class Counter(Device):
    """`value`: counts of a Gaussian of unit width about `peak`; `beam`, `shutter`, and a writable `trouble`."""

    axes: ClassVar[list[TangoAxis]] = []

    def init_device(self) -> None:
        super().init_device()
        self._trouble, self._peak = "none", np.zeros(len(self.axes))
        self._random = np.random.default_rng()

    @attribute
    def value(self) -> float:
        if self._trouble == "lost":
            tango.Except.throw_exception("Lost", "the detector tells nothing", NAME)
        if self._trouble == "nan":
            return math.nan
        dark = self._trouble in ("no beam", "shutter")
        off = np.array([axis.read() for axis in self.axes]) - self._peak
        return float(self._random.poisson(0.0 if dark else BACKGROUND + TOP * math.exp(-2.77 * float(off @ off))))

    @attribute
    def beam(self) -> float:
        return 0.0 if self._trouble == "no beam" else 100.0

    @attribute
    def shutter(self) -> bool:
        return self._trouble != "shutter"

    @attribute
    def trouble(self) -> str:
        return self._trouble

    @trouble.write  # type: ignore[no-redef]
    def trouble(self, value: str) -> None:
        self._trouble = value

    @attribute(dtype=(float,), max_dim_x=8)
    def peak(self) -> list[float]:
        return list(self._peak)

    @peak.write  # type: ignore[no-redef]
    def peak(self, value: list[float]) -> None:
        self._peak = np.array(value)


def main(port: str, *axes: str) -> None:
    pairs = (axis.split("=", 1) for axis in axes)
    Counter.axes = [TangoAxis(name, TangoDevice(device)) for name, device in pairs]
    where = ["-nodb", "-dlist", f"Counter::{NAME}", "-ORBendPoint", f"giop:tcp:127.0.0.1:{port}"]
    run((Counter,), args=["Counter", "1", *where], msg_stream=None)


if __name__ == "__main__":
    main(*sys.argv[1:])
