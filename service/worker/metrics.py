"""Every Prometheus name of the worker, after PvaPy's counters: received, missed, overruns, rejected, queued."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from service.worker.health import ComputeReport, IngestReport, WorkerHealth

ReportT = TypeVar("ReportT", IngestReport, ComputeReport)

INGEST_COUNTERS = {
    "received": ("braggloop_ingest_messages", "Messages spooled by ingest since it started."),
    "received_bytes": ("braggloop_ingest_bytes", "Bytes spooled by ingest since it started."),
    "rejected": ("braggloop_ingest_rejected", "Messages that no segment of the spool can hold."),
    "overruns": ("braggloop_overruns", "Times that the spool was full and the sender had to wait."),
}
COMPUTE_COUNTERS = {
    "received": ("braggloop_frames_received", "Frames received, each once, in all closed series."),
    "missed": ("braggloop_frames_missed", "Frames that were sent and never came, in all closed series."),
    "rejected": ("braggloop_frames_rejected", "Frames that could not be used, in all closed series."),
    "duplicates": ("braggloop_frames_duplicates", "Frames that came more than once, in all closed series."),
    "strays": ("braggloop_messages_stray", "Messages of no open series since compute started."),
    "damaged": ("braggloop_spool_damaged", "Spooled messages whose CRC was wrong since compute started."),
}
COMPUTE_GAUGES = {
    "open_received": ("braggloop_open_series_received", "Frames of the open series that have come."),
    "open_sent": ("braggloop_open_series_sent", "Frames that the open series announces."),
    "silent_s": ("braggloop_open_series_silent_seconds", "Time since the last message of the open series."),
    "sequence": ("braggloop_result_sequence", "Number of the last result."),
}
QUEUED = ("braggloop_queued", "Messages in the spool that compute has not read yet.")
SPOOL_FULL = ("braggloop_spool_full", "1 while the spool is full and the sender waits.")
UP = ("braggloop_up", "1 while the worker is well: what /healthz says.")
RESTARTS = ("braggloop_stage_restarts", "Restarts of a stage by the supervisor.")
SERIES = ("braggloop_series", "Closed series by how they ended.")
DEFECTS = ("braggloop_defects", "Crystals by what is wrong with them.")
LATENCY_SECONDS = ("braggloop_latency_seconds", "Time from the last frame of a series to its result being published.")
LATENCY_LAST_SECONDS = ("braggloop_latency_last_seconds", "Time from the last frame to the result in the last series.")
STAGE_SECONDS = ("braggloop_stage_seconds", "Time that a stage took.")
STAGE_LAST_SECONDS = ("braggloop_stage_last_seconds", "Time that a stage took in the last series.")


class WorkerCollector(Collector):
    """Turns the health of this moment into metrics."""

    def __init__(self, health: Callable[[], WorkerHealth]) -> None:
        self._health = health

    def collect(self) -> Iterable[Metric]:
        health = self._health()
        yield GaugeMetricFamily(*UP, value=float(health.ok))
        yield GaugeMetricFamily(*QUEUED, value=health.queued)
        yield GaugeMetricFamily(*SPOOL_FULL, value=float(health.ingest.full))
        yield from _counters(INGEST_COUNTERS, health.ingest)
        yield from _counters(COMPUTE_COUNTERS, health.compute)
        for name, (metric, text) in COMPUTE_GAUGES.items():
            yield GaugeMetricFamily(metric, text, value=getattr(health.compute, name))
        yield _labelled(CounterMetricFamily(*RESTARTS, labels=["stage"]), health.restarts.items())
        yield _labelled(CounterMetricFamily(*SERIES, labels=["status"]), health.compute.series.items())
        yield _labelled(CounterMetricFamily(*DEFECTS, labels=["class"]), health.compute.defects.items())
        yield from _stages(health.compute)
        count, total_s, last_s = health.compute.latency
        yield SummaryMetricFamily(*LATENCY_SECONDS, count_value=count, sum_value=total_s)
        yield GaugeMetricFamily(*LATENCY_LAST_SECONDS, value=last_s)


def render(health: Callable[[], WorkerHealth]) -> Callable[[], bytes]:
    """Return what writes the exposition text of /metrics."""
    registry = CollectorRegistry()
    registry.register(WorkerCollector(health))
    return lambda: generate_latest(registry)


def _counters(names: dict[str, tuple[str, str]], report: ReportT) -> Iterator[Metric]:
    for name, (metric, text) in names.items():
        yield CounterMetricFamily(metric, text, value=getattr(report, name))


def _labelled(family: CounterMetricFamily, values: Iterable[tuple[str, int]]) -> CounterMetricFamily:
    for label, value in values:
        family.add_metric([label], value)
    return family


def _stages(compute: ComputeReport) -> Iterator[Metric]:
    seconds = SummaryMetricFamily(*STAGE_SECONDS, labels=["stage"])
    last = GaugeMetricFamily(*STAGE_LAST_SECONDS, labels=["stage"])
    for stage, (count, total_s, last_s) in compute.stages.items():
        seconds.add_metric([stage], count, total_s)
        last.add_metric([stage], last_s)
    yield seconds
    yield last
