"""The page of simulated defects: a row for each class, two columns for each element and reflection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from models.defects.catalogue import Example
from models.defects.report import DefectClass
from service.results.picture import FAINT, INK, STYLE, save_png

CELL_INCHES = 1.15
LEAST_SHOWN = 0.5  # counts


class Column(NamedTuple):
    """What a column shows."""

    element: str
    reflection: tuple[float, float, float]

    def __str__(self) -> str:
        return f"{self.element} {''.join(f'{int(index)}' for index in self.reflection)}"


def write_catalogue(
    rows: Sequence[DefectClass],
    columns: Sequence[Column],
    cells: Mapping[tuple[int, int], Example | None],
    path: Path,
) -> Path:
    """Write the page to `path`, whole or not at all, and return it. Raises ResultError when it cannot be written."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(CELL_INCHES * 2 * len(columns) + 1.0, CELL_INCHES * len(rows) + 0.7))
        grid = figure.subplots(len(rows), 2 * len(columns), squeeze=False)
        figure.subplots_adjust(
            left=0.9 / figure.get_figwidth(), right=0.99, top=0.92, bottom=0.02, wspace=0.06, hspace=0.08
        )
        figure.suptitle("Pattern and phase across the rocking axis, Q to the right", color=INK, fontsize=10)
        for (row, column), cell in cells.items():
            _draw(grid[row, 2 * column], grid[row, 2 * column + 1], cell)
        for number, name in enumerate(rows):
            grid[number, 0].set_ylabel(name.value.replace("_", " "), color=INK)
        for number, one in enumerate(columns):
            grid[0, 2 * number].set_title(str(one), color=INK, loc="left")
        return save_png(figure, path)


def _draw(left: mpl.axes.Axes, right: mpl.axes.Axes, cell: Example | None) -> None:
    for axis in (left, right):
        axis.set_xticks([])
        axis.set_yticks([])
    if cell is None:
        left.text(0.5, 0.5, "never seen", ha="center", va="center", color=FAINT, transform=left.transAxes)
        right.set_axis_off()
        return
    counts = cell.counts.numpy().clip(LEAST_SHOWN)
    left.imshow(counts, norm=LogNorm(LEAST_SHOWN, float(counts.max())), cmap="magma")
    phase = cell.phase.numpy()
    places = np.nonzero(np.isfinite(phase))
    box = tuple(slice(max(int(p.min()) - 1, 0), int(p.max()) + 2) for p in places)
    right.imshow(phase[box], cmap="twilight", vmin=-np.pi, vmax=np.pi)
