"""The picture of a series: where its crystals lie in the plane of their largest change, and how far they went."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.invert.series import Trajectory
from service.results.picture import FAINT, INK, STYLE, save_png

COLOURS = "viridis"


def write_latent_map(found: Trajectory, names: Sequence[str], path: Path) -> Path:
    """Write the PNG to `path`, whole or not at all, and return it. Raises ResultError when it cannot be written."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 5.2), layout="constrained")
        plane, changes = figure.subplots(1, 2, width_ratios=(1.25, 1.0))
        _draw_plane(plane, found, names)
        _draw_changes(changes, found)
        return save_png(figure, path)


def _draw_plane(axes: Axes, found: Trajectory, names: Sequence[str]) -> None:
    order = np.arange(len(found.places))
    first, second = found.places.T
    axes.plot(first, second, color=FAINT, linewidth=0.8, zorder=1)
    points = axes.scatter(first, second, c=order, cmap=COLOURS, s=36, zorder=2)
    for index in (0, len(order) - 1):
        axes.annotate(names[index], found.places[index], xytext=(6, 6), textcoords="offset points", color=INK)
    axes.set(
        title="crystals in the plane of largest change",
        xlabel=f"first component ({found.shares[0]:.0%} of all change)",
        ylabel=f"second component ({found.shares[1]:.0%})",
    )
    axes.margins(0.15)
    axes.figure.colorbar(points, ax=axes, label="crystal, in order", shrink=0.8)


def _draw_changes(axes: Axes, found: Trajectory) -> None:
    order = np.arange(len(found.surface))
    axes.plot(order, 100.0 * found.surface, marker="o", markersize=4, color="#2f6f8f", label="surface")
    axes.set(title="against the first crystal, rms", xlabel="crystal, in order")
    axes.set_ylabel("surface (% of its mean radius)")
    axes.set_ylim(bottom=0.0)
    phases = axes.twinx()
    phases.plot(order, found.phase, marker="s", markersize=4, color="#c8553d", label="phase")
    phases.set_ylabel("phase in the interior (rad)")
    phases.set_ylim(bottom=0.0)
    lines = [*axes.get_lines(), *phases.get_lines()]
    axes.legend(lines, [str(line.get_label()) for line in lines], loc="upper left")
