"""Follows the worker's results and its health: the controller behind Reconstruction."""

from __future__ import annotations

import dataclasses
import threading
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.errors import DeviceError, DropError, SettingsError
from service.records import Accounting, Figures, ResultSummary, SeriesStatus
from service.settings import parse_settings
from service.status import Board, State, Status, reading

POLL_S = 0.2  # how long one wait for a result lasts before the worker's health is due
HEALTH_PERIOD_S = 1.0
SILENT_S = 5.0  # a worker that answers nothing for this long is called silent
NAN = float("nan")
NO_IMAGE = np.full((1, 1), np.nan, dtype=np.float32)


class ResultSource(Protocol):
    """Where summaries come from, in order and without gaps."""

    def receive(self, timeout_s: float) -> ResultSummary | None:
        """Return the next summary, None when none came within `timeout_s`."""
        ...

    def close(self) -> None: ...


Request = Callable[..., Mapping[str, Any]]
"""request(command, **arguments) -> answer of the worker; raises DeviceError when none comes in time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MonitorStatus(Status):
    """What is known of the worker and of its last result; images are float32 [row, column]."""

    worker: str = reading("", label="Worker", description="What the worker says of its health.")
    sequence: int = reading(0, label="Result", description="Number of the last result.", format="%d")
    series_id: int = reading(0, label="Series", description="Series of the last result.", format="%d")
    series_unique_id: str = reading("", label="Series name", description="Unique name of the last result's series.")
    series_status: str = reading(
        "", label="Series ended", description="How the last series ended: done, incomplete, failed or aborted."
    )
    finished_at_s: float = reading(
        0.0, label="Finished", description="When the last result was ready, since 1970 UTC.", unit="s", format="%.3f"
    )

    chi: float = reading(
        NAN, label="Chi", description="sum((|F| - D)^2) / sum(D^2), D the square root of the counts.", format="%.6f"
    )
    r_factor: float = reading(NAN, label="R factor", description="sum(||F| - D|) / sum(D).", format="%.6f")
    free_log_likelihood: float = reading(
        NAN, label="Free log-likelihood", description="Mean Poisson deviance over held-out voxels.", format="%.6f"
    )
    resolution_nm: float = reading(
        NAN, label="Resolution", description="Where the PRTF falls below 1/e.", unit="nm", format="%.4f"
    )
    resolution_method: str = reading("", label="Resolution method", description="How the resolution was found.")
    support_voxels: int = reading(
        0, label="Support", description="Voxels inside the crystal.", unit="voxels", format="%d"
    )
    support_volume_nm3: float = reading(
        NAN, label="Volume", description="Volume of the crystal.", unit="nm^3", format="%.6e"
    )
    strain_rms: float = reading(
        NAN, label="Strain rms", description="Root mean square of the heterogeneous strain along Q.", format="%.6e"
    )
    strain_min: float = reading(NAN, label="Smallest strain", description="Smallest strain along Q.", format="%.6e")
    strain_max: float = reading(NAN, label="Largest strain", description="Largest strain along Q.", format="%.6e")
    flux_counts: float = reading(
        NAN, label="Flux", description="All counts of the volume.", unit="counts", format="%.6e"
    )
    peak_counts: float = reading(
        NAN, label="Peak", description="Counts of the brightest voxel.", unit="counts", format="%.6e"
    )
    hand_chosen: bool = reading(
        False, label="Hand chosen", description="True where the hand was taken nearest to the result before."
    )

    amplitude: NDArray[np.float32] = reading(
        NO_IMAGE, label="Amplitude", description="Central slice of the amplitude, laboratory grid.", format="%.4e"
    )
    phase: NDArray[np.float32] = reading(
        NO_IMAGE, label="Phase", description="Central slice of the phase, laboratory grid.", unit="rad", format="%.5f"
    )
    strain: NDArray[np.float32] = reading(
        NO_IMAGE, label="Strain", description="Central slice of the strain along Q; NaN outside.", format="%.6e"
    )

    latency_s: float = reading(
        NAN, label="Latency", description="All stages of the last result.", unit="s", format="%.4f"
    )
    latency_stages: tuple[str, ...] = reading((), label="Stages", description="Names of the stages, in order.")
    latencies_s: tuple[float, ...] = reading(
        (), label="Latencies", description="Seconds that each stage took, in the order of the stages.", unit="s",
        format="%.4f",
    )  # fmt: skip

    received: int = reading(0, label="Received", description="Frames received, all series.", format="%d")
    missed: int = reading(0, label="Missed", description="Frames that never came, all series.", format="%d")
    rejected: int = reading(0, label="Rejected", description="Frames that could not be used.", format="%d")
    duplicates: int = reading(0, label="Duplicates", description="Frames that came more than once.", format="%d")
    series_done: int = reading(0, label="Series done", description="Series reconstructed whole.", format="%d")
    series_incomplete: int = reading(
        0, label="Series incomplete", description="Series reconstructed from what arrived.", format="%d"
    )
    series_failed: int = reading(0, label="Series failed", description="Series without an object.", format="%d")
    series_aborted: int = reading(0, label="Series aborted", description="Series given up by the sender.", format="%d")

    last_error: str = reading("", label="Last error", description="Why the last failed series has no object.")
    last_file: str = reading("", label="Last file", description="File of the last result.")
    last_picture: str = reading("", label="Last picture", description="PNG summary of the last result.")
    notes: tuple[str, ...] = reading((), label="Notes", description="Remarks of the worker about the last result.")


FIGURES = tuple(item.name for item in dataclasses.fields(Figures))
SLICES = ("amplitude", "phase", "strain")


class Monitor:
    """Keeps one status true by a thread of its own; the commands are requests to the worker."""

    def __init__(
        self, results: ResultSource, request: Request, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._results, self._request, self._clock_s = results, request, clock_s
        self._board = Board(MonitorStatus(state=State.UNKNOWN, message="nothing heard of the worker yet"))
        self._failure = ""
        self._health: Mapping[str, Any] = {}
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
        """Have the worker copy the last result's file to `path` on its own machine."""
        return self._request("save", path=path)

    def reset(self) -> None:
        """Acknowledge the last failure."""
        self._failure = ""
        self._board.update(last_error="")
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
        self._failure = summary.error if summary.status is SeriesStatus.FAILED else ""
        now = self.status
        ended = f"series_{summary.status}"
        self._board.update(
            sequence=summary.sequence,
            series_id=summary.series_id,
            series_unique_id=summary.series_unique_id,
            series_status=str(summary.status),
            finished_at_s=summary.finished_at,
            notes=summary.notes,
            last_error=summary.error or now.last_error,
            **{ended: getattr(now, ended) + 1},
            **_counted(now, summary.accounting),
            **_result(summary),
        )

    def _ask_health(self) -> None:
        self._asked_s = self._clock_s()
        try:
            self._health = self._request("health")
        except DeviceError:
            return  # `_judge` tells of the silence
        self._heard_s = self._clock_s()

    def _judge(self) -> None:
        """State and Status from what was heard last; nothing is published where nothing changed."""
        state, message = self._verdict()
        worker = str(self._health.get("status", ""))
        now = self.status
        if (state, message, worker) != (now.state, now.message, now.worker):
            self._board.update(state=state, message=message, worker=worker)

    def _verdict(self) -> tuple[State, str]:
        if self._heard_s is None:
            return State.UNKNOWN, "nothing heard of the worker yet; is it up?"
        if self._clock_s() - self._heard_s > SILENT_S:
            return State.ALARM, f"the worker has been silent for more than {SILENT_S:g} s; is it up?"
        if self._failure:
            return State.ALARM, f"{self._failure}; Reset acknowledges"
        if not self._health.get("ok", True):
            return State.ALARM, f"the worker is not well: {self._health.get('status', 'it does not say why')}"
        if self._health.get("busy", False):
            return State.RUNNING, "a series is being worked on"
        return State.ON, f"{self.status.sequence} results, waiting for the next series"


def _counted(now: MonitorStatus, frames: Accounting) -> dict[str, Any]:
    names = ("received", "missed", "rejected", "duplicates")
    return {name: getattr(now, name) + getattr(frames, name) for name in names}


def _result(summary: ResultSummary) -> dict[str, Any]:
    """Fields of what a series yielded; a failed series leaves those of the one before."""
    if summary.figures is None:
        return {}
    stages = summary.latencies_s
    return {
        **{name: getattr(summary.figures, name) for name in FIGURES},
        **{name: summary.slices[name] for name in SLICES if name in summary.slices},
        "latency_s": float(sum(stages.values())),
        "latency_stages": tuple(stages),
        "latencies_s": tuple(float(seconds) for seconds in stages.values()),
        "last_file": str(summary.path or ""),
        "last_picture": str(summary.picture or ""),
    }


def _text_of(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {path}: {error}") from error


