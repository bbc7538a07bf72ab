"""The worker's memory across restarts: one line for each inversion that is begun and for each result, on the disk.

The first line names the journal, so that whoever counts its results sees when another one has begun. A series is known
by its name and by where its start lies in the spool, so a sender may use a name again. A file that has grown is written
anew: its name, the newest results, a line of totals, and the series whose start may still be read from the spool.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from models.files import written_whole
from service.errors import ResultError
from service.records import Accounting, Figures, ResultSummary, SeriesStatus
from service.worker.spool import Position

log = logging.getLogger(__name__)

Identity = tuple[int, str, Position]  # series_id, series_unique_id, where its start lies
RECALLED = 1000  # newest results that are kept
LARGEST_BYTES = 8_000_000  # of the file, or twice what must stay where that is more: RECALLED results take 1 to 2 MB
# Of all results, in the line of totals.
TOTALS = ("sequence", "totals", "series", "defects", "stages", "latency", "last_error")


Timing = tuple[int, float, float]  # number, sum, last; s
NEVER: Timing = (0, 0.0, 0.0)


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One result and where its series begins in the spool."""

    summary: ResultSummary
    position: Position

    @property
    def identity(self) -> Identity:
        return self.summary.series_id, self.summary.series_unique_id, self.position


def nothing_recycled() -> int:
    """Oldest segment of a spool that has let nothing go."""
    return 0


class Journal:
    """Appends lines and answers from them; used by one thread. A line torn by a crash is dropped when it is opened.

    `oldest_segment` tells which one the spool still has: a series that begins before it is not read again, and
    forgotten with the results that are no longer among the newest. Raises ResultError where a line cannot be read or
    written.
    """

    def __init__(self, path: Path, oldest_segment: Callable[[], int] = nothing_recycled) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.name = ""
        self._path, self._oldest_segment = path, oldest_segment
        self.sequence = 0
        self.totals: Counter[str] = Counter()  # received, missed, rejected, duplicates of all series
        self.series: Counter[str] = Counter()  # status -> number
        self.defects: Counter[str] = Counter()  # class -> number
        self.stages: dict[str, Timing] = {}
        self.latency = NEVER  # from the last frame to the summary
        self.entries: list[Entry] = []
        self.last_error = ""
        self._begun: Counter[Identity] = Counter()
        self._finished: set[Identity] = set()
        self._names: set[tuple[int, str]] = set()
        self._bound_bytes = LARGEST_BYTES
        self._file = _opened(path)
        self._load()
        if not self.name:
            self.name = uuid.uuid4().hex
            self._append({"event": "journal", "name": self.name})
        self._shorten()

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
    def _newest(self) -> set[Identity]:
        return {entry.identity for entry in self.entries}

    @property
    def last_file(self) -> Path | None:
        """File of the last result that has one."""
        return next((entry.summary.path for entry in reversed(self.entries) if entry.summary.path), None)

    @property
    def last_picture(self) -> Path | None:
        """Picture of the last result that names one; it may not be drawn yet."""
        return next((entry.summary.picture for entry in reversed(self.entries) if entry.summary.picture), None)

    def add(self, identity: Identity, summary: ResultSummary) -> None:
        """Put a result on the disk, but for `summary.slices`."""
        self._append(_result(identity, summary))
        self._take(identity, summary)
        self._shorten()

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _append(self, line: Mapping[str, Any]) -> None:
        size, left = os.fstat(self._file).st_size, _encoded(line)
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
            if summary.figures is not None and summary.figures.defect_class:
                self.defects[summary.figures.defect_class] += 1
        self._finish(identity)
        self.last_error = summary.error or self.last_error
        for stage, seconds in summary.latencies_s.items():
            self.stages[stage] = _timed(self.stages.get(stage, NEVER), seconds)
        if summary.latency_s is not None:
            self.latency = _timed(self.latency, summary.latency_s)
        summary = dataclasses.replace(summary, slices={})
        self.entries = [*self.entries, Entry(summary, identity[2])][-RECALLED:]

    def _finish(self, identity: Identity) -> None:
        self._finished.add(identity)
        self._names.add(identity[:2])
        self._begun.pop(identity, None)

    def _shorten(self) -> None:
        """Write a file anew that has passed its bound; a crash at any moment leaves the former one or the new one."""
        if os.fstat(self._file).st_size <= self._bound_bytes:
            return
        self._forget()
        try:
            with written_whole(self._path) as partial:
                partial.write_bytes(b"".join(map(_encoded, self._lines())))
        except OSError as error:
            log.warning("journal %s cannot be shortened: %s; free space", self._path, error)
        former, self._file = self._file, _opened(self._path)
        os.close(former)
        self._bound_bytes = max(LARGEST_BYTES, 2 * os.fstat(self._file).st_size)

    def _forget(self) -> None:
        """Forget the series that are neither among the newest results nor in the spool any more."""
        oldest = Position(self._oldest_segment(), 0)
        self._finished = self._newest | {identity for identity in self._finished if identity[2] >= oldest}
        self._names = {identity[:2] for identity in self._finished}
        self._begun = Counter({identity: count for identity, count in self._begun.items() if identity[2] >= oldest})

    def _lines(self) -> Iterator[Mapping[str, Any]]:
        """All that is known, as lines; the totals come behind the results, which are in them already."""
        yield {"event": "journal", "name": self.name}
        yield from ({"event": "finished", "identity": identity} for identity in self._finished - self._newest)
        yield from (_result(entry.identity, entry.summary) for entry in self.entries)
        yield {"event": "totals", **{name: getattr(self, name) for name in TOTALS}}
        yield from ({"event": "begin", "identity": identity} for identity in self._begun.elements())

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
        match found["event"]:
            case "journal":
                self.name = str(found["name"])
            case "totals":
                self._set_totals(found)
            case "begin":
                self._begun[_identity(found)] += 1
            case "finished":
                self._finish(_identity(found))
            case _:
                self._take(_identity(found), _summary(found["summary"]))

    def _set_totals(self, found: Mapping[str, Any]) -> None:
        self.sequence, self.last_error = int(found["sequence"]), str(found["last_error"])
        self.totals, self.series = Counter(found["totals"]), Counter(found["series"])
        self.defects = Counter(found.get("defects", {}))
        self.stages = {stage: (count, total_s, last_s) for stage, (count, total_s, last_s) in found["stages"].items()}
        count, total_s, last_s = found["latency"]
        self.latency = count, total_s, last_s


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)


def _timed(before: Timing, seconds: float) -> Timing:
    count, total_s, _ = before
    return count + 1, total_s + seconds, seconds


def _encoded(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, default=str).encode() + b"\n"


def _identity(found: Mapping[str, Any]) -> Identity:
    series_id, name, position = found["identity"]
    return series_id, name, Position(*position)


def _result(identity: Identity, summary: ResultSummary) -> dict[str, Any]:
    return {"event": "result", "identity": identity, "summary": _plain(summary)}


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
    for name in ("notes", "warnings"):
        known[name] = tuple(known[name])
    return ResultSummary(**known)
