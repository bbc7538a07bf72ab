"""`braggloop` in a session: aligns the session's own axes, and tells what the Tango devices know.

- plugin: generic
  package: braggloop_bliss.align
  class: Braggloop
  name: braggloop
  alignment: braggloop/alignment/1
  reconstruction: braggloop/reconstruction/1
  counter: $diode           # what is driven up
  count_time: 0.1
  axes:                     # what no limit of Bliss tells
    - {axis: $eta, width: 0.05, tolerance: 0.002, largest_step: 0.2}
  plan: {most_exposures: 200}
"""

from __future__ import annotations

import contextlib
import getpass
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from braggloop_bliss.attributes import numbers, values
from braggloop_bliss.bliss_api import (
    METADATA,
    Axis,
    Counter,
    DevFailed,
    DeviceProxy,
    RedisError,
    Scan,
    ScanState,
    limits_of,
    reason,
)
from braggloop_bliss.client import Client, Hands
from braggloop_bliss.flint import Pictures
from braggloop_bliss.lines import Told, one_line, places
from braggloop_bliss.pictures import WITHOUT
from braggloop_bliss.plan import axis_settings, section
from braggloop_bliss.quality import conditions
from braggloop_bliss.watch import KEPT, ON_HOLD, WAIT_S, Results, Watch, kept, resumed, series_of, told_of

ARMED_S = 3600.0
COUNT_TIME_S = 0.1
RESTORED = ("start", "best")
ALIGNED = ("aligned", "rehearsed")
BY_A_PERSON = ("stopped", "aborted")  # who wants axes to stand
SHOWN = {
    "alignment": ("outcome", "reason", "exposures", "moves", "refused", "value", "bestValue", "armedBy"),
    "reconstruction": (
        "seriesId", "seriesStatus", "rFactor", "resolution", "strainRms", "defectClass", "latency", "lastFile",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Alignment:
    """How an alignment ended: `outcome` and why, the best point, the most that was counted by then, what is `counted`
    where the axes stand in the end (NaN where it did not succeed); its exposures, and that one, as a scan.
    """

    outcome: str
    reason: str
    best: Mapping[str, float]
    best_value: float
    exposures: int
    positions: Mapping[str, float]
    counted: float = math.nan
    scan: Scan | None = None

    @property
    def aligned(self) -> bool:
        return self.outcome in ALIGNED

    def __info__(self) -> str:
        """All of it, as the session shows what a call returns."""
        known: dict[str, Any] = {"reason": self.reason, "axes": places(self.positions), "exposures": self.exposures}
        if not math.isnan(self.counted):
            known["counted there"] = f"{self.counted:g}"
        if self.best:
            known["best point"] = places(self.best)
            known["most counted"] = f"{self.best_value:g}"
        return str(Told(self.outcome, known))

    def __str__(self) -> str:
        most = f"; best point: {places(self.best)}; most counted: {self.best_value:g}" if self.best else ""
        if not math.isnan(self.counted):
            most = f"; counted there: {self.counted:g}"
        return f"{self.outcome}: {self.reason}; axes at {places(self.positions)}; {self.exposures} exposures{most}"


class Braggloop:
    """Braggloop's devices, as a session sees them."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.name = config["name"]
        self._config = config
        self._proxies: dict[str, Any] = {}
        self._hands: Hands | None = None
        self._journal = ""  # of the last alignment of this session
        self._pictures = Pictures(self._device)
        self._watched: WeakSet[Scan] = WeakSet()

    def align(
        self,
        *axes: Axis,
        counter: Counter | None = None,
        count_time: float | None = None,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        seconds: float = ARMED_S,
        by: str = "",
        restore: str | None = None,
        **plan: Any,
    ) -> Alignment:
        """Move axes to where most is counted, and return how that ended. Ctrl-C stops all axes.

        Without `axes` all of the YAML are moved; `settings` (axis name -> low, high, width ...) and `plan` (method,
        most_exposures ...; [alignment] in Braggloop's settings) stand above what the YAML says. Moves are allowed for
        `seconds`, by the name of the user or `by`. Where it does not succeed, axes go back to `restore`: "start",
        "best", or nowhere, and nowhere if a person stopped it. Raises ValueError for wrong use, RuntimeError where a
        device refuses or is gone.
        """
        if restore not in (None, *RESTORED):
            raise ValueError(f"restore={restore!r}, expected {' or '.join(map(repr, RESTORED))} or None")
        axes = axes or tuple(item["axis"] for item in self._config.get("axes", ()))
        counter = counter or self._counter()
        if not axes or counter is None:
            raise ValueError("nothing to align: name axes and counter=, or write them into the YAML")
        if strange := [axis for axis in axes if not isinstance(axis, Axis)]:
            raise ValueError(f"align: {strange[0]!r} is no axis; name them as objects: align(x, y)")
        if len(set(axes)) < len(axes):
            raise ValueError(f"align: an axis is named twice: {', '.join(axis.name for axis in axes)}")
        hands = Hands(axes, counter, count_time or float(self._config.get("count_time", COUNT_TIME_S)))
        with _in_one_line():
            text = section(self._settings(axes, settings or {}), {**dict(self._config.get("plan") or {}), **plan})
            device = self._device("alignment")
            device.Configure(text)
            device.Arm([by or getpass.getuser(), str(seconds)])
        self._hands = hands
        with self._stopping(hands):
            device.Start()
            self._journal = str(device.journal)
            end = self._follow(hands, counter.name)
            if restore and end["outcome"] not in (*ALIGNED, *BY_A_PERSON):
                device.Restore(restore)
                self._follow(hands, counter.name)
            counted = hands.do({"kind": "expose"}).get("value", math.nan) if end["outcome"] == "aligned" else math.nan
            result = self._result(end, hands, counted)
            hands.points.end({"outcome": result.outcome, "reason": result.reason, "best": dict(result.best)})
        print(f"{self.name}: {result}")
        return result

    def restore(self, to: str = "start") -> None:
        """Bring the axes of the last alignment back to its "start" or "best" point, while it is armed."""
        if self._hands is None:
            raise ValueError("restore: nothing was aligned in this session")
        with _in_one_line():
            device = self._device("alignment")
            if device.journal != self._journal:
                raise ValueError("restore: another alignment was armed since; its axes are not these")
            device.Restore(to)
        with self._stopping(self._hands):
            end = self._follow(self._hands, "")
        print(f"{self.name}: {end['why']}; axes at {places(self._hands.positions())}")

    def show(self, *axes: Axis) -> None:
        """Show slices, counts and the way of the alignment in Flint, and go on with every new result.

        The way is shown over two of its axes, the first ones or `axes`. Raises RuntimeError where Flint or a device
        does not come up.
        """
        try:
            self._pictures.show([axis.name for axis in axes])
        except Exception as error:
            raise RuntimeError(f"{self.name}: no pictures: {one_line(error)}") from error

    def hide(self) -> None:
        """Show no more pictures, and close their tab."""
        self._pictures.hide()

    def save_pictures(self, path: str) -> None:
        """Write what the pictures' tab shows to a PNG file, for a logbook. Raises RuntimeError where there is none."""
        self._pictures.save(os.path.abspath(path))

    def status(self) -> Told:
        """What both devices are doing, and their main figures."""
        known: dict[str, Any] = {}
        for kind, names in SHOWN.items():
            try:
                device = self._device(kind)
                read = values(device, names)
                if read.get("seriesStatus") in WITHOUT:  # the figures are those of the crystal before
                    read = {name: read[name] for name in ("seriesId", "seriesStatus")}
                shown = {name: _shown(value) for name, value in read.items()}
                known[kind] = f"{device.state()}: {one_line(device.status())}"
            except DevFailed as error:
                known[kind] = f"does not answer: {one_line(error)}"
                continue
            known.update({f"  {name}": value for name, value in shown.items() if value})
        if self._pictures.shown:
            known["pictures"] = self._pictures.trouble or "shown in Flint"
        return Told(f"{self.name}:", known)

    def defects(self) -> Told:
        """What is wrong with the last crystal, as Reconstruction knows it. Raises RuntimeError where it is gone."""
        with _in_one_line():
            found = values(
                self._device("reconstruction"), ("seriesId", "defectClass", "defectProbability", "defectCount", "hold")
            )
        if not found["defectClass"]:
            return Told(
                f"{self.name}: nobody asked for defects ([defects] classify = true in the worker's settings), or they"
                " cannot be told, as the result's warnings say",
                {},
            )
        known = {
            "class": f"{found['defectClass']}, probability {found['defectProbability']:.2f}",
            "count": f"{found['defectCount']} at least",
            "hold": "yes: wait for a person" if found["hold"] else "no",
        }
        return Told(f"{self.name}: defects of series {found['seriesId']}", known)

    def watch(self, scan: Scan, until: str = "", on_hold: str = "go on", wait_s: float = WAIT_S) -> Watch:
        """Have a scan that was made with run=False watched, from its first point to the result of its frames.

        `until` ("resolution < 20, explained > 0.9", names of Reconstruction's attributes) ends it after the point at
        which a preliminary result meets all of that, undoubted, and has hardly more counts than the one before: no scan
        ends before it has passed the reflection. `on_hold`: what a defect that is looked for does to it, "go on",
        "pause" (until resume() is called) or "end"; where the worker closes the series meanwhile, for want of frames,
        resume() ends the scan with it. At its end the result is awaited for `wait_s`, or until the worker is silent;
        figures and why it ended are in scan_info["instrument"]. A scan whose frames come from elsewhere, begun while
        another series is worked on, runs unwatched, which one line tells. Raises ValueError for wrong use, such as
        `until` or `on_hold` for a continuous scan, RuntimeError where Reconstruction does not answer.
        """
        if on_hold not in ON_HOLD:
            raise ValueError(f"on_hold={on_hold!r}, expected {', '.join(map(repr, ON_HOLD))}")
        if scan.state != ScanState.IDLE:
            raise ValueError("this scan has run: make one with run=False, watch it, then scan.run()")
        if scan in self._watched:
            raise ValueError("this scan is watched already: run it, or make another one")
        wanted = conditions(until, self._figures()) if until else ()
        watch = Watch(self.name, scan, lambda: Results(self._device("reconstruction")), wanted, on_hold, wait_s)
        self._watched.add(scan)
        return watch

    def reconstruct(self, scan: Scan, until: str = "", on_hold: str = "go on", wait_s: float = WAIT_S) -> Told:
        """Return the figures of a scan's crystal: of one that has run, or that runs now, watched (see watch()).

        One that is watched already is only run. Raises RuntimeError where there is no result within `wait_s`, or the
        scan sent no series; ValueError for wrong use.
        """
        if scan.state != ScanState.IDLE and (until or on_hold != ON_HOLD[0]):
            raise ValueError("until and on_hold are for a scan made with run=False: this one has begun")
        if scan.state == ScanState.IDLE:
            if scan not in self._watched or until or on_hold != ON_HOLD[0]:
                self.watch(scan, until, on_hold, wait_s)
            scan.run()
        known = dict(scan.scan_info.get(METADATA, {}).get(self.name, {}))
        if "seriesStatus" not in known:
            sent = series_of(scan)
            series = known.get("seriesUniqueId", "") or (sent.name_of_series if sent else "")
            known.update(kept(self._final(series, wait_s)))
        return told_of(self.name, known)

    def reprocess(self, wait_s: float = WAIT_S) -> Told:
        """Have the worker invert the last series again, with its present settings, and return the new figures."""
        with _in_one_line():
            device = self._device("reconstruction")
            results, former = Results(device), device.sequence
            results.series = results.before
            device.ReprocessLast()
            told = results.final(wait_s, former)
        if not told:
            raise RuntimeError(f"{self.name}: no new result of series {results.series} within {wait_s:g} s")
        return told_of(self.name, kept(told))

    def resume(self) -> None:
        """Let a scan go on that is paused on a defect, in this session or another one of the same Beacon."""
        count = resumed(self.name)
        count.set(count.get() + 1)

    def __info__(self) -> str:
        names = ", ".join(item["axis"].name for item in self._config.get("axes", ()))
        try:
            counter = self._counter()
            most = counter.name if counter else "counts"
        except ValueError as error:
            most = f"counts ({error})"
        said = f"align() moves {names or 'the axes that it is given'} to the most {most}"
        also = "restore(), status(), defects(), watch(), reconstruct(), reprocess(), resume(), show()"
        return f"{self.status()}\n  {said}; also {also}"

    def _settings(self, axes: tuple[Axis, ...], said: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        strange = set(said) - {axis.name for axis in axes}
        if strange:
            raise ValueError(f"settings of {', '.join(sorted(strange))}, which is not aligned")
        known = {
            item["axis"].name: {key: item[key] for key in item if key != "axis"}
            for item in self._config.get("axes", ())
        }
        return {
            axis.name: axis_settings(axis.name, limits_of(axis), known.get(axis.name, {}), said.get(axis.name, {}))
            for axis in axes
        }

    def _figures(self) -> frozenset[str]:
        """The names of all numbers of Reconstruction that a watch reads."""
        with _in_one_line():
            return frozenset(number.name for number in numbers(self._device("reconstruction"))) & KEPT.keys()

    def _final(self, series: str, wait_s: float) -> dict[str, Any]:
        if not series:
            raise RuntimeError(f"{self.name}: no series of that scan is known; reconstruct() one made with run=False")
        with _in_one_line():
            results = Results(self._device("reconstruction"))
            results.series = series
            if told := results.final(wait_s):
                return told
        last = results.before or "none"
        raise RuntimeError(f"{self.name}: no result of series {series} within {wait_s:g} s; the last one is of {last}")

    def _counter(self) -> Counter | None:
        """The counter of the YAML; raises ValueError where it is not there yet, a detector's region for instance."""
        try:
            return self._config.get("counter")
        except Exception as error:
            raise ValueError(f"no counter {self._config.raw_get('counter').encode()}: {one_line(error)}") from error

    def _device(self, kind: str) -> Any:
        if kind not in self._proxies:
            self._proxies[kind] = DeviceProxy(self._config[kind])
        return self._proxies[kind]

    def _follow(self, hands: Hands, counter: str) -> dict[str, Any]:
        return Client(self._device("alignment"), hands, _Table(counter, hands.positions())).follow()

    def _result(self, end: Mapping[str, Any], hands: Hands, counted: float) -> Alignment:
        read = values(self._device("alignment"), ("exposures", "bestValue"))
        return Alignment(
            end["outcome"], end["why"], end["best"], float(read["bestValue"]), int(read["exposures"]),
            hands.positions(), counted, hands.points.scan,
        )  # fmt: skip

    @contextlib.contextmanager
    def _stopping(self, hands: Hands) -> Iterator[None]:
        """Stop all axes and abort the loop on Ctrl-C and on any error; one line says where they stand."""
        try:
            yield
        except Exception as error:
            who = f"{self._config['alignment']}: " if isinstance(error, DevFailed) else ""
            raise RuntimeError(f"{who}{reason(error)}; {self._given_up(hands)}") from error
        except BaseException as error:  # Ctrl-C, or the session ends what it runs
            why = "Ctrl-C" if isinstance(error, KeyboardInterrupt) else type(error).__name__
            print(f"{self.name}: stopped by {why}; {self._given_up(hands)}")
            raise

    def _given_up(self, hands: Hands) -> str:
        """Stop the axes, end the loop, and say where they stand."""
        try:
            hands.stop()
            said = f"axes stopped{_where(hands)}"
        except Exception as error:  # noqa: BLE001 - whatever an axis says, the loop must be ended too
            said = reason(error)
        with contextlib.suppress(DevFailed):  # where the device is gone there is nothing to abort
            self._device("alignment").Abort()
        hands.points.give_up()
        with contextlib.suppress(DevFailed):
            Client(self._device("alignment"), hands, lambda _: None).follow()
        return said


@contextlib.contextmanager
def _in_one_line() -> Iterator[None]:
    """Turn what a Tango device refuses, or that Beacon is gone, into RuntimeError."""
    try:
        yield
    except (DevFailed, RedisError) as error:
        raise RuntimeError(reason(error)) from error


def _where(hands: Hands) -> str:
    """` at eta 25.01`; nothing where Bliss cannot tell, without its Redis for instance."""
    try:
        return f" at {places(hands.positions())}"
    except Exception:  # noqa: BLE001 - that they stand is said all the same
        return ""


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)


class _Table:
    """One line for each exposure, as it comes."""

    def __init__(self, counter: str, axes: Mapping[str, float]) -> None:
        self._exposures, self._best = 0, -math.inf
        self._head = f"{'':>4} {counter:>12} {'best':>12} " + " ".join(f"{name:>12}" for name in axes)

    def __call__(self, report: Mapping[str, Any]) -> None:
        if report["kind"] != "exposed":
            return
        if not self._exposures:
            print(self._head)
        self._exposures += 1
        self._best = max(self._best, report["value"])
        standing = " ".join(f"{place:>12.6g}" for place in report["positions"].values())
        print(f"{self._exposures:>4} {report['value']:>12.6g} {self._best:>12.6g} {standing}", flush=True)
