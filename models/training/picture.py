"""The curves of a run as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models.files import written_whole
from models.training.curve import Point

DPI = 110
# Points that a smoothed value looks back on.
MEMORY_POINTS = 20
INK, ACCENT, FAINT = "#22303c", "#c8553d", "#8a99a8"


def draw_curves(points: Sequence[Point], title: str, path: Path) -> None:
    """Write a PNG of loss, validation loss, learning rate and share of simulation to `path`, whole or not at all."""
    minutes = np.array([point.used_s for point in points]) / 60.0
    with mpl.rc_context({"font.size": 8.5, "axes.linewidth": 0.6}):
        figure = Figure(figsize=(8.0, 5.2), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        _draw_losses(upper, points, minutes)
        upper.set_title(title, loc="left", color=INK)
        lower.plot(minutes, [point.learning_rate for point in points], color=INK, lw=1)
        lower.set_ylabel("learning rate")
        share = lower.twinx()
        share.plot(minutes, [point.simulation_share for point in points], color=FAINT, lw=0.6)
        share.set(ylim=(0, 1), ylabel="simulation's share of a step")
        lower.set_xlabel("minutes used")
        with written_whole(path) as partial:
            figure.savefig(partial, format="png", dpi=DPI)


def _draw_losses(axis: Axes, points: Sequence[Point], minutes: NDArray[np.float64]) -> None:
    loss = np.array([point.loss for point in points])
    axis.plot(minutes, loss, color=FAINT, lw=0.5, label="training, as it came")
    axis.plot(minutes, smoothed(loss), color=INK, lw=1.2, label="training, smoothed")
    seen = np.isfinite([point.validation_loss for point in points])
    validation = np.array([point.validation_loss for point in points])[seen]
    axis.plot(minutes[seen], validation, "o-", color=ACCENT, ms=3, lw=1, label="validation, averaged weights")
    axis.set(yscale="log", ylabel="loss")
    axis.grid(alpha=0.25, lw=0.5, which="both")
    axis.legend(frameon=False)


def smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the running mean of `values` over the last `MEMORY_POINTS`, fewer at the beginning."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    end = np.arange(1, len(values) + 1)
    begin = np.maximum(end - MEMORY_POINTS, 0)
    return np.asarray((total[end] - total[begin]) / (end - begin))
