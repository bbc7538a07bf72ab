"""Kills a training run (SIGKILL) at random moments, resumes it and looks at its curve: python -m benchmarks.training

Two figures: how far the mean log loss jumps across a resume, in standard deviations of such differences elsewhere; and
by how much the loss of steps that were lost and made again differs, beside how much that of neighbouring steps does.
Volumes of 16^3 are trained in fp32 on a CPU: see models.training.arithmetic.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from models.training.curve import Point, read_curve
from models.training.picture import ACCENT, FAINT, INK, smoothed
from models.training.run import CURVE
from tests.helpers.training import Kill, train_with_kills

# Points on either side of a resume whose means are compared.
SIDE = 20
# A jump beyond this many standard deviations is no chance among a handful of resumes.
LARGEST_JUMP = 3.0
# A step made again has the weights, the optimizer and the batch that it had; its learning rate follows the clock.
MADE_AGAIN = 0.01
# Of its share of the minutes: the latest moment of a kill, so that the run does not end before the last one.
LATEST = 0.8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5, help="how many (default 5)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--minutes", type=float, default=2.5, help="of training in all (default 2.5)")
    parser.add_argument("--edge", type=int, default=16, help="of the volumes (default 16)")
    parser.add_argument("--batch", type=int, default=16, help="volumes a step (default 16)")
    parser.add_argument("--plot", type=Path, help="where to draw the curve (PNG)")
    options = parser.parse_args()
    wanted = {"--minutes": options.minutes, "--edge": options.edge, "--batch": options.batch, "--checkpoint": 5}
    line = [str(part) for pair in wanted.items() for part in pair]
    with tempfile.TemporaryDirectory() as folder:
        began_s = time.monotonic()
        latest_s = LATEST * 60.0 * options.minutes / options.kills
        kills = train_with_kills(Path(folder), options.kills, options.seed, latest_s, line)
        points = read_curve(Path(folder) / "denoise" / CURVE)
    jumps, again = _jumps(points, kills), [_made_again(points, kill) for kill in kills]
    Console(width=120).print(_table(points, kills, jumps, again))
    largest = float(np.nanmax(np.abs(jumps)))
    differences = np.concatenate(again)
    chance = float(np.median(np.abs(np.diff(np.log([point.loss for point in points])))))
    faults = [kill for kill in kills if kill.fault]
    print(f"{len(kills)} kills, seed {options.seed}, {points[-1].step} steps, {time.monotonic() - began_s:.0f} s: "
          f"{len(faults)} faults, largest jump at a resume {largest:.2f} standard deviations; {len(differences)} steps "
          f"made again, loss within {np.max(differences, initial=0.0):.2%} (neighbours: {chance:.0%})")  # fmt: skip
    if options.plot:
        _draw(points, kills, largest, options.plot)
    return 1 if faults or largest > LARGEST_JUMP or max(differences, default=0.0) > MADE_AGAIN else 0


def _jumps(points: list[Point], kills: list[Kill]) -> NDArray[np.float64]:
    """Differences of the mean log loss across each resume, in standard deviations of those across other places."""
    loss = np.log([point.loss for point in points])
    places = range(SIDE, len(points) - SIDE + 1)
    across = {place: float(loss[place : place + SIDE].mean() - loss[place - SIDE : place].mean()) for place in places}
    resumes = [_first_after(points, kill) for kill in kills]
    elsewhere = [jump for place, jump in across.items() if min(abs(place - resume) for resume in resumes) >= SIDE]
    return np.array([across.get(place, math.nan) for place in resumes]) / float(np.std(elsewhere))


def _made_again(points: list[Point], kill: Kill) -> NDArray[np.float64]:
    """Relative differences of the loss of points that a kill took, to those made again of the same steps."""
    kept, lost = _losses(points), _losses(kill.points)
    return np.array([
        abs(kept[span] / loss - 1.0) for span, loss in lost.items() if span[1] > kill.checkpoint_step and span in kept
    ])  # fmt: skip


def _losses(points: Sequence[Point]) -> dict[tuple[int, int], float]:
    """The loss of each point by the steps that it is the mean of: after the first, up to the second."""
    befores = [0, *(point.step for point in points)]
    return {(before, point.step): point.loss for before, point in zip(befores, points, strict=False)}


def _first_after(points: list[Point], kill: Kill) -> int:
    return sum(point.step <= kill.checkpoint_step for point in points)


def _table(
    points: list[Point], kills: list[Kill], jumps: NDArray[np.float64], again: list[NDArray[np.float64]]
) -> Table:
    table = Table(title="One SIGKILL after another")
    columns = (
        "killed after step",
        "resumed from",
        "s of the budget",
        "jump, std. dev.",
        "made again",
        "loss within",
        "fault",
    )
    for column in columns:
        table.add_column(column)
    for kill, jump, differences in zip(kills, jumps, again, strict=True):
        used_s = points[max(_first_after(points, kill) - 1, 0)].used_s
        steps = str(kill.points[-1].step), str(kill.checkpoint_step)
        within = f"{differences.max():.2%}" if len(differences) else "-"
        table.add_row(*steps, f"{used_s:.1f}", f"{jump:+.2f}", str(len(differences)), within, kill.fault or "none")
    return table


def _draw(points: list[Point], kills: list[Kill], largest: float, path: Path) -> None:
    figure = Figure(figsize=(8.0, 3.8), layout="constrained")
    axis = figure.subplots()
    steps, loss = np.array([point.step for point in points]), np.array([point.loss for point in points])
    axis.plot(steps, loss, color=FAINT, lw=0.6, label="as it came")
    axis.plot(steps, smoothed(loss), color=INK, lw=1.3, label="smoothed")
    for number, kill in enumerate(kills):
        axis.axvspan(kill.checkpoint_step, kill.points[-1].step, color=ACCENT, alpha=0.15, lw=0)
        name = "resumed here; shaded: steps that the kill took, made again" if number == 0 else None
        axis.axvline(kill.checkpoint_step, color=ACCENT, lw=1, label=name)
    axis.set(yscale="log", xlabel="step", ylabel="training loss")
    axis.set_title(f"{len(kills)} times kill -9, largest jump {largest:.2f} standard deviations", loc="left")
    axis.legend(frameon=False)
    figure.savefig(path, format="png", dpi=110)


if __name__ == "__main__":
    sys.exit(main())
