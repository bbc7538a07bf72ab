"""Motors and a value behind Tango devices, as a Beamline."""

from __future__ import annotations

import time
from collections.abc import Mapping

from service.adapters.tango import TangoAxis, TangoDevice
from service.alignment.plan import AlignmentSettings
from service.errors import DeviceError, SettingsError
from service.records import Exposure, Light

POLL_S = 0.02
BUSY = ("RUNNING", "MOVING")


class _Named:
    """An attribute or a command, by its whole name."""

    def __init__(self, name: str) -> None:
        path, mark, database = name.partition("#")  # an address may end in #dbase=no
        device, _, self.name = path.rpartition("/")
        if device.count("/") < 2:
            raise SettingsError(f"alignment: {name!r} is no domain/family/member/name")
        self.device = TangoDevice(device + mark + database)

    def read(self) -> float:
        return float(self.device.read(self.name))


class TangoBeamline:
    """What `[alignment]` of the settings names. Raises SettingsError where a name is none, DeviceError as it goes."""

    def __init__(self, settings: AlignmentSettings) -> None:
        self._settings = settings
        self.axes: Mapping[str, TangoAxis] = {
            name: TangoAxis(name, TangoDevice(device)) for name, device in settings.devices.items()
        }
        self._value = _Named(settings.value)
        self._trigger, self._beam, self._shutter = (
            _Named(name) if name else None for name in (settings.trigger, settings.beam, settings.shutter)
        )

    def now_s(self) -> float:
        return time.monotonic()

    def rest(self, seconds: float) -> None:
        time.sleep(max(seconds, 0.0))

    def light(self) -> Light:
        return Light(
            beam=self._beam is None or self._beam.read() >= self._settings.least_beam,
            shutter=self._shutter is None or bool(self._shutter.read()),
        )

    def expose(self) -> Exposure:
        """Read the value, after its trigger where there is one."""
        self.rest(self._settings.settle_s)
        taken_s = self.now_s()
        if self._trigger is not None:
            self._triggered(self._trigger)
        value, light = self._value.read(), self.light()
        return Exposure(value=value, taken_s=taken_s, beam=light.beam, shutter=light.shutter)

    def _triggered(self, trigger: _Named) -> None:
        trigger.device.command(trigger.name)
        until_s = self.now_s() + self._settings.value_s
        while trigger.device.state in BUSY:
            if self.now_s() > until_s:
                raise DeviceError(f"{trigger.name} is not done after {self._settings.value_s:g} s")
            self.rest(POLL_S)
