"""The journal: what a restarted worker knows."""

from __future__ import annotations

import dataclasses
import errno
import math
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.errors import ResultError
from service.records import Accounting, ResultSummary, SeriesStatus
from service.worker import journal as module
from service.worker.journal import Journal
from service.worker.spool import Position
from tests.helpers.results import make_figures

FRAMES = Accounting(sent=10, received=7, missed=2, rejected=1, duplicates=3)
FIRST = (1, "first", Position(1, 64))


def summary(sequence: int, **changes: object) -> ResultSummary:
    whole = ResultSummary(
        sequence=sequence, series_id=1, series_unique_id="first", status=SeriesStatus.INCOMPLETE, accounting=FRAMES,
        figures=make_figures(resolution_nm=math.nan, defect_class="screw"),
        path=Path("a.h5"), latencies_s={"phase": 2.0}, notes=("n",),
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
    assert again.defects == {"screw": 1}
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


def known(journal: Journal) -> dict[str, Any]:
    """What must be the same however short the file is; NaN as a text, since it is unlike itself."""
    told = ("name", "sequence", "totals", "series", "defects", "stages", "latency", "last_error", "last_file")
    return {name: getattr(journal, name) for name in told} | {"summaries": repr(journal.summaries)}


def live(journal: Journal, segments: int) -> None:
    """Many series: each begins one segment or more after the one before, some take two attempts or are told again."""
    chances = random.Random(7)
    for segment in range(segments):
        identity = (segment, f"series-{segment}", Position(segment, 64))
        for _ in range(chances.randint(1, 2)):
            journal.begin(identity)
        for _ in range(chances.choice((0, 1, 1, 1, 2))):
            told = summary(
                journal.sequence + 1, series_id=segment, series_unique_id=identity[1],
                status=chances.choice((SeriesStatus.DONE, SeriesStatus.FAILED)),
                latencies_s={"phase": chances.random(), "write": chances.random()},
                error=chances.choice(("", f"no counts in {segment}")), path=Path(f"{segment}.h5"),
            )  # fmt: skip
            journal.add(identity, told)


def test_journal_that_has_grown_is_shortened_and_knows_what_it_knew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECALLED", 5)
    whole = Journal(tmp_path / "whole.jsonl")
    live(whole, 60)
    whole.close()
    monkeypatch.setattr(module, "LARGEST_BYTES", 2_000)
    path = tmp_path / "short.jsonl"
    path.write_bytes((tmp_path / "whole.jsonl").read_bytes())
    assert path.stat().st_size > 30_000
    for _ in range(3):  # the old form, then the new one twice
        short = Journal(path, lambda: 40)
        assert known(short) == known(whole)
        assert path.stat().st_size < 8_000
        short.close()
    for segment in range(60):
        identity = (segment, f"series-{segment}", Position(segment, 64))
        assert short.finished(identity) == (segment >= 40 and whole.finished(identity))
        assert short.knows(identity[:2]) == (segment >= 40 and whole.knows(identity[:2]))
        assert short.attempts(identity) == (whole.attempts(identity) if segment >= 40 else 0)


def test_running_journal_stays_below_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECALLED", 5)
    monkeypatch.setattr(module, "LARGEST_BYTES", 12_000)
    path, endless = tmp_path / "short.jsonl", Journal(tmp_path / "endless.jsonl", lambda: 0)
    journal = Journal(path, lambda: max(0, journal.sequence - 10))
    live(journal, 80)
    assert path.stat().st_size < 14_000
    assert len(journal._finished) + len(journal._begun) < 40
    live(endless, 80)
    assert endless.finished((0, "series-0", Position(0, 64))), "whose start may still be read is never forgotten"
    endless.name = journal.name
    assert known(journal) == known(endless)
    journal.close()
    assert known(Journal(path)) == known(endless)


@pytest.mark.parametrize("moment", ["os.kill(os.getpid(), 9)", "replace(*paths); os.kill(os.getpid(), 9)"])
def test_kill_while_it_is_shortened_leaves_the_former_or_the_new_one(tmp_path: Path, moment: str) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    live(journal, 20)
    journal.close()
    deadly = f"""
import os, pathlib, sys
from service.worker import journal
replace = os.replace
def die(*paths):
    {moment}
os.replace, journal.LARGEST_BYTES, journal.RECALLED = die, 1000, 5
journal.Journal(pathlib.Path(sys.argv[1]))
"""
    assert subprocess.run([sys.executable, "-c", deadly, str(path)], timeout=60).returncode == -signal.SIGKILL
    again = Journal(path)
    again.entries, journal.entries = again.entries[-5:], journal.entries[-5:]
    assert known(again) == known(journal)
    again.begin(FIRST)
    assert Journal(path).attempts(FIRST) == 1


def test_full_disk_lets_the_journal_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        patch.setattr(module, "LARGEST_BYTES", 1000)
        journal._bound_bytes = 1000
        live(journal, 10)
    assert "cannot be shortened" in caplog.text
    assert known(Journal(path)) == known(journal)
