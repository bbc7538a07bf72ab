"""The picture of what is wrong with a crystal: the pattern, which of it decided, the lines in the crystal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from numpy.typing import NDArray

from models.defects.body import body_of
from models.defects.report import DefectReport
from service.results.picture import ACCENT, FAINT, INK, LINE, STYLE, save_png

# axis that is cut, names of the rows and of the columns
CUTS = ((0, "row", "column"), (1, "frame", "column"), (2, "frame", "row"))
ROW_INCHES = 2.6
LEAST_SHOWN = 0.5  # counts
SHOWN_PERCENTILE = 99.5  # of the evidence: a few voxels of the peak must not hide the fringes


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What is drawn: `counts` float32, gaps filled, and `evidence` float32, [z, y, x] or one frame [y, x]; `object_`
    complex64 [z, y, x], where there is one.
    """

    title: str
    found: DefectReport
    counts: NDArray[np.float32]
    evidence: NDArray[np.float32]
    object_: NDArray[np.complex64] | None


def write_defects(drawn: Drawn, path: Path) -> Path:
    """Write the PNG to `path`, whole or not at all, and return it. Raises ResultError when it cannot be written."""
    with mpl.rc_context(STYLE):
        return save_png(_figure(drawn), path)


def _figure(drawn: Drawn) -> Figure:
    rows = 2 if drawn.object_ is None else 4
    figure = Figure(figsize=(12.0, ROW_INCHES * rows + 0.8))
    found = drawn.found
    figure.text(0.05, 0.955, f"{drawn.title}: {found.label.value.replace('_', ' ')}", fontsize=14, color=INK)
    grid = GridSpec(rows, 4, figure, left=0.06, right=0.97, top=0.9, bottom=0.07, wspace=0.3, hspace=0.35)
    frame = drawn.counts.ndim == 2
    counts, spoke = (one[None] if frame else one for one in (drawn.counts, drawn.evidence))
    likeliest = max(found.probabilities, key=found.probabilities.__getitem__).value
    for column, cut in enumerate(CUTS[:1] if frame else CUTS):
        _pattern(figure.add_subplot(grid[0, column]), counts, cut)
        _evidence(figure.add_subplot(grid[1, column]), spoke, likeliest, cut)
        if drawn.object_ is not None:
            _crystal(figure.add_subplot(grid[2, column]), drawn, cut, phase=False)
            _crystal(figure.add_subplot(grid[3, column]), drawn, cut, phase=True)
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
    _dress(axis, f"red: spoke for {name.replace('_', ' ')}", cut)


def _crystal(axis: Axes, drawn: Drawn, cut: tuple[int, str, str], *, phase: bool) -> None:
    assert drawn.object_ is not None
    body = body_of(drawn.object_)
    middle = [round(float(places.mean())) for places in np.nonzero(body)]
    box = tuple(slice(max(int(places.min()) - 2, 0), int(places.max()) + 3) for places in np.nonzero(body))
    part, inside = drawn.object_[box], body[box]
    at = middle[cut[0]] - box[cut[0]].start
    image = np.take(np.where(inside, np.angle(part), np.nan) if phase else np.abs(part), at, cut[0])
    axis.imshow(image, cmap="twilight" if phase else "gray", aspect="auto")
    rows, columns = (one for one in range(3) if one != cut[0])
    for line in drawn.found.lines:
        axis.plot(line.points[:, columns] - box[columns].start, line.points[:, rows] - box[rows].start, ".", ms=2.5,
                  color=LINE)  # fmt: skip
    _dress(axis, "phase, lines seen through" if phase else "amplitude, lines seen through", cut)


def _bars(axis: Axes, found: DefectReport) -> None:
    names = [name.value.replace("_", " ") for name in found.probabilities]
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
