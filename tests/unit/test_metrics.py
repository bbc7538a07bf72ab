"""The exposition text that Prometheus scrapes."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from service.worker.health import ComputeReport, IngestReport, WorkerHealth
from service.worker.metrics import COMPUTE_COUNTERS, COMPUTE_GAUGES, INGEST_COUNTERS, render


def samples(health: WorkerHealth) -> dict[tuple[str, str], float]:
    text = render(lambda: health)().decode()
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_name_has_its_value() -> None:
    ingest = IngestReport(received=11, received_bytes=12, rejected=13, overruns=14, full=True)
    compute = ComputeReport(
        received=21, missed=22, rejected=23, duplicates=24, strays=25, damaged=26, open_received=27, open_sent=28,
        silent_s=0.5, sequence=29, series={"done": 4, "failed": 1}, defects={"screw": 3},
        stages={"phase": (4, 8.0, 1.5)}, latency=(4, 10.0, 2.5),
    )  # fmt: skip
    found = samples(
        WorkerHealth(ok=True, queued=5, ingest=ingest, compute=compute, restarts={"ingest": 0, "compute": 3})
    )
    for names, report, suffix in (
        (INGEST_COUNTERS, ingest, "_total"),
        (COMPUTE_COUNTERS, compute, "_total"),
        (COMPUTE_GAUGES, compute, ""),
    ):
        for field, (metric, _) in names.items():
            assert found[metric + suffix, ""] == getattr(report, field), metric
    assert found["braggloop_up", ""] == 1
    assert found["braggloop_queued", ""] == 5
    assert found["braggloop_spool_full", ""] == 1
    assert found["braggloop_stage_restarts_total", "compute"] == 3
    assert found["braggloop_series_total", "failed"] == 1
    assert found["braggloop_defects_total", "screw"] == 3
    assert found["braggloop_stage_seconds_count", "phase"] == 4
    assert found["braggloop_stage_seconds_sum", "phase"] == 8
    assert found["braggloop_stage_last_seconds", "phase"] == 1.5
    assert found["braggloop_latency_seconds_count", ""] == 4
    assert found["braggloop_latency_seconds_sum", ""] == 10
    assert found["braggloop_latency_last_seconds", ""] == 2.5


def test_worker_that_starts_has_zeros() -> None:
    found = samples(WorkerHealth())
    assert found["braggloop_up", ""] == 0
    assert found["braggloop_frames_received_total", ""] == 0
