"""Kills supervisor, ingest and compute (SIGKILL) at random moments in mid-series: python -m benchmarks.kill

Every series must come out once, complete or told to be incomplete, with frames that add up, and no half file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.helpers.kills import Kill, half_files, kill_at_random


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="how many (default 30)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began_s = time.monotonic()
        kills = kill_at_random(Path(folder), options.kills, options.seed)
        halves = half_files(Path(folder) / "results")
    Console(width=120).print(_table(kills))
    faults = [kill for kill in kills if kill.fault]
    ends = Counter(str(kill.summaries[0].status) for kill in kills if kill.summaries)
    print(f"{len(kills)} kills, seed {options.seed}, {time.monotonic() - began_s:.0f} s: {dict(ends)}, "
          f"{len(faults)} faults, {len(halves)} half files")  # fmt: skip
    return 1 if faults or halves else 0


def _table(kills: list[Kill]) -> Table:
    table = Table(title="One SIGKILL in each series")
    for column in ("series", "killed", "after s", "told", "received", "missed", "rejected", "sent", "fault"):
        table.add_column(column)
    for kill in kills:
        told = [[str(s.status), *map(str, _frames(s.accounting))] for s in kill.summaries] or [["-"] * 5]
        table.add_row(kill.series, kill.victim, f"{kill.after_s:.2f}", *told[0], kill.fault or "none")
    return table


def _frames(accounting: object) -> list[int]:
    return [getattr(accounting, name) for name in ("received", "missed", "rejected", "sent")]


if __name__ == "__main__":
    sys.exit(main())
