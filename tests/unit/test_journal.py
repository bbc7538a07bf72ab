"""The journal: what a restarted worker knows."""

from __future__ import annotations

import dataclasses
import errno
import math
import os
from pathlib import Path

import pytest

from service.errors import ResultError
from service.records import Accounting, ResultSummary, SeriesStatus
from service.worker.journal import Journal
from service.worker.spool import Position
from tests.helpers.results import make_figures

FRAMES = Accounting(sent=10, received=7, missed=2, rejected=1, duplicates=3)
FIRST = (1, "first", Position(1, 64))


def summary(sequence: int, **changes: object) -> ResultSummary:
    whole = ResultSummary(
        sequence=sequence, series_id=1, series_unique_id="first", status=SeriesStatus.INCOMPLETE, accounting=FRAMES,
        figures=make_figures(resolution_nm=math.nan), path=Path("a.h5"), latencies_s={"phase": 2.0}, notes=("n",),
    )  # fmt: skip
    return dataclasses.replace(whole, **changes)  # type: ignore[arg-type]


def test_everything_is_known_again_after_a_restart(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.begin(FIRST)
    journal.begin(FIRST)
    assert (journal.attempts(FIRST), journal.finished(FIRST), journal.knows(FIRST[:2])) == (2, False, False)
    journal.add(FIRST, summary(1))
    journal.add(FIRST, summary(2, error="again", latencies_s={"phase": 3.0}))
    journal.begin((2, "second", Position(2, 0)))
    journal.close()
    again = Journal(tmp_path / "journal.jsonl")
    assert (again.sequence, again.last_error, again.series) == (2, "again", {"incomplete": 1})
    assert again.totals == {"received": 7, "missed": 2, "rejected": 1, "duplicates": 3}
    assert again.stages == {"phase": (2, 5.0, 3.0)}
    assert (again.finished(FIRST), again.knows(FIRST[:2]), again.attempts(FIRST)) == (True, True, 0)
    assert again.attempts((2, "second", Position(2, 0))) == 1
    recalled = again.summaries[0]
    assert recalled.figures is not None
    assert math.isnan(recalled.figures.resolution_nm)
    assert recalled.figures.chi == make_figures().chi
    assert (recalled.path, recalled.notes, recalled.accounting) == (Path("a.h5"), ("n",), FRAMES)


def test_journal_keeps_its_name_and_another_has_another(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.close()
    assert Journal(tmp_path / "journal.jsonl").name == journal.name != ""
    assert Journal(tmp_path / "other.jsonl").name != journal.name


def test_damaged_line_is_told_and_not_taken_for_the_end(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.add(FIRST, summary(1))
    journal.close()
    path.write_bytes(b"\0\0\0\n" + path.read_bytes())
    with pytest.raises(ResultError, match="line 1 is damaged"):
        Journal(path)


def test_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    written = path.read_bytes()

    def full(descriptor: int, data: bytes) -> int:
        if len(data) < 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: len(data) // 2])

    write = os.write
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(ResultError, match="free space"):
        journal.begin(FIRST)
    assert path.read_bytes() == written


def test_same_name_at_another_place_is_another_series(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.add(FIRST, summary(1))
    assert not journal.finished((1, "first", Position(3, 0)))


def test_line_torn_by_a_crash_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.add(FIRST, summary(1, figures=None, path=None))
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event": "result", "ident')
    again = Journal(path)
    assert (again.sequence, path.read_bytes()) == (1, whole)
    again.add((2, "next", Position(2, 0)), summary(2))
    again.close()
    assert Journal(path).sequence == 2
