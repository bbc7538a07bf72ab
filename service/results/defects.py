"""The picture of what is wrong with a crystal: the pattern, which of it decided, the lines in the crystal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from numpy.typing import NDArray

from models.defects.body import body_of
from models.defects.evidence import Evidence
from models.defects.report import DefectReport
from models.defects.vortices import Vortex
from service.results.picture import ACCENT, FAINT, INK, LINE, STYLE, save_png

# axis that is cut, names of the rows and of the columns: those of the pattern, those of the crystal
CUTS = ((0, "row", "column"), (1, "frame", "column"), (2, "frame", "row"))
CRYSTAL_CUTS = ((0, "y", "x"), (1, "z", "x"), (2, "z", "y"))
ROW_INCHES = 2.6
LEAST_SHOWN = 0.5  # counts
SHOWN_PERCENTILE = 99.5  # of the evidence: a few voxels of the peak must not hide the fringes


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What is drawn: `counts` float32 [z, y, x] or one frame [y, x], gaps filled, and their `evidence`; `object_`
    complex64 [z, y, x] with its `support` bool, where there is one.
    """

    title: str
    found: DefectReport
    counts: NDArray[np.float32]
    evidence: Evidence
    object_: NDArray[np.complex64] | None
    support: NDArray[np.bool_] | None


def write_defects(drawn: Drawn, path: Path) -> Path:
    """Write the PNG to `path`, whole or not at all, and return it. Raises ResultError when it cannot be written."""
    with mpl.rc_context(STYLE):
        return save_png(_figure(drawn), path)


def _figure(drawn: Drawn) -> Figure:
    rows = 2 if drawn.object_ is None else 4
    figure = Figure(figsize=(12.0, ROW_INCHES * rows + 0.8))
    found = drawn.found
    figure.text(0.05, 0.955, f"{drawn.title}: {found.label.value.replace('_', ' ')}", fontsize=14, color=INK)
    grid = GridSpec(rows, 4, figure, left=0.06, right=0.97, top=0.9, bottom=0.07, wspace=0.35, hspace=0.35)
    frame = drawn.counts.ndim == 2
    counts, spoke = (one[None] if frame else one for one in (drawn.counts, drawn.evidence.spoke))
    fields = [] if drawn.object_ is None else _fields(drawn.object_, drawn.support)
    for column, cut in enumerate(CUTS[:1] if frame else CUTS):
        _pattern(figure.add_subplot(grid[0, column]), counts, cut)
        _evidence(figure.add_subplot(grid[1, column]), spoke, drawn.evidence.label.value, cut)
        for row, field in enumerate(fields, 2):
            _crystal(figure.add_subplot(grid[row, column]), field, found.lines, CRYSTAL_CUTS[column])
    _bars(figure.add_subplot(grid[:2, 3]), found)
    return figure


def _pattern(axis: Axes, counts: NDArray[np.float32], cut: tuple[int, str, str]) -> None:
    image = np.take(counts, counts.shape[cut[0]] // 2, cut[0]).clip(LEAST_SHOWN)
    axis.imshow(image, norm=LogNorm(LEAST_SHOWN, max(float(image.max()), 1.0)), cmap="magma", aspect="auto")
    _dress(axis, "pattern", cut)


def _evidence(axis: Axes, spoke: NDArray[np.float32], name: str, cut: tuple[int, str, str]) -> None:
    image = np.take(spoke, spoke.shape[cut[0]] // 2, cut[0])
    most = max(float(np.percentile(np.abs(image), SHOWN_PERCENTILE)), 1e-6)
    axis.imshow(image, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto")
    _dress(axis, f"network: red spoke for {name.replace('_', ' ')}", cut)


class _Field(NamedTuple):
    """A field of the crystal: `values` float32 in the box that begins at voxel `start`, cut at its voxels `middle`;
    its `colours` span `reach`, or what is there.
    """

    title: str
    colours: str
    reach: tuple[float, float] | None
    values: NDArray[np.float32]
    start: tuple[int, ...]
    middle: tuple[int, ...]


def _fields(object_: NDArray[np.complex64], support: NDArray[np.bool_] | None) -> list[_Field]:
    """Amplitude and phase of the crystal, the phase NaN outside of its body."""
    body = body_of(object_, support)
    places = np.nonzero(body)
    box = tuple(slice(max(int(one.min()) - 2, 0), int(one.max()) + 3) for one in places)
    start = tuple(part.start for part in box)
    middle = tuple(round(float(one.mean())) - first for one, first in zip(places, start, strict=True))
    phase = np.where(body[box], np.angle(object_[box]), np.float32(np.nan))
    return [
        _Field("amplitude, lines seen through", "gray", None, np.abs(object_[box]), start, middle),
        _Field("phase, −π to π, lines seen through", "twilight", (-np.pi, np.pi), phase, start, middle),
    ]


def _crystal(axis: Axes, field: _Field, lines: Sequence[Vortex], cut: tuple[int, str, str]) -> None:
    image, (low, high) = np.take(field.values, field.middle[cut[0]], cut[0]), field.reach or (None, None)
    axis.imshow(image, cmap=field.colours, vmin=low, vmax=high, aspect="auto")
    rows, columns = (one for one in range(3) if one != cut[0])
    for line in lines:
        across, down = (line.points[:, one] - field.start[one] for one in (columns, rows))
        axis.plot(across, down, ".", ms=2.5, color=LINE)
    _dress(axis, field.title, cut)


def _bars(axis: Axes, found: DefectReport) -> None:
    names = [name.value.replace("_", "\n") for name in found.probabilities]
    shares = list(found.probabilities.values())
    colours = [ACCENT if name == found.label else FAINT for name in found.probabilities]
    axis.barh(names[::-1], shares[::-1], color=colours[::-1])
    axis.axvline(found.sure, color=INK, lw=0.6, ls=":")
    axis.set_xlim(0.0, 1.0)
    axis.set_title("probability; unknown below the line")


def _dress(axis: Axes, title: str, cut: tuple[int, str, str]) -> None:
    axis.set_title(title)
    axis.set_ylabel(cut[1])
    axis.set_xlabel(cut[2])
