"""Follows the worker's results and its health: the controller behind Reconstruction."""

from __future__ import annotations

import dataclasses
import threading
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from service.devices.monitor_status import NAN, MonitorStatus
from service.devices.status import Board, State, no_image
from service.errors import DeviceError, DropError, SettingsError
from service.records import Accounting, Figures, ResultSummary, SeriesStatus
from service.settings import parse_settings

POLL_S = 0.2  # how long one wait for a result lasts before the worker's health is due
HEALTH_PERIOD_S = 1.0
SILENT_S = 5.0  # a worker that answers nothing for this long is called silent


class ResultSource(Protocol):
    """Where summaries come from, in order and without gaps; `lost` counts those that the worker no longer has."""

    lost: int

    def receive(self, timeout_s: float) -> ResultSummary | None:
        """Return the next summary, None when none came within `timeout_s`."""
        ...

    def close(self) -> None: ...


Request = Callable[..., Mapping[str, Any]]
"""request(command, **arguments) -> answer of the worker; raises DeviceError when none comes in time."""


FIGURES = tuple(item.name for item in dataclasses.fields(Figures))
SLICES = ("amplitude", "phase", "strain", "displacement")
SOME_SLICES = ("measured", "repaired", "defect_lines")  # not in every result


class Monitor:
    """Keeps one status true by a thread of its own; the commands are requests to the worker."""

    def __init__(self, results: ResultSource, request: Request, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._results, self._request, self._clock_s = results, request, clock_s
        self._board = Board(MonitorStatus(state=State.UNKNOWN, message="nothing heard of the worker yet"))
        self._failure = ""
        self._health: Mapping[str, Any] = {}
        self._save_error = ""
        self._picture = ""  # that of the last result, drawn or not
        self._former: dict[str, Any] = {}  # fields of the last result's crystal, where a preliminary one is shown
        self._heard_s: float | None = None
        self._asked_s = -HEALTH_PERIOD_S
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)
        self._thread.start()

    @property
    def status(self) -> MonitorStatus:
        return self._board.status

    def wait(self, seen: MonitorStatus | None, timeout_s: float) -> MonitorStatus:
        """Return the status as soon as it is another than `seen`, or as it is after `timeout_s`."""
        return self._board.wait(seen, timeout_s)

    def load_settings(self, settings: str) -> Mapping[str, Any]:
        """Send settings, a TOML file's path or TOML itself, to the worker; raise SettingsError where wrong."""
        text = settings if "=" in settings else _text_of(Path(settings))
        try:
            parse_settings(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"settings are not TOML: {error}") from error
        return self._request("settings", toml=text)

    def reprocess(self) -> Mapping[str, Any]:
        """Have the worker invert the last series again, with its present settings."""
        return self._request("reprocess")

    def save(self, path: str) -> Mapping[str, Any]:
        """Have the worker copy the last result's file to `path` on its own machine; a large one in its own time."""
        return self._request("save", path=path)

    def reset(self) -> None:
        """Acknowledge the last failure, and a defect to wait at: a person has looked."""
        self._failure = ""
        self._former = self._former and self._former | {"hold": False}
        self._board.update(last_error="", hold=False)
        self._judge()

    def close(self) -> None:
        """End the thread and let go of the results; safe to call twice."""
        self._ended.set()
        self._thread.join()
        self._results.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            self.step()

    def step(self) -> None:
        """Take one result where there is one, ask for the worker's health where that is due, judge."""
        try:
            summary = self._results.receive(POLL_S)
        except DropError as error:
            self._failure = f"a result could not be read: {error}"
            summary = None
        if summary is not None:
            self._heard_s = self._clock_s()
            self._take(summary)
        if self._clock_s() - self._asked_s >= HEALTH_PERIOD_S:
            self._ask_health()
        self._judge()

    def _take(self, summary: ResultSummary) -> None:
        if summary.status is SeriesStatus.PRELIMINARY:
            self._show(summary)
            return
        if summary.status is not SeriesStatus.ABORTED:  # tells nothing of the worker, so it acknowledges nothing
            self._failure = _complaint(summary)
        if summary.figures is not None:
            self._picture = str(summary.picture or "")
        now = self.status
        ended = f"series_{summary.status}"
        self._board.update(
            sequence=summary.sequence,
            finished_at_s=summary.finished_at,
            last_error=summary.error or now.last_error,
            lost=self._results.lost,
            **({} if summary.again else {ended: getattr(now, ended) + 1, **_counted(now, summary.accounting)}),
            **_series(summary),
            **self._former | _result(summary),
        )
        self._former = {}

    def _show(self, summary: ResultSummary) -> None:
        """Show a crystal that a better one of its series will replace; files and counts stay as they are, and what was
        shown before is back where none replaces it.
        """
        crystal, now = _crystal(summary), self.status
        self._former = self._former or {name: getattr(now, name) for name in crystal}
        self._board.update(**_series(summary), **crystal)

    def _ask_health(self) -> None:
        self._asked_s = self._clock_s()
        try:
            self._health = self._request("health")
        except DeviceError:
            return  # `_judge` tells of the silence
        self._heard_s = self._clock_s()
        if self.status.last_picture != self._picture == self._health.get("picture", ""):
            self._board.update(last_picture=self._picture)
        known, self._save_error = self._save_error, str(self._health.get("save_error", ""))
        if self._save_error not in ("", known):
            self._failure = self._save_error
            self._board.update(last_error=self._save_error)

    def _judge(self) -> None:
        """State and Status from what was heard last; nothing is published where nothing changed."""
        state, message = self._verdict()
        worker, answers = str(self._health.get("status", "")), self._heard_s is not None and not self._silent
        busy, now = bool(self._health.get("busy", False)), self.status
        known = (now.state, now.message, now.worker, now.worker_answers, now.worker_busy)
        if (state, message, worker, answers, busy) != known:
            self._board.update(state=state, message=message, worker=worker, worker_answers=answers, worker_busy=busy)

    @property
    def _silent(self) -> bool:
        return self._heard_s is not None and self._clock_s() - self._heard_s > SILENT_S

    def _verdict(self) -> tuple[State, str]:
        if self._heard_s is None:
            return State.UNKNOWN, "nothing heard of the worker yet; is it up?"
        if self._silent:
            return State.ALARM, f"the worker has been silent for more than {SILENT_S:g} s; is it up?"
        if self._failure:
            return State.ALARM, f"{self._failure}; Reset acknowledges"
        if not self._health.get("ok", True):
            return _unwell(self._health)
        if self._health.get("busy", False):
            return State.RUNNING, "a series is being worked on"
        return State.ON, f"waiting for a series; results so far: {self.status.sequence}"


def _unwell(health: Mapping[str, Any]) -> tuple[State, str]:
    if health.get("state", State.INIT) == State.INIT:
        return State.INIT, "the worker is starting"
    return State.ALARM, f"the worker is not well: {health.get('status', 'it does not say why')}"


def _complaint(summary: ResultSummary) -> str:
    """Why somebody should look at a series: it failed, or its result is doubtful; empty where neither."""
    if summary.status is SeriesStatus.FAILED:
        return summary.error
    figures = summary.figures
    doubts = "; ".join(filter(None, (figures.doubt, figures.repair_doubt))) if figures else ""
    return f"doubtful result of series {summary.series_id}: {doubts}" if doubts else ""


def _counted(now: MonitorStatus, frames: Accounting) -> dict[str, Any]:
    names = ("received", "missed", "rejected", "duplicates")
    return {name: getattr(now, name) + getattr(frames, name) for name in names}


def _series(summary: ResultSummary) -> dict[str, Any]:
    """Fields of which series it is, how it stands and what is said of it."""
    return {
        "series_id": summary.series_id,
        "series_unique_id": summary.series_unique_id,
        "series_status": str(summary.status),
        "notes": summary.notes,
        "warnings": summary.warnings,
    }


def _result(summary: ResultSummary) -> dict[str, Any]:
    """Fields of what a series yielded; a failed series leaves those of the one before."""
    if summary.figures is None:
        return {}
    files = {"last_file": str(summary.path or ""), "last_picture": ""}  # until the worker says that it is drawn
    return {**_crystal(summary), **files}


def _crystal(summary: ResultSummary) -> dict[str, Any]:
    """Fields of the crystal that a summary shows, and how long it took."""
    stages, figures = summary.latencies_s, summary.figures
    told = figures is not None and figures.defect_class
    return {
        **{name: getattr(figures, name) for name in FIGURES},
        **({} if told else {"defect_probability": NAN}),
        **{name: summary.slices[name] for name in SLICES if name in summary.slices},
        **{name: summary.slices.get(name, no_image()) for name in SOME_SLICES},
        "voxel_nm": NAN if summary.voxel_nm is None else summary.voxel_nm,
        "latency_s": NAN if summary.latency_s is None else summary.latency_s,
        "latency_stages": tuple(stages),
        "latencies_s": tuple(float(seconds) for seconds in stages.values()),
    }


def _text_of(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {path}: {error}") from error
