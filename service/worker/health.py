"""The worker's one status object: for State, /healthz, /metrics and the heartbeat."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.devices.status import State
from service.settings import WorkerSettings

SILENT_S = 20.0  # a stage that reports nothing for this long hangs; importing torch on a loaded machine takes ten
STARTING_S = 600.0  # the first engine of a network may have to be built


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What ingest says of itself; counts since its process began."""

    pid: int = 0
    endpoint: str = ""
    received: int = 0  # messages spooled
    received_bytes: int = 0
    rejected: int = 0  # messages that no segment can hold
    overruns: int = 0  # times that the spool was full and PULL stopped
    full: bool = False
    serial: int = 0  # of the next message
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeReport:
    """What compute says of itself; the totals are the journal's, so they outlive its process."""

    pid: int = 0
    results: str = ""
    requests: str = ""
    serial: int = 0  # of the next message to read
    caught_up: bool = False  # nothing is left to read
    damaged: int = 0  # records whose CRC was wrong, since the process began
    strays: int = 0  # messages of no open series, since the process began
    open_series: str = ""
    open_sent: int = 0
    open_received: int = 0
    silent_s: float = 0.0  # since the last message of the open series
    inverting: str = ""
    received: int = 0
    missed: int = 0
    rejected: int = 0
    duplicates: int = 0
    series: Mapping[str, int] = field(default_factory=dict)  # status -> number
    defects: Mapping[str, int] = field(default_factory=dict)  # class -> number of crystals
    stages: Mapping[str, tuple[int, float, float]] = field(default_factory=dict)  # stage -> number, sum, last; s
    latency: tuple[int, float, float] = (0, 0.0, 0.0)  # last frame to summary: number, sum, last; s
    sequence: int = 0
    last_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageState:
    """What the supervisor knows of one stage."""

    running: bool
    reported: bool  # since it was started
    restarts: int
    heard_s: float  # monotonic time of its last report or of its start


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerHealth:
    """How the worker is. `ok` is False where frames stall or a stage does not work; `status` says it in one line."""

    state: State = State.INIT
    ok: bool = False
    busy: bool = False
    status: str = "starting"
    queued: int = 0  # messages in the spool that compute has not read
    ingest: IngestReport = IngestReport()
    compute: ComputeReport = ComputeReport()
    restarts: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON and for the heartbeat."""
        return dataclasses.asdict(self)


def judge(
    stages: Mapping[str, StageState],
    ingest: IngestReport,
    compute: ComputeReport,
    settings: WorkerSettings,
    now_s: float,
) -> WorkerHealth:
    """Return the health that follows from the reports."""
    busy = bool(compute.open_series or compute.inverting)
    trouble = _trouble(stages, ingest, compute, settings, now_s)
    starting = not all(stage.reported for stage in stages.values())
    state = State.ALARM if trouble else State.INIT if starting else State.RUNNING if busy else State.ON
    return WorkerHealth(
        state=state,
        ok=not trouble and not starting,
        busy=busy,
        status=trouble or ("starting" if starting else _activity(compute)),
        queued=0 if compute.caught_up or not compute.serial else max(0, ingest.serial - compute.serial),
        ingest=ingest,
        compute=compute,
        restarts={name: stage.restarts for name, stage in stages.items()},
    )


def news(before: WorkerHealth, now: WorkerHealth) -> list[str]:
    """Return what a person wants to hear of the step from one health to the next: no counts that only grow."""
    if before == WorkerHealth():
        return []  # the first look comes before the stages are started
    was, compute = before.compute, now.compute
    told = []
    if was.pid:  # else all that an earlier run did would be news
        told = [f"series {status}" for status, count in compute.series.items() if count > was.series.get(status, 0)]
        told += [f"error: {compute.last_error}"] if compute.last_error != was.last_error else []
    moved = (before.state, was.inverting) != (now.state, compute.inverting)
    return [*told, now.status] if moved else told


def _trouble(
    stages: Mapping[str, StageState],
    ingest: IngestReport,
    compute: ComputeReport,
    settings: WorkerSettings,
    now_s: float,
) -> str:
    for name, stage in stages.items():
        if not stage.running:
            return f"{name} is down, restarted {stage.restarts} times"
        if now_s - stage.heard_s > (SILENT_S if stage.reported else STARTING_S):
            return f"{name} has said nothing for {now_s - stage.heard_s:.0f} s"
    if ingest.error:
        return ingest.error
    if ingest.full:
        return "the spool is full: the sender has to wait"
    if compute.open_series and compute.silent_s > settings.warn_s:
        got = f"{compute.open_received} of {compute.open_sent} frames"
        return f"series {compute.open_series}: no frame for {compute.silent_s:.0f} s, {got}"
    return ""


def _activity(compute: ComputeReport) -> str:
    if compute.inverting:
        return f"inverting series {compute.inverting}"
    if compute.open_series:
        return f"series {compute.open_series}: {compute.open_received} of {compute.open_sent} frames"
    return f"waiting for a series; results so far: {compute.sequence}"
