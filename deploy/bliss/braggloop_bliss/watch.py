"""Watches what becomes of a scan's frames: ends it when the crystal is known well enough, keeps the figures with it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gevent

from braggloop_bliss.attributes import values
from braggloop_bliss.bliss_api import (
    ChainIterationPreset,
    ChainPreset,
    DevFailed,
    Scan,
    ScanPreset,
    SimpleSetting,
    StopChain,
    by_points,
    event,
    metadata_of,
)
from braggloop_bliss.lines import Told, one_line
from braggloop_bliss.pictures import WITHOUT
from braggloop_bliss.quality import Condition, said
from braggloop_bliss.streamer import FrameSeries

LOOK_S = 0.3
WAIT_S = 120.0
SILENT_S = 5.0  # a worker that answers nothing for so long, beside what Reconstruction bears, sends no result
BUSY_S = 5.0  # Reconstruction asks each second whether the worker is busy
BEHIND_S = 1.0  # a result may come behind the word that the worker is free
# Counts grow by less than this from one preliminary result to the next once the scan has passed the reflection. Before,
# what hot pixels and background show can meet any condition.
SETTLED = 0.05
ON_HOLD = ("go on", "pause", "end")
FINAL = ("done", "incomplete", "failed", "aborted")
# What is kept of a result: by Tango's names, with their units where they have one.
KEPT: Mapping[str, str] = {
    "sequence": "", "seriesId": "", "seriesUniqueId": "", "seriesStatus": "", "rFactor": "", "chi2": "",
    "freeLogLikelihood": "", "explained": "", "agreement": "", "resolution": "nm", "supportVolume": "nm^3",
    "strainRms": "", "strainMin": "", "strainMax": "", "fluxCounts": "counts", "peakCounts": "counts", "tier": "",
    "doubt": "", "repairDoubt": "", "defectClass": "", "defectProbability": "", "defectCount": "", "hold": "",
    "latency": "s", "lastFile": "", "lastError": "",
}  # fmt: skip


# What is kept of a series without a crystal: Reconstruction goes on showing the one before it.
OF_NONE = ("sequence", "seriesId", "seriesUniqueId", "seriesStatus", "lastError")


class Results:
    """What Reconstruction tells of one series; `series` empty: of the first one that is not `before`."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self.before = str(device.seriesUniqueId)
        self.series = ""

    def latest(self) -> dict[str, Any]:
        """Return the figures of the last result, final or preliminary; empty while there is none. Raises DevFailed."""
        told = values(self._device, tuple(KEPT))
        self.series = self.series or (told["seriesUniqueId"] if told["seriesUniqueId"] != self.before else "")
        return told if self.series and told["seriesUniqueId"] == self.series else {}

    def final(self, most_s: float, former: int | None = None) -> dict[str, Any]:
        """Wait for the final result, of another number than `former`, and return it; empty where it does not come.

        Raises DevFailed, and RuntimeError where the worker is silent.
        """
        heard_s = time.monotonic()
        with gevent.Timeout(most_s, False):
            while (told := self.latest()).get("seriesStatus") not in FINAL or told["sequence"] == former:
                heard_s = time.monotonic() if self._device.workerAnswers else heard_s
                if time.monotonic() - heard_s > SILENT_S:
                    raise RuntimeError(f"no result: {one_line(self._device.status())}")
                gevent.sleep(LOOK_S)
            return told
        return {}

    def busy(self) -> bool:
        """Whether the worker works on a series for some seconds more; where it does not, `before` is of the end of it.

        Raises DevFailed.
        """
        if not self._device.workerBusy:
            return False
        with gevent.Timeout(BUSY_S, False):
            while self._device.workerBusy:
                gevent.sleep(LOOK_S)
            gevent.sleep(BEHIND_S)
            self.before = str(self._device.seriesUniqueId)
            return False
        return True


class Watch(ScanPreset):
    """Watches one scan; see Braggloop.watch.

    A pause may outlast the worker's patience (worker.stall_s): it closes the series with the frames that it has, and
    takes no later ones. The scan then ends where it is, in good order, once it is resumed. A series that was closed so
    with less than half of its frames has failed, until Braggloop.reprocess() has it inverted from the spool.
    """

    def __init__(
        self, name: str, scan: Scan, open_results: Callable[[], Results], wanted: tuple[Condition, ...], on_hold: str,
        wait_s: float,
    ) -> None:  # fmt: skip
        super().__init__()
        if (wanted or on_hold != ON_HOLD[0]) and not by_points(scan):
            raise ValueError("until and on_hold end or pause a scan between points; this one moves through them")
        self._metadata = metadata_of(scan, name)
        self._between = _BetweenPoints(self._next)
        scan.add_preset(self)
        scan.acq_chain.add_preset(self._between)
        self._name, self._open, self._wanted = name, open_results, wanted
        self._on_hold, self._wait_s = on_hold, wait_s
        self._shared = resumed(name)
        self._results: Results | None = None  # None too where what Reconstruction tells is of another series
        self._series: FrameSeries | None = None
        self._points, self._counts = 0, 0.0
        self._task: Any = None
        self._silent = self._resumed = self._closed = False
        self._reached = self._held = self._ended = ""

    def prepare(self, scan: Scan) -> None:
        self._metadata.update({"@NX_class": "NXprocess", "program": "Braggloop"})
        self._series = series_of(scan)
        self._points = int(scan.scan_info.get("npoints", 0))
        try:
            results = self._open()
            unwatched = self._series is None and results.busy()
        except DevFailed as error:
            raise RuntimeError(f"{self._name}: {one_line(error)}") from error
        if unwatched:
            self._metadata["ended"] = "unwatched"
            print(
                f"{self._name}: the worker works on another series, whose figures are not this scan's: it runs"
                " unwatched, to its end, and keeps no figures",
                flush=True,
            )
        else:
            self._results = results

    def start(self, scan: Scan) -> None:
        if self._results is not None:
            self._task = gevent.spawn(self._look)

    def stop(self, scan: Scan) -> None:
        if self._task is None:
            return
        self._task.kill()
        if not (self._ended or self._between.whole):
            self._metadata["ended"] = "given up"
            return
        self._ended = self._ended or f"after all {self._points} points"
        self._metadata["ended"] = self._ended
        assert self._results is not None
        try:
            self._metadata.update(kept(self._awaited(self._results)))
        finally:  # after Ctrl-C too
            if self._results.series:
                self._metadata["seriesUniqueId"] = self._results.series

    def _look(self) -> None:
        """Follow preliminary results, for as long as the scan runs."""
        while not self._reached:
            self._look_once()
            gevent.sleep(LOOK_S)

    def _look_once(self) -> None:
        try:
            self._judge(self._now())
            self._silent = False
        except Exception as error:  # noqa: BLE001 - whatever a device says, the scan goes on and is watched
            if not self._silent:
                print(f"{self._name}: {one_line(error)}; the scan goes on", flush=True)
            self._silent = True

    def _now(self) -> dict[str, Any]:
        assert self._results is not None
        if self._series is not None:
            if not self._series.name_of_series:
                return {}
            self._results.series = self._series.name_of_series
        return self._results.latest()

    def _judge(self, figures: Mapping[str, Any]) -> None:
        if not figures:
            return
        self._closed = figures["seriesStatus"] in FINAL
        if figures["seriesStatus"] in WITHOUT:
            return
        trusted = self._settled(figures["fluxCounts"]) and not figures["doubt"]
        if trusted and self._wanted and all(one.met(figures) for one in self._wanted):
            self._reached = said(self._wanted, figures)
        if figures["hold"] and not figures["doubt"]:
            self._held = f"defect {figures['defectClass']}, probability {figures['defectProbability']:.2f}"

    def _settled(self, counts: float) -> bool:
        """Whether this is another result than the last one, with little more counts."""
        former, self._counts = self._counts, counts
        return former < counts < (1.0 + SETTLED) * former

    def _next(self, done: int) -> None:
        """Hear, before the axes move, that so many points are done; raise StopChain to end the scan with them."""
        if self._reached:
            self._end(f"{self._reached} after {done} of {self._points} points")
        if self._held and self._on_hold == "end":
            self._end(f"{self._held} after {done} of {self._points} points")
        if self._held and self._on_hold == "pause":
            self._pause(done)
        if self._resumed and self._closed and self._series is not None:
            self._end(f"series closed by the worker in the pause, after {done} of {self._points} points")

    def _end(self, why: str) -> None:
        self._ended = why
        if self._series is not None:
            self._series.end_early()
        print(f"{self._name}: scan ended: {why}")
        raise StopChain

    def _pause(self, done: int) -> None:
        asked = self._shared.get()
        then = "takes no later frame of it" if self._series is None else "resume() ends the scan"
        print(
            f"{self._name}: {self._held}: paused after {done} of {self._points} points;"
            f" {self._name}.resume() in another session goes on, Ctrl-C gives the scan up; after worker.stall_s (30 s"
            f" unless set) without a frame the worker closes the series, and {then}",
            flush=True,
        )
        while self._shared.get() == asked:
            gevent.sleep(LOOK_S)
        self._on_hold, self._resumed = ON_HOLD[0], True  # a person has looked
        print(f"{self._name}: resumed", flush=True)
        self._look_once()

    def _awaited(self, results: Results) -> dict[str, Any]:
        """The final result; empty, and a line, where it does not come."""
        try:
            if self._now().get("seriesStatus") not in FINAL:
                print(
                    f"{self._name}: waits for the result, {self._wait_s:g} s at most; Ctrl-C ends the waiting, all"
                    " points stay, and Bliss then calls the scan aborted by the user",
                    flush=True,
                )
            told = results.final(self._wait_s)
        except (DevFailed, RuntimeError) as error:
            print(f"{self._name}: {one_line(error)}; {self._name}.reconstruct(scan) waits again")
            return {}
        if not told:
            print(f"{self._name}: no result within {self._wait_s:g} s; {self._name}.reconstruct(scan) waits again")
        elif told["seriesStatus"] == "failed":
            print(f"{self._name}: series failed: {told['lastError']}; {self._name}.reprocess() has it inverted again")
        return told

    def __info__(self) -> str:
        wanted = ", ".join(f"{one.name} {one.sign} {one.number:g}" for one in self._wanted)
        ends = f"ends it once {wanted}" if wanted else "lets it run to its end"
        return f"{self._name}: watches a scan, {ends}; on a defect that is looked for: {self._on_hold}"


class _BetweenPoints(ChainPreset):
    """Calls `heard` with the number of points that are done before the next one begins; `whole` after the last one."""

    def __init__(self, heard: Callable[[int], None]) -> None:
        self._heard = heard
        self.whole = False

    def get_iterator(self, chain: Any) -> Iterator[ChainIterationPreset]:
        # Bliss asks for the next one in the greenlet of the chain, where StopChain ends a scan in good order.
        done = 0
        while True:
            self._heard(done)
            yield ChainIterationPreset()
            done += 1

    def start(self, chain: Any) -> None:
        event.connect(chain.top_masters[0], "end", self._end)

    def before_stop(self, chain: Any) -> None:
        # After the last point "end" is heard before this, after anything else behind it.
        event.disconnect(chain.top_masters[0], "end", self._end)

    def _end(self, *_: Any, **__: Any) -> None:
        self.whole = True


def resumed(name: str) -> SimpleSetting:
    """How often a person said to go on: every session of the same Beacon sees it."""
    return SimpleSetting(f"{name}:resumed", default_value=0)


def series_of(scan: Scan) -> FrameSeries | None:
    """Return the series of a FrameStreamer that a scan sends; None where it has no such detector."""
    return next((node for node in scan.acq_chain.nodes_list if isinstance(node, FrameSeries)), None)


def kept(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a result as a scan's metadata: plain types, no NaN, which Redis refuses."""
    known: dict[str, Any] = {}
    if figures.get("seriesStatus") in WITHOUT:
        figures = {name: figures[name] for name in OF_NONE}
    for name, value in figures.items():
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            continue
        if name.startswith("defect") and not figures.get("defectClass"):
            continue  # nothing was told
        known[name] = value.item() if hasattr(value, "item") else value
        if KEPT[name]:
            known[f"{name}@units"] = KEPT[name]
    return known


def told_of(name: str, known: Mapping[str, Any]) -> Told:
    """Return a result's figures as people read them."""
    shown = {key: _shown(value, known.get(f"{key}@units", "")) for key, value in known.items() if "@" not in key}
    return Told(f"{name}: series {known.get('seriesId', '?')}", shown)


def _shown(value: Any, unit: str) -> str:
    return f"{value:.6g} {unit}".rstrip() if isinstance(value, float) else f"{value} {unit}".rstrip()
