"""Motors and a value behind Tango devices, as a Beamline."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, NamedTuple

from service.adapters.tango import TangoAxis, TangoDevice
from service.alignment.objective import Read, combined
from service.alignment.plan import AlignmentSettings
from service.errors import DeviceError, SettingsError, raised_as
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

    def value(self) -> Any:
        return self.device.read(self.name)

    def read(self) -> float:
        return float(self.value())


class _Source(NamedTuple):
    """Attributes of one device, by `names` of its own and by `whole_names`."""

    device: TangoDevice
    names: list[str]
    whole_names: list[str]


def _by_device(attributes: Iterable[Iterable[str]]) -> list[_Source]:
    sources: dict[str, _Source] = {}
    for whole in dict.fromkeys(chain.from_iterable(attributes)):
        named = _Named(whole)
        source = sources.setdefault(named.device.name, _Source(named.device, [], []))
        source.names.append(named.name)
        source.whole_names.append(whole)
    return list(sources.values())


class TangoBeamline:
    """What `[alignment]` of the settings names. Raises SettingsError where a name is none, DeviceError as it goes."""

    def __init__(self, settings: AlignmentSettings) -> None:
        if not settings.devices or not settings.terms:
            raise SettingsError("alignment: devices and value say nothing: which motors, and which attribute?")
        self._settings = settings
        self.axes: Mapping[str, TangoAxis] = {
            name: TangoAxis(name, TangoDevice(device)) for name, device in settings.devices.items()
        }
        self._sources = _by_device(term.attributes for term in settings.terms.values())
        self._trigger, self._fresh, self._beam, self._shutter = (
            _Named(name) if name else None
            for name in (settings.trigger, settings.fresh, settings.beam, settings.shutter)
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
        """Read the objective `readings` times, each after its trigger where there is one, and average.

        Raises DeviceError where an attribute cannot be read, or is not what its measure is of.
        """
        settings = self._settings
        self.rest(settings.settle_s)
        taken_s = self.now_s()
        readings = (self._reading(taken_s + settings.value_s, later=number > 0) for number in range(settings.readings))
        with raised_as(DeviceError):
            found = combined(settings.terms, readings, settings.outliers, settings.of_counts)
        light = self.light()
        return Exposure(
            value=found.value, taken_s=taken_s, beam=light.beam, shutter=light.shutter, left_out=found.left_out
        )

    def _reading(self, until_s: float, later: bool) -> Read:
        """Every attribute once, those of a device at one moment; a `later` one waits first."""
        if later:
            self.rest(self._settings.apart_s)
        before = None if self._fresh is None else self._fresh.value()
        if self._trigger is not None:
            self._triggered(self._trigger, until_s)
        if self._fresh is not None:
            self._renewed(self._fresh, before, until_s)
        read: dict[str, Any] = {}
        for source in self._sources:
            read |= zip(source.whole_names, source.device.read_all(source.names), strict=True)
        return read

    def _triggered(self, trigger: _Named, until_s: float) -> None:
        trigger.device.command(trigger.name)
        while (state := trigger.device.state) in BUSY:
            if self.now_s() > until_s:
                raise DeviceError(f"{trigger.name} is not done after {self._settings.value_s:g} s")
            self.rest(POLL_S)
        if state == "FAULT":
            raise DeviceError(f"{trigger.name} ended in FAULT: what is read then is of no exposure")

    def _renewed(self, fresh: _Named, before: Any, until_s: float) -> None:
        while fresh.value() == before:
            if self.now_s() > until_s:
                raise DeviceError(f"{fresh.name} is still {before} after {self._settings.value_s:g} s")
            self.rest(POLL_S)
