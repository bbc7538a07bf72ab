"""Reconstruction: what the worker makes of the frames, live."""

from __future__ import annotations

from tango.server import command

from service.devices.monitor_status import MonitorStatus
from tango_devices.attributes import rendered
from tango_devices.controlled import ControlledDevice, refusals


class Reconstruction(rendered(MonitorStatus, ControlledDevice)):  # type: ignore[misc]
    """Shows figures of merit, central slices, latencies, counters and the last error of the worker."""

    status_class = MonitorStatus

    @command(doc_in="path of a TOML file, or TOML itself")
    def LoadSettings(self, settings: str) -> None:
        """Give the worker new settings, from the next series on."""
        with refusals(self):
            self.controller.load_settings(settings)

    @command
    def ReprocessLast(self) -> None:
        """Have the worker invert the last series again."""
        with refusals(self):
            self.controller.reprocess()

    @command(doc_in="a folder, or a name that is free, on the worker's machine")
    def Save(self, path: str) -> None:
        """Have the worker copy the file of the last result."""
        with refusals(self):
            self.controller.save(path)

    @command
    def Reset(self) -> None:
        """Acknowledge the last failure, and let go of `hold`."""
        with refusals(self):
            self.controller.reset()
