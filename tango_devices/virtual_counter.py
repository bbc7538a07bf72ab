"""VirtualCounter: counts what a virtual crystal reflects where virtual axes stand."""

from __future__ import annotations

from collections.abc import Sequence

from tango.server import command

from service.devices.counter import CounterStatus
from tango_devices.attributes import rendered
from tango_devices.controlled import ControlledDevice, refusals


class VirtualCounter(rendered(CounterStatus, ControlledDevice)):  # type: ignore[misc]
    """Counts what the crystal of `counter.seed` reflects where the axes x, y (m) and eta (deg) stand."""

    status_class = CounterStatus

    def read_attr_hardware(self, asked: Sequence[int]) -> None:
        """Tango's own hook: once for each read of some attributes, before they are read."""
        attributes = self.get_device_attr()
        if "counts" in (attributes.get_attr_by_ind(index).get_name() for index in asked):
            with refusals(self):
                self.controller.count()

    @command
    def Reset(self) -> None:
        """Acknowledge that an axis did not answer; the next count looks again."""
        with refusals(self):
            self.controller.reset()
