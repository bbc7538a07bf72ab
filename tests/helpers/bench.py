"""Spool, compute and results in one thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from service.adapters.memory import MemoryResults
from service.records import ResultSummary, Volume
from service.results.durable import safe_name
from service.settings import Settings
from service.wire.summaries import encode_summary
from service.worker.answers import Answers
from service.worker.compute import Compute
from service.worker.intake import Intake
from service.worker.inverter import Invert, Inverter, Product, Show
from service.worker.journal import Journal
from service.worker.spool import SpoolReader, oldest_segment, read_cursor
from service.worker.spool_writer import SpoolWriter
from tests.helpers.results import make_figures
from tests.helpers.workers import worker_settings


class EncodedResults(MemoryResults):
    """Keeps what can be sent."""

    def publish(self, summary: ResultSummary) -> None:
        encode_summary(summary)
        super().publish(summary)


class Bench:
    """Spool, compute and results in one place; `crash` forgets everything but the disk."""

    def __init__(self, folder: Path, invert: Invert | None = None, **changes: Any) -> None:
        self.settings = worker_settings(folder, "tcp://127.0.0.1:0", **changes)
        self.invert = invert or self.sum
        self.writer = SpoolWriter(self.settings.spool)
        self.now_s = 0.0
        self.crash()

    def crash(self) -> None:
        folder = self.settings.spool.folder
        self.journal = Journal(self.settings.out / "journal.jsonl", lambda: oldest_segment(folder))
        self.sink = EncodedResults()
        self.answers = Answers(self.settings, self.journal, dict)
        reader = SpoolReader(folder, read_cursor(folder))
        self.intake = Intake(reader, self.settings, self.journal.finished, self.journal.knows, lambda: self.now_s)
        self.compute = Compute(
            self.intake,
            Inverter(self.invert, self.preview),
            self.journal,
            self.sink,
            self.answers.wishes,
            self.settings,
        )

    def spool(self, encoded: list[bytes]) -> None:
        for message in encoded:
            self.writer.append(message)

    def run(self, until: Callable[[], bool] | None = None, patience_s: float = 20.0) -> list[ResultSummary]:
        """Step until nothing is left to do, or until `until`."""
        limit_s = time.monotonic() + patience_s
        while time.monotonic() < limit_s:
            busy = self.compute.step()
            if until() if until else not busy and not self.compute.report.inverting:
                return self.sink.summaries
            time.sleep(0.001)
        raise AssertionError(f"not done: {self.compute.report}")

    def told(self) -> list[tuple[str, str, int]]:
        return [(told.series_unique_id, str(told.status), told.accounting.received) for told in self.run()]

    def preview(self, volume: Volume, settings: Settings) -> Product:
        return replace(self.invert(volume, settings, lambda _: None), path=None)

    @staticmethod
    def sum(volume: Volume, settings: Settings, _: Show | None = None) -> Product:
        path = settings.out / f"{safe_name(volume.series_unique_id)}.txt"
        path.write_text(str(volume.counts.sum()))
        return Product(figures=make_figures(), path=path, picture=None, latencies_s={"sum": 0.0})
