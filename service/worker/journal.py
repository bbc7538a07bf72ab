"""The worker's memory across restarts: one line for each inversion that is begun and for each result, on the disk.

The first line names the journal, so that whoever counts its results sees when another one has begun. A series is known
by its name and by where its start lies in the spool, so a sender may use a name again.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.errors import ResultError
from service.records import Accounting, Figures, ResultSummary, SeriesStatus
from service.worker.spool import Position

Identity = tuple[int, str, Position]  # series_id, series_unique_id, where its start lies
RECALLED = 1000  # newest summaries kept in memory after a restart


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One result and where its series begins in the spool."""

    summary: ResultSummary
    position: Position


class Journal:
    """Appends lines and answers from them; used by one thread. A line torn by a crash is dropped when it is opened.

    Raises ResultError where a line cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.name = ""
        self._path = path
        self.sequence = 0
        self.totals: Counter[str] = Counter()  # received, missed, rejected, duplicates of all series
        self.series: Counter[str] = Counter()  # status -> number
        self.stages: dict[str, tuple[int, float, float]] = {}  # stage -> number, sum, last; s
        self.entries: list[Entry] = []
        self.last_error = ""
        self._begun: Counter[Identity] = Counter()
        self._finished: set[Identity] = set()
        self._names: set[tuple[int, str]] = set()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._load()
        if not self.name:
            self.name = uuid.uuid4().hex
            self._append({"event": "journal", "name": self.name})

    def begin(self, identity: Identity) -> None:
        """Note that the inversion of a series begins."""
        self._begun[identity] += 1
        self._append({"event": "begin", "identity": identity})

    def attempts(self, identity: Identity) -> int:
        """Return how often the inversion of a series was begun since its last result."""
        return self._begun[identity]

    def finished(self, identity: Identity) -> bool:
        """Whether the series has its result."""
        return identity in self._finished

    def knows(self, key: tuple[int, str]) -> bool:
        """Whether any series of this number and name has its result."""
        return key in self._names

    @property
    def summaries(self) -> list[ResultSummary]:
        """The newest summaries, oldest first, without their slices: those stay in the results' files."""
        return [entry.summary for entry in self.entries]

    @property
    def last_file(self) -> Path | None:
        """File of the last result that has one."""
        return next((entry.summary.path for entry in reversed(self.entries) if entry.summary.path), None)

    def add(self, identity: Identity, summary: ResultSummary) -> None:
        """Put a result on the disk, but for `summary.slices`."""
        line = {"event": "result", "identity": identity, "summary": _plain(summary)}
        self._append(line)
        self._take(identity, summary)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _append(self, line: Mapping[str, Any]) -> None:
        size, left = os.fstat(self._file).st_size, json.dumps(line, default=str).encode() + b"\n"
        try:
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, size)  # no half line for the next one to continue
            raise ResultError(f"journal {self._path}: {error}; free space") from error

    def _take(self, identity: Identity, summary: ResultSummary) -> None:
        self.sequence = summary.sequence
        if identity not in self._finished:  # else inverted again: its frames are counted already
            counts = dataclasses.asdict(summary.accounting)
            self.totals.update({name: counts[name] for name in ("received", "missed", "rejected", "duplicates")})
            self.series[str(summary.status)] += 1
        self._finished.add(identity)
        self._names.add(identity[:2])
        self._begun.pop(identity, None)
        self.last_error = summary.error or self.last_error
        for stage, seconds in summary.latencies_s.items():
            count, total_s, _ = self.stages.get(stage, (0, 0.0, 0.0))
            self.stages[stage] = (count + 1, total_s + seconds, seconds)
        summary = dataclasses.replace(summary, slices={})
        self.entries = [*self.entries[-RECALLED + 1 :], Entry(summary, identity[2])]

    def _load(self) -> None:
        whole = 0
        for number, line in enumerate(self._path.read_bytes().splitlines(keepends=True), 1):
            if not line.endswith(b"\n"):
                break
            try:
                self._recall(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise ResultError(
                    f"journal {self._path}, line {number} is damaged: {error!r}; mend the line or move the file away"
                ) from error
            whole += len(line)
        os.ftruncate(self._file, whole)

    def _recall(self, found: Mapping[str, Any]) -> None:
        if found["event"] == "journal":
            self.name = str(found["name"])
            return
        series_id, name, position = found["identity"]
        identity = (series_id, name, Position(*position))
        if found["event"] == "begin":
            self._begun[identity] += 1
        else:
            self._take(identity, _summary(found["summary"]))


def _plain(summary: ResultSummary) -> dict[str, Any]:
    fields = {field.name: getattr(summary, field.name) for field in dataclasses.fields(summary)}
    del fields["slices"]
    fields["accounting"] = dataclasses.asdict(summary.accounting)
    if summary.figures is not None:
        fields["figures"] = dataclasses.asdict(summary.figures)
    return {name: _finite(value) for name, value in fields.items()}


def _finite(value: Any) -> Any:
    """JSON knows no NaN: it becomes null."""
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if hasattr(value, "item"):
        value = value.item()  # a NumPy number
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _summary(fields: Mapping[str, Any]) -> ResultSummary:
    known = dict(fields)
    known["status"] = SeriesStatus(known["status"])
    known["accounting"] = Accounting(**known["accounting"])
    if known["figures"] is not None:
        figures: dict[str, Any] = {
            name: math.nan if value is None else value for name, value in known["figures"].items()
        }
        known["figures"] = Figures(**figures)
    for name in ("path", "picture"):
        known[name] = None if known[name] is None else Path(known[name])
    known["notes"] = tuple(known["notes"])
    return ResultSummary(**known)
