"""A counter as a Tango device server: counts of a peak where another device's `Position` is.

python -m tests.helpers.peak_device INSTANCE
"""

from __future__ import annotations

import math

import tango
from tango.server import Device, attribute, device_property

CENTRE, WIDTH, HEIGHT = 0.31, 0.2, 1e4


class PeakCounter(Device):
    """Counts without noise of a Gaussian over the axis; WIDTH at half height, deg."""

    Axis = device_property(dtype=str, mandatory=True)

    def init_device(self) -> None:
        super().init_device()
        self._axis = tango.DeviceProxy(self.Axis)

    @attribute(dtype=float)
    def counts(self) -> float:
        away = (self._axis.Position - CENTRE) / WIDTH
        return 1.0 + HEIGHT * math.exp(-4.0 * math.log(2.0) * away**2)


if __name__ == "__main__":
    PeakCounter.run_server()
