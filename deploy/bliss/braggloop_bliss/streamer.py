"""FrameStreamer as a detector: any step scan that counts it sends one series, a frame a point.

- plugin: generic
  package: braggloop_bliss.streamer
  class: FrameStreamerDetector
  name: frames
  device: braggloop/streamer/1
  positions: [$theta, $chi]   # axes that the frames tell the positions of, beside those that are scanned

Frames tell positions in degrees and metres: those of an axis whose unit in the YAML is neither an angle nor a length,
or is missing, are left out, which a line says before the axes move.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import gevent
from tango import DevState

from braggloop_bliss.attributes import values
from braggloop_bliss.bliss_api import (
    Axis,
    DevFailed,
    DeviceProxy,
    SamplingCounter,
    SamplingCounterAcquisitionSlave,
    SamplingCounterController,
    SamplingMode,
    log_warning,
    planned,
    title_of,
)
from braggloop_bliss.lines import one_line
from braggloop_bliss.units import factor_of

ASKED = {"loop": False, "triggerMode": "software"}  # of the device, for the time of a scan
READ = ("frameCounts", "sent", "dropped")
BEGIN_S = 30.0  # the twin makes its crystal first
END_S = 10.0
LOOK_S = 0.05


class FrameStreamerDetector(SamplingCounterController):
    """A FrameStreamer with software trigger: `counts` of each point's frame, and how many were `sent`."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config["name"])
        self.max_sampling_frequency = None
        self._device_name = config["device"]
        self._axes = tuple(config.get("positions", ()))
        self._proxy: Any = None
        self._dropped = 0
        for name, unit in (("counts", "counts"), ("sent", None)):
            SamplingCounter(name, self, unit=unit, mode=SamplingMode.SINGLE)

    @property
    def device(self) -> Any:
        """The Tango device; raises DevFailed where it cannot be reached."""
        if self._proxy is None:
            self._proxy = DeviceProxy(self._device_name)
        return self._proxy

    def get_acquisition_object(self, acq_params: Any, ctrl_params: Any, parent_acq_params: Any) -> FrameSeries:
        return FrameSeries(self, ctrl_params=ctrl_params, **acq_params)

    def read_all(self, *counters: SamplingCounter) -> list[float]:
        """Trigger one frame and read what became of it. Raises RuntimeError where no series runs."""
        with self.in_one_line():
            self.device.command_inout("Trigger")
            counts, sent, dropped = values(self.device, READ).values()
        if dropped > self._dropped == 0:
            log_warning(self, "%s: nobody takes the frames; is the worker up?", self.name)
        self._dropped = dropped
        read = {"counts": float(counts), "sent": float(sent)}
        return [read[counter.name] for counter in counters]

    def standing(self) -> dict[Axis, float]:
        """Where the axes that the frames tell the positions of stand, in their user units."""
        return {axis: float(axis.position) for axis in self._axes}

    def abort(self) -> None:
        """Give up the series that runs, as after a session that was killed in a scan; acknowledge a fault."""
        with self.in_one_line():
            (self.device.Reset if self.device.state() == DevState.FAULT else self.device.Abort)()

    @contextlib.contextmanager
    def in_one_line(self) -> Iterator[None]:
        """Turn what the device refuses into RuntimeError."""
        try:
            yield
        except DevFailed as error:
            raise RuntimeError(f"{self.name}: {self._device_name}: {one_line(error)}") from error

    def __info__(self) -> str:
        try:
            told = f"{self.device.state()}: {one_line(self.device.status())}"
        except DevFailed as error:
            told = f"does not answer: {one_line(error)}"
        names = ", ".join(axis.name for axis in self._axes) or "no axis"
        return f"{self.name}: frames of {self._device_name}\n  {told}\n  a frame a point, with positions of {names}"


class FrameSeries(SamplingCounterAcquisitionSlave):
    """The series that one scan sends: begun with its first point, ended with its last, or as the scan ends.

    A scan that ends early in good order says so by `end_early`; after any other end before the last point the series
    is given up, so that nobody waits for it.
    """

    name_of_series = ""
    _begun = _early = False
    _former: Mapping[str, Any] = {}  # what ASKED stands for before and after the scan

    def end_early(self) -> None:
        """Let the series be closed at the end of the scan, with the frames that it has."""
        self._early = True

    def apply_parameters(self) -> None:
        super().apply_parameters()
        # Axes move as a scan is prepared: what refuses a scan does so before.
        with self.device.in_one_line():
            self._refuse_unready()
        if untold := [axis.name for axis in self._positions() if factor_of(axis.unit) is None]:
            wants = (
                "positions are told in degrees and metres, and not of %s: expected its unit (deg, um ...) in the YAML"
            )
            log_warning(self.device, f"%s: {wants}", self.device.name, ", ".join(untold))

    def start_device(self) -> None:
        streamer = self.device.device
        with self.device.in_one_line():
            self._wait_until(lambda: streamer.state() != DevState.RUNNING, END_S, "still sends a series")
            former = streamer.seriesUniqueId
            self._former = self._former or {name: streamer.read_attribute(name).value for name in ASKED}
            for name, value in ASKED.items():
                streamer.write_attribute(name, value)
            streamer.Announce(json.dumps(self._announcement()))
            self._begun = True
            streamer.Start()
            self._wait_until(
                lambda: streamer.state() == DevState.RUNNING and streamer.seriesUniqueId not in ("", former),
                BEGIN_S,
                "did not begin its series",
            )
            self.name_of_series = str(streamer.seriesUniqueId)

    def stop_device(self) -> None:
        try:
            if self._begun:
                self._close()
        finally:
            self._restore()

    def _close(self) -> None:
        streamer = self.device.device
        with self.device.in_one_line():
            if self._nb_acq_points < self.npoints:
                (streamer.Stop if self._early else streamer.Abort)()
            self._wait_until(lambda: streamer.state() != DevState.RUNNING, END_S, "did not end its series")

    def _restore(self) -> None:
        for name, value in self._former.items():
            try:
                self.device.device.write_attribute(name, value)
            except DevFailed as error:  # the scan has ended, or failed for a reason of its own
                log_warning(self.device, "%s: %s stays %s: %s", self.device.name, name, ASKED[name], one_line(error))

    def get_acquisition_metadata(self, timing: Any = None) -> Any:
        if timing == self.META_TIMING.END and self.name_of_series:
            return {"series": self.name_of_series}
        return super().get_acquisition_metadata(timing=timing)

    def _announcement(self) -> dict[str, Any]:
        known = {"frames": self.npoints, "positions": self._told_positions(), "title": title_of(self)}
        return {**known, "count_time_s": float(self.count_time)} if self.count_time else known

    def _positions(self) -> dict[Axis, float | list[float]]:
        """Where axes stand or, scanned, where they will at each point, in their user units."""
        return {**self.device.standing(), **planned(self)}

    def _told_positions(self) -> dict[str, float | list[float]]:
        """Where they do so in degrees or metres."""
        told: dict[str, float | list[float]] = {}
        for axis, where in self._positions().items():
            if (factor := factor_of(axis.unit)) is not None:
                told[axis.name] = [factor * place for place in where] if isinstance(where, list) else factor * where
        return told

    def _refuse_unready(self) -> None:
        streamer, name = self.device.device, self.device.name
        if other := [counter.name for counter in self._counters if counter.mode != SamplingMode.SINGLE]:
            raise RuntimeError(
                f"{name}: sampling mode of {', '.join(other)} would trigger several frames a point, expected SINGLE"
            )
        state = streamer.state()
        if state == DevState.FAULT:
            raise RuntimeError(f"{name}: FAULT: {one_line(streamer.status())}; that is {name}.abort()")
        if state == DevState.RUNNING:
            raise RuntimeError(
                f"{name}: series {streamer.seriesId} is sent, {streamer.sent} of {streamer.frames} frames;"
                f" wait for its end, or {name}.abort()"
            )

    def _wait_until(self, true: Any, most_s: float, otherwise: str) -> None:
        with gevent.Timeout(most_s, False):
            while not true():
                if self.device.device.state() == DevState.FAULT:
                    break
                gevent.sleep(LOOK_S)
            else:
                return
        raise RuntimeError(f"{self.device.name}: {otherwise}: {one_line(self.device.device.status())}")
