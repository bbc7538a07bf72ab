"""Frames a second into the worker, interleaved with raw ZMQ PUSH/PULL of the same bytes: python -m benchmarks.streaming

raw      a bare PULL that takes each message (copy=False) and drops it, as anybody would write it
tuned    the same under the allocator settings that ingest gives itself
memory   the worker's ingest into a spool on /dev/shm (warm: its segments have been written before)
disk     the same into a spool on a disk, without its fsync, which runs beside
volume   through compute to assembled volumes: spool in memory, decode, assemble; the third series, as a worker runs
         for weeks

Sender, receiver and compute are processes of their own on this machine. Each round runs all of them in turn; the
figures are medians over the rounds, the shares medians of the ratios within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.streaming_peers import FORMATS, messages
from service.worker.ingest import ENVIRONMENT

WAYS = ("raw", "tuned", "memory", "disk", "volume")
ROUND_BYTES = 3_000_000_000  # on the wire, every other way
ROUND_FRAMES = 20_000  # at most
LIMIT_S = 120.0  # a run takes seconds
VOLUME_BYTES = 400_000_000  # decoded pixels of each series that goes through compute


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--formats", nargs="*", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--disk", type=Path, default=Path(tempfile.gettempdir()), help="folder for the spool on disk")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=WAYS)
    parser.add_argument("--json", type=Path, help="write every figure here")
    options = parser.parse_args(arguments)
    figures = {}
    for name in options.formats:
        for compression in ("none", "bslz4"):
            figures[f"{name} {compression}"] = measure(name, compression, options)
    Console(width=140).print(_table(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return 0


def measure(name: str, compression: str, options: argparse.Namespace) -> dict[str, list[float]]:
    """Return way -> frames a second of each round."""
    rates: dict[str, list[float]] = {way: [] for way in options.ways}
    folders = {"memory": Path("/dev/shm"), "disk": options.disk, "volume": Path("/dev/shm")}
    spools = {way: Path(tempfile.mkdtemp(prefix="braggloop-bench-", dir=where)) for way, where in folders.items()}
    try:
        for number in range(options.rounds + 1):
            for way in options.ways:
                rate = run(way, name, compression, spools.get(way))
                if number:  # the first round warms the spools
                    rates[way].append(rate)
            print(name, compression, {way: round(found[-1]) for way, found in rates.items() if found}, file=sys.stderr)
    finally:
        for folder in spools.values():
            shutil.rmtree(folder)
    return rates


def run(way: str, name: str, compression: str, spool: Path | None) -> float:
    """Run one receiver with its sender; return frames a second."""
    frames = frames_of(way, name, compression)
    environment = {**os.environ, **(ENVIRONMENT if way in ("tuned", "memory", "disk") else {})}
    command = [sys.executable, "-m", "benchmarks.streaming_peers", way, name, compression, str(frames), str(spool)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, timeout=LIMIT_S)
    return float(done.stdout)


def frames_of(way: str, name: str, compression: str) -> int:
    """Return how many frames one run takes: so many that it lasts about a second."""
    if way == "volume":
        shape, dtype = FORMATS[name]
        return VOLUME_BYTES // (shape[0] * shape[1] * np.dtype(dtype).itemsize)
    return min(ROUND_FRAMES, ROUND_BYTES // len(messages(name, compression, 1, "same")[0]))


def _table(figures: dict[str, dict[str, list[float]]]) -> Table:
    table = Table(title="frames a second (share of raw in the same round)")
    ways = list(next(iter(figures.values())))
    for column in ("frames", *ways):
        table.add_column(column, justify="left" if column == "frames" else "right")
    for name, rates in figures.items():
        table.add_row(name, *(_cell(way, rates) for way in ways))
    return table


def _cell(way: str, rates: dict[str, list[float]]) -> str:
    middle = statistics.median(rates[way])
    if way == "raw":
        return f"{middle:,.0f}"
    share = statistics.median(ours / raw for ours, raw in zip(rates[way], rates["raw"], strict=True))
    return f"{middle:,.0f} ({share:.2f})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
