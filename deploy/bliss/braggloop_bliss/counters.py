"""Counters of one of Braggloop's Tango devices: every number that it shows, read at once.

- plugin: generic
  package: braggloop_bliss.counters
  class: TangoCounters
  name: reconstruction
  device: braggloop/reconstruction/1
  valid_if: workerAnswers   # a flag of the device, without which its numbers are none; can be left out
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from tango import AttrQuality

from braggloop_bliss.attributes import numbers
from braggloop_bliss.bliss_api import (
    DevFailed,
    DeviceProxy,
    SamplingCounter,
    SamplingCounterController,
    SamplingMode,
    log_warning,
)
from braggloop_bliss.lines import one_line

SLOW_S, PAUSE_S = 1.0, 10.0  # an answer that takes so long is not asked for again so soon


class Stale(Exception):
    """A device answers, but its numbers are not of now; its Status tells why."""


class TangoCounter(SamplingCounter):
    """One scalar attribute; its unit, format and description are Tango's."""

    def __init__(self, attribute: Any, controller: TangoCounters) -> None:
        super().__init__(attribute.name, controller, unit=attribute.unit or None, mode=SamplingMode.SINGLE)
        self.format, self.description = attribute.format, attribute.description

    def shown(self, value: float) -> str:
        """A value as people read it."""
        if math.isnan(value):
            return "none yet"
        whole = self.format.endswith("d")
        return f"{self.format % (int(value) if whole else value)} {self.unit or ''}".rstrip()

    def __info__(self) -> str:
        value = self.shown(self._counter_controller.read_all(self)[0])
        return f"{self.fullname}: {value}\n  {self.description}"


class TangoCounters(SamplingCounterController):
    """Counters of one device, found when it is first reached.

    A point reads all counters that are counted by one call, once, when it begins. What has no value yet is NaN; so is
    everything while the device does not answer, or `valid_if` is false, which is said once: a scan goes on without it.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config["name"])
        self.max_sampling_frequency = None
        self._device_name, self._valid_if = config["device"], config.get("valid_if", "")
        self._proxy: Any = None
        self._silent = False
        self._ask_again_s = 0.0

    @property
    def device(self) -> Any:
        """The Tango device; raises DevFailed where it cannot be reached."""
        if self._proxy is None:
            self._proxy = DeviceProxy(self._device_name)
        return self._proxy

    @property
    def counters(self) -> Any:
        """All counters; none while the device was not reached yet."""
        if not self._counters:
            self._asked(self._find)
        return super().counters

    def read_all(self, *counters: TangoCounter) -> list[float]:
        """Read the values of counters by one call."""
        names = [counter.name for counter in counters]
        return self._asked(lambda: self._read(names)) or [math.nan] * len(counters)

    def _read(self, names: list[str]) -> list[float]:
        asked = list(dict.fromkeys([*names, self._valid_if] if self._valid_if else names))
        values = dict(zip(asked, map(_number, self.device.read_attributes(asked)), strict=True))
        if self._valid_if and values[self._valid_if] != 1.0:
            raise Stale(self.device.status())
        return [values[name] for name in names]

    def _find(self) -> None:
        for attribute in numbers(self.device):
            TangoCounter(attribute, self)

    def _asked(self, ask: Callable[[], Any]) -> Any:
        """What the device answers; None where it does not, and a word about that, once."""
        began_s = time.monotonic()
        if began_s < self._ask_again_s:
            return None
        try:
            answer = ask()
        except (DevFailed, Stale) as error:
            if time.monotonic() - began_s > SLOW_S:  # a device that hangs: each point would wait for Tango's timeout
                self._ask_again_s = time.monotonic() + PAUSE_S
            if not self._silent:
                log_warning(self, "%s: %s", self.name, one_line(error))
            self._silent = True
            return None
        self._silent = False
        return answer

    def __info__(self) -> str:
        counters = list(self.counters)
        if not counters:
            return f"{self.name}: {self._device_name} does not answer"
        width = max(len(counter.name) for counter in counters)
        values = zip(counters, self.read_all(*counters), strict=True)
        lines = [f"  {counter.name:<{width}}  {counter.shown(value)}" for counter, value in values]
        return "\n".join([f"{self.name}: counters of {self._device_name}", *lines])


def _number(reading: Any) -> float:
    if reading.has_failed or reading.value is None or reading.quality == AttrQuality.ATTR_INVALID:
        return math.nan
    return float(reading.value)
