"""The picture of an alignment: what was counted at each exposure, and where the axes stood."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from service.records import Measured
from service.results.picture import ACCENT, FAINT, INK, STYLE, save_png

COLOURS = "viridis"


def write_alignment(measured: Sequence[Measured], title: str, path: Path) -> Path:
    """Write the PNG to `path`, whole or not at all, and return it. Raises ResultError when it cannot be written."""
    names = list(measured[0].positions) if measured else []
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 2.6 + 1.4 * len(names)), layout="constrained")
        figure.suptitle(title, color=INK, fontsize=10)
        rows = figure.subplots(
            1 + len(names), 1, sharex=True, height_ratios=[2.0, *(1.0 for _ in names)], squeeze=False
        )
        number = np.arange(1, len(measured) + 1)
        values = np.array([each.value for each in measured])
        counts = rows[0, 0]
        scale = "linear" if np.any(values < 0.0) else "log"  # counts are shown by their logarithm, down to none
        shown = values if scale == "linear" else np.maximum(values, 0.5)
        counts.set(ylabel="value", yscale=scale)
        counts.plot(number, shown, color=FAINT, linewidth=0.8, zorder=1)
        counts.scatter(number, shown, c=number, cmap=COLOURS, s=22, zorder=2)
        for axes, name in zip(rows[1:, 0], names, strict=True):
            axes.plot(
                number, [each.positions[name] for each in measured], marker="o", markersize=3, color=INK, linewidth=0.8
            )
            axes.set(ylabel=name)
        if len(values):
            for axes in rows[:, 0]:
                axes.axvline(1 + int(np.argmax(values)), color=ACCENT, linewidth=0.8)
        rows[-1, 0].set(xlabel="exposure; the line marks the largest value")
        return save_png(figure, path)
