"""VirtualGoniometer: one simulated axis that the twin obeys."""

from __future__ import annotations

from tango.server import command

from service.devices.goniometer import AxisStatus
from tango_devices.attributes import rendered
from tango_devices.controlled import ControlledDevice, refusals


class VirtualGoniometer(rendered(AxisStatus, ControlledDevice)):  # type: ignore[misc]
    """One axis of the twin's goniometer; the last part of the device name is the axis' name in the settings."""

    status_class = AxisStatus

    def describe(self) -> None:
        """Unit and limits are the axis' own; clients such as Bliss read them from the attributes."""
        unit, (low, high) = self.controller.unit, self.controller.limits
        for name in ("position", "target", "velocity", "lowLimit", "highLimit"):
            attribute = self.get_device_attr().get_attr_by_name(name)
            properties = attribute.get_properties()
            properties.unit = f"{unit}/s" if name == "velocity" else unit
            if name == "position":
                properties.min_value, properties.max_value = repr(low), repr(high)
            attribute.set_properties(properties)

    @command
    def Abort(self) -> None:
        """Stop where the axis is."""
        with refusals(self):
            self.controller.abort()

    @command
    def Stop(self) -> None:
        """The same as Abort: the axis has no slower way to stop."""
        with refusals(self):
            self.controller.abort()
