"""Do independent runs find the same crystal? python -m benchmarks.agreement SCAN

Five runs with disjoint seeds and no shared start, at 64^3 (20 starts each) and 128^3 (5 starts each); every pair of
selected objects is compared by complex correlation with twin, shift and ramp removed. Then the full size by two single
starts, each from the 128^3 result of another run. The held-out voxels differ from run to run too.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.bcdi_scan import Cube, box_around_peak
from models.bcdi.modes import correlation
from models.bcdi.phasing import Phased

RUNS = 5
BAR = 0.95  # least correlation
SEEDS_APART = 1000  # runs draw their starts from seeds this far apart
STARTS = {64: 20, 128: 5}
KEEP = {64: 10, 128: 5}
FULL_SHAPE = (210, 256, 256)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", type=Path)
    parser.add_argument("--sizes", type=int, nargs="*", default=[64, 128], choices=[64, 128])
    parser.add_argument("--full", action="store_true", help="then the full size, from two of the 128^3 results")
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--plot", type=Path, help="PNG; without it, beside the JSON under the same name")
    options = parser.parse_args(arguments)
    figures: dict[str, Any] = {}
    runs: list[Phased] = []
    for size in options.sizes:
        runs, figures[f"{size}^3"] = independent_runs(box_around_peak(options.scan, size), size)
    if options.full:
        figures["full"] = full_size(box_around_peak(options.scan, FULL_SHAPE), runs[:2])
    Console(width=140).print(_table(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    plot = options.plot or (options.json and options.json.with_suffix(".png"))
    if plot:
        write_plot(figures, plot)
    return 0


def independent_runs(cube: Cube, size: int) -> tuple[list[Phased], dict[str, Any]]:
    runs, seconds = [], []
    for run in range(RUNS):
        began_s = time.perf_counter()
        runs.append(cube.inverted(seed=run * SEEDS_APART, starts=STARTS[size], keep=KEEP[size]))
        seconds.append(time.perf_counter() - began_s)
    return runs, _figures(runs, seconds)


def full_size(cube: Cube, starts: Sequence[Phased]) -> dict[str, Any]:
    runs, seconds = [], []
    for number, start in enumerate(starts):
        began_s = time.perf_counter()
        runs.append(cube.inverted(start=start.object_, seed=number * SEEDS_APART, starts=1, keep=1))
        seconds.append(time.perf_counter() - began_s)
    return _figures(runs, seconds)


def _figures(runs: Sequence[Phased], seconds: Sequence[float]) -> dict[str, Any]:
    pairs = [correlation(one.object_, other.object_) for one, other in itertools.combinations(runs, 2)]
    return {
        "correlations": pairs,
        "seconds": list(seconds),
        "chi": [run.figures.chi for run in runs],
        "r_factor": [run.figures.r_factor for run in runs],
        "free_log_likelihood": [run.figures.free_log_likelihood for run in runs],
        "support": [int(run.support.sum()) for run in runs],
        "recipe": runs[0].recipe,
    }


def _table(figures: dict[str, Any]) -> Table:
    table = Table("size", "correlation: least", "median", "chi", "R", "free LLK", "support", "seconds a run")
    for name, row in figures.items():
        columns = (row[key] for key in ("chi", "r_factor", "free_log_likelihood", "support", "seconds"))
        spread = (f"{np.min(values):.4g} .. {np.max(values):.4g}" for values in columns)
        table.add_row(name, f"{min(row['correlations']):.4f}", f"{np.median(row['correlations']):.4f}", *spread)
    return table


def write_plot(figures: dict[str, Any], path: Path) -> None:
    """Write the correlation of every pair of runs, a heat map a size."""
    figure = Figure(figsize=(4.6 * len(figures), 4.2), layout="constrained")
    for panel, (size, row) in zip(figure.subplots(1, len(figures), squeeze=False)[0], figures.items(), strict=True):
        matrix = _matrix(row["correlations"], len(row["chi"]))
        drawn = panel.imshow(matrix, cmap="Wistia", vmin=BAR, vmax=1.0)
        for (one, other), value in np.ndenumerate(matrix):
            panel.text(other, one, f"{value:.3f}", ha="center", va="center", fontsize=9)
        panel.set(title=f"{size}: least {min(row['correlations']):.3f}, bar {BAR:g}", xlabel="run", ylabel="run")
        panel.set_xticks(range(len(matrix)))
        panel.set_yticks(range(len(matrix)))
        figure.colorbar(drawn, ax=panel, shrink=0.8)
    figure.savefig(path, dpi=110)


def _matrix(pairs: Sequence[float], runs: int) -> NDArray[np.float64]:
    """Return all against all, float64 [runs, runs], from the pairs in the order of `itertools.combinations`."""
    matrix = np.eye(runs)
    for (one, other), value in zip(itertools.combinations(range(runs), 2), pairs, strict=True):
        matrix[one, other] = matrix[other, one] = value
    return matrix


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
