"""Does what CrystalAlignment suggests, with the session's own axes and counter, and reports what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gevent

from braggloop_bliss.bliss_api import Axis, Counter, DevFailed, move, stop
from braggloop_bliss.lines import one_line
from braggloop_bliss.points import Points

# How often is asked whether the suggestion still holds: a sign of life, and how soon a Stop from elsewhere is obeyed.
LOOK_S = 0.5


class Hands:
    """The session's axes and the counter that tells how well they stand."""

    def __init__(self, axes: Sequence[Axis], counter: Counter, count_time_s: float) -> None:
        self._axes = {axis.name: axis for axis in axes}
        self._counter = counter
        self.points = Points("align", axes, counter, count_time_s)

    def positions(self) -> dict[str, float]:
        """Where the axes stand, in their user units."""
        return {name: float(axis.position) for name, axis in self._axes.items()}

    def stop(self) -> None:
        """Stop all axes; raise RuntimeError where one does not obey."""
        stop(self._axes.values())

    def do(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Look, move, expose or halt, and return the report of it."""
        kind = wanted["kind"]
        try:
            if kind == "expose":
                return self._expose()
            if kind == "move":
                move({self._axes[name]: place for name, place in wanted["targets"].items()})
            elif kind == "halt":
                self.stop()
            return {"kind": "standing", "positions": self.positions()}
        except Exception as error:  # noqa: BLE001 - whatever an axis or Bliss says, the loop must hear that it failed
            return {"kind": "axes failed", "what": one_line(error)}

    def _expose(self) -> dict[str, Any]:
        try:
            value = self.points.count()
        except Exception as error:  # noqa: BLE001 - a counter that fails is a value that does not come
            return {"kind": "result lost", "what": f"{self._counter.name}: {one_line(error)}"}
        return {"kind": "exposed", "value": value, "positions": self.positions()}


class Client:
    """Follows one loop of a CrystalAlignment device to its end; `told` hears of each report."""

    def __init__(self, device: Any, hands: Hands, told: Callable[[Mapping[str, Any]], None]) -> None:
        self._device, self._hands, self._told = device, hands, told

    def follow(self) -> dict[str, Any]:
        """Do what is suggested until the end, and return that: `outcome`, `why` and `best`. Raises DevFailed."""
        while (wanted := self._suggested())["kind"] != "end":
            if wanted["kind"] == "wait":
                gevent.sleep(min(wanted["seconds"], LOOK_S))
            elif (report := self._done(wanted)) is not None:
                self._report(wanted["number"], report)
        return wanted

    def _suggested(self) -> dict[str, Any]:
        return dict(json.loads(self._device.Suggest()))

    def _done(self, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
        """Do it; None where another suggestion overtook it. However this ends, nothing goes on."""
        work = gevent.spawn(self._hands.do, wanted)
        try:
            while not work.ready():
                work.join(LOOK_S)
                if not work.ready() and self._suggested()["number"] != wanted["number"]:
                    return None
            return work.value
        finally:
            work.kill()

    def _report(self, number: int, report: Mapping[str, Any]) -> None:
        try:
            self._device.Report(json.dumps({"number": number, **report}))
        except DevFailed:
            if self._suggested()["number"] == number:
                raise
            return  # overtaken at the last moment: what is suggested now counts
        self._told(report)
