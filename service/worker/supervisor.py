"""The supervisor: keeps ingest and compute running, knows how they are, and ends them in their order."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from models.files import written_whole
from service.errors import StopError
from service.settings import Settings
from service.signals import handled
from service.worker.answers import SETTINGS_FILE
from service.worker.health import ComputeReport, IngestReport, WorkerHealth, judge, news
from service.worker.http_server import HttpServer
from service.worker.lock import held
from service.worker.stage import Stage

PERIOD_S = 0.1
WORKER_FILE = "worker.json"  # where this worker is to be found
NO_WAIT_S = 0.0

ReportT = TypeVar("ReportT", IngestReport, ComputeReport)
Commands = Mapping[str, tuple[Sequence[str], Mapping[str, str]]]  # stage -> (command, environment)


class Supervisor:
    """Runs until it is asked to end. Stages, in the order in which they end: ingest, then compute.

    `tell` hears in one line what has begun or ended, and what went wrong.
    """

    def __init__(self, settings: Settings, commands: Commands, tell: Callable[[str], None] = lambda _: None) -> None:
        self._settings, self._tell = settings, tell
        self._stages = {name: Stage(name, *command) for name, command in commands.items()}
        self._ending = threading.Event()
        self._health = WorkerHealth()

    @property
    def health(self) -> WorkerHealth:
        """The worker's health at this moment; from any thread."""
        return self._health

    def run(self) -> int:
        """Work until told to end; return 0 where both stages ended well, else 1.

        Raises SpoolError where another worker uses the spool, SettingsError where the HTTP port is taken, StopError in
        the words of a stage that could not begin: trying again would change nothing.
        """
        folder = self._settings.spool.folder
        with held(folder / "worker.lock", "a worker", NO_WAIT_S), handled(self.end), self._http() as http:
            with written_whole(folder / SETTINGS_FILE) as partial:
                partial.write_text(self._settings.model_dump_json())
            with written_whole(folder / WORKER_FILE) as partial:
                partial.write_text(json.dumps({"pid": os.getpid(), "http": http.url}))
            try:
                while not self._ending.wait(PERIOD_S):
                    self.step()
                    self._give_up()
                return self._end_stages()
            finally:
                for stage in self._stages.values():
                    stage.close()

    def end(self, *_: object) -> None:
        """Ask `run` to finish: the running inversion is completed. A second time: at once."""
        if self._ending.is_set():
            for stage in self._stages.values():
                stage.kill()
        self._ending.set()

    def step(self) -> None:
        """Look after each stage once."""
        self._judge()
        words = json.dumps(self._health.as_dict()).encode() + b"\n"
        for stage in self._stages.values():
            stage.step(words)

    def _give_up(self) -> None:
        for stage in self._stages.values():
            if stage.refused:
                raise StopError(f"{stage.name}: {stage.refused}")

    def _judge(self) -> None:
        states = {name: stage.state for name, stage in self._stages.items()}
        ingest = _report(IngestReport, self._stages["ingest"].report)
        compute = _report(ComputeReport, self._stages["compute"].report)
        before = self._health
        self._health = judge(states, ingest, compute, self._settings.worker, time.monotonic())
        for line in news(before, self._health):
            self._tell(line)

    def _end_stages(self) -> int:
        return max(abs(stage.stop()) for stage in self._stages.values()) and 1

    @contextlib.contextmanager
    def _http(self) -> Iterator[HttpServer]:
        server = HttpServer(self._settings.worker, lambda: self._health)
        try:
            yield server
        finally:
            server.close()


def worker_url(folder: Path) -> str:
    """Return where the worker of this spool serves /healthz and /metrics."""
    return str(json.loads((folder / WORKER_FILE).read_text())["http"])


def _report(kind: type[ReportT], found: Mapping[str, Any]) -> ReportT:
    return kind(**{field.name: found[field.name] for field in fields(kind) if field.name in found})
