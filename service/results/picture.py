"""The PNG summary beside every result: what the crystal looks like, how it strains, how well it fits."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec, GridSpecFromSubplotSpec
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from models.files import written_whole
from service.errors import ResultError
from service.records import Reconstruction, Volume
from service.results.slices import bulk_of, centre_of, fields_of, lines_nm, measured_window
from service.results.summary import figure_rows

DPI = 110
CRYSTAL_ROWS, ROW_INCHES = 3, 2.35  # amplitude, phase, strain; then the pattern
MARGIN_VOXELS = 3  # around the crystal
SHOWN_PERCENTILE = 99.0  # a few wild voxels must not wash the colours out
RIM_OPACITY = 0.3  # phase and strain of the surface, half air and mostly noise, beside the bulk
LOG_FROM = 10.0  # a rocking curve that spans less than a decade has no labels on a logarithmic axis
REMARK_LINES, REMARK_STEP = 8, 0.042  # what fits under the figures; a line as a share of their axes
ZERO_SHOWN = 0.1  # counts: below the scale, so that an empty voxel differs from a masked one
BACKGROUND = {"amplitude": "black", "phase": "#eef0f2", "strain": "#eef0f2"}
EXTENDED = {"amplitude": "neither", "phase": "both", "strain": "both"}  # which colour bars have voxels beyond
LABELS = {"amplitude": "amplitude", "phase": "phase (rad), surface pale", "strain": "strain along Q ($10^{-4}$)"}
PATTERN = ((0, "row (px)", "column (px)"), (1, "frame", "column (px)"), (2, "frame", "row (px)"))
CYCLIC_FROM_RAD = 2.0  # phases beyond may wrap, so their colours must
PRTF_LIMIT = float(np.exp(-1))
STYLE: Any = {"font.size": 8.5, "axes.titlesize": 9.5, "axes.linewidth": 0.6, "figure.facecolor": "white"}
DOUBTFUL = "DOUBTFUL RESULT"
INK, ACCENT, FAINT = "#22303c", "#c8553d", "#8a99a8"
LINE = "#35c24a"  # dislocations: no colour map has it
# plane -> (axis that is cut, name on the rows, name on the columns)
PLANES = {"across the beam": (0, "y", "x"), "from above": (1, "z", "x"), "from the side": (2, "z", "y")}


def write_picture(reconstruction: Reconstruction, volume: Volume, path: Path) -> Path:
    """Write the PNG to `path`, whole or not at all, and return it. Raises ResultError when it cannot be written."""
    with mpl.rc_context(STYLE):
        return save_png(_figure(reconstruction, volume), path)


def require_png(path: Path) -> None:
    """Raise ResultError where no PNG can be written to `path`, before anybody waits for it."""
    if path.suffix.lower() != ".png":
        raise ResultError(f"picture {path}: a PNG is written: name it .png")
    if path.is_dir():
        raise ResultError(f"picture {path}: a folder is there: name a file")


def save_png(figure: Figure, path: Path) -> Path:
    """Write a figure to `path`, whole or not at all, and return it. Raises ResultError when it cannot be written."""
    try:
        with written_whole(path) as partial:
            figure.savefig(partial, format="png", dpi=DPI)
    except OSError as error:
        raise ResultError(f"picture {path}: {error}; free space or choose another folder with --out") from error
    return path


def _figure(reconstruction: Reconstruction, volume: Volume) -> Figure:
    repaired = reconstruction.repaired.shown if reconstruction.repaired else None
    measured = reconstruction.repaired.measured if reconstruction.repaired else None
    rows = CRYSTAL_ROWS + (1 if repaired is None else 2)
    figure = Figure(figsize=(13.2, ROW_INCHES * rows))
    figure.text(0.045, 0.962, _title(reconstruction, volume), fontsize=14, weight="bold", color=INK)
    figure.text(0.045, 0.938, _subtitle(reconstruction), fontsize=9, color=FAINT)
    if reconstruction.figures.doubt:
        figure.text(0.97, 0.965, DOUBTFUL, size=12, weight="bold", color="white", backgroundcolor=ACCENT, ha="right")
    grid = GridSpec(1, 2, figure, width_ratios=(2.45, 1), left=0.045, right=0.975, top=0.895, bottom=0.05, wspace=0.16)
    volumes = GridSpecFromSubplotSpec(rows, 3, grid[0], hspace=0.36, wspace=0.2)
    _draw_crystal(figure, volumes, reconstruction)
    if measured is None:
        window = measured_window(reconstruction, volume)
        measured = np.where(volume.mask[window], volume.counts[window], np.float32(np.nan))
    _draw_pattern(figure, volumes, CRYSTAL_ROWS, measured, "measured counts")
    if repaired is not None:
        _draw_pattern(figure, volumes, CRYSTAL_ROWS + 1, repaired, "repaired counts")
    side = GridSpecFromSubplotSpec(3, 1, grid[1], height_ratios=(1, 1, 2.0), hspace=0.42)
    _draw_rocking_curve(figure.add_subplot(side[0]), volume, reconstruction)
    _draw_prtf(figure.add_subplot(side[1]), reconstruction)
    _draw_figures(figure.add_subplot(side[2]), reconstruction)
    return figure


def _title(reconstruction: Reconstruction, volume: Volume) -> str:
    title = str(volume.metadata.get("title") or reconstruction.series_unique_id)
    sample = str(volume.metadata.get("sample") or "")
    return _plain(f"{sample}  ·  {title}" if sample and sample not in title else title, 90)


def _subtitle(reconstruction: Reconstruction) -> str:
    q = float(np.linalg.norm(reconstruction.q_lab))
    return _plain(
        f"series {reconstruction.series_id} ({reconstruction.series_unique_id})   |Q| = {q:.4f} 1/Å   "
        f"voxel {reconstruction.voxel_nm:.2f} nm   {reconstruction.geometry.energy_kev:.3f} keV   "
        f"{reconstruction.geometry.instrument}",
        160,
    )


def _plain(text: str, longest: int) -> str:
    """A title may come from outside: no mathematics, no line breaks, no more than fits."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return (shown if len(shown) <= longest else shown[: longest - 1] + "…").replace("$", r"\$")


def _draw_crystal(figure: Figure, grid: GridSpecFromSubplotSpec, reconstruction: Reconstruction) -> None:
    centre = centre_of(reconstruction.support_lab)
    half_nm = _half_nm(reconstruction.support_lab, centre, reconstruction.voxel_nm)
    bulk = bulk_of(reconstruction.object_lab, reconstruction.support_lab)
    for row, (name, field) in enumerate(fields_of(reconstruction).items()):
        axes = [figure.add_subplot(grid[row, column]) for column in range(3)]
        style = _style(name, field[bulk])
        opacity = np.ones(bulk.shape) if name == "amplitude" else np.where(bulk, 1.0, RIM_OPACITY)
        for axis, (plane, (cut, rows, columns)) in zip(axes, PLANES.items(), strict=True):
            image = np.take(field, centre[cut], axis=cut)
            extent = _extent_nm(field.shape, cut, centre, reconstruction.voxel_nm)
            alpha = np.take(opacity, centre[cut], axis=cut)
            drawn = axis.imshow(image, origin="lower", extent=extent, interpolation="nearest", alpha=alpha, **style)
            axis.set(xlim=(-half_nm, half_nm), ylim=(-half_nm, half_nm), facecolor=BACKGROUND[name])
            _draw_lines(axis, reconstruction, cut, centre)
            _dress(axis, plane if row == 0 else "", f"{columns} (nm)", f"{rows} (nm)")
        bar = figure.colorbar(drawn, ax=axes, fraction=0.016, pad=0.015, extend=EXTENDED[name])
        bar.outline.set_linewidth(0.4)
        bar.set_label(LABELS[name])
        if name == "strain":
            bar.formatter = FuncFormatter(lambda value, _: f"{value * 1e4:g}".replace("-", "−"))
            bar.update_ticks()


def _draw_lines(axis: Axes, reconstruction: Reconstruction, cut: int, centre: tuple[int, int, int]) -> None:
    """Dislocation lines, seen through the crystal."""
    shape = np.array(reconstruction.object_lab.shape)
    offset_nm = ((shape - 1) / 2 - centre) * reconstruction.voxel_nm
    rows, columns = (n for n in range(3) if n != cut)
    for line in lines_nm(reconstruction):
        axis.plot(line[:, columns] + offset_nm[columns], line[:, rows] + offset_nm[rows], ".", ms=2.0, color=LINE)


def _half_nm(support: NDArray[np.bool_], centre: tuple[int, int, int], voxel_nm: float) -> float:
    """Half the edge of the square that holds every plane of the crystal, with a margin."""
    where = np.argwhere(support) if support.any() else np.array([[0, 0, 0], support.shape])
    return float((np.abs(where - centre).max() + 0.5 + MARGIN_VOXELS) * voxel_nm)


def _extent_nm(
    shape: tuple[int, ...], cut: int, centre: tuple[int, int, int], voxel_nm: float
) -> tuple[float, float, float, float]:
    """Edges of a plane (left, right, bottom, top) from the crystal's centre."""
    rows, columns = (n for n in range(3) if n != cut)
    left, right = ((edge - centre[columns] - 0.5) * voxel_nm for edge in (0, shape[columns]))
    bottom, top = ((edge - centre[rows] - 0.5) * voxel_nm for edge in (0, shape[rows]))
    return left, right, bottom, top


def _style(name: str, bulk: NDArray[np.float32]) -> dict[str, Any]:
    """Colours and limits from the crystal's bulk; a phase that stays far from wrapping has a scale of its own."""
    if name == "amplitude":
        return {"cmap": "magma", "vmin": 0.0, "vmax": 1.0}
    finite = np.abs(bulk[np.isfinite(bulk)])
    limit = max(float(np.percentile(finite, SHOWN_PERCENTILE)) if finite.size else 0.0, 1e-6)
    if name == "phase" and limit > CYCLIC_FROM_RAD:
        return {"cmap": "twilight", "vmin": -np.pi, "vmax": np.pi}
    return {"cmap": "PuOr_r" if name == "phase" else "RdBu_r", "vmin": -limit, "vmax": limit}


def _draw_pattern(
    figure: Figure, grid: GridSpecFromSubplotSpec, row: int, pattern: NDArray[np.float32], label: str
) -> None:
    """Cuts of a crop through its brightest voxel, logarithmic; voxels that are no numbers are grey."""
    counts = np.maximum(pattern, ZERO_SHOWN)
    peak = np.unravel_index(int(np.nanargmax(counts)) if np.isfinite(counts).any() else 0, counts.shape)
    colours = mpl.colormaps["viridis"].with_extremes(bad="#c9ced3", under="#1d0224")
    norm = LogNorm(0.8, max(float(np.nanmax(counts, initial=0.0)), 2.0))
    axes = [figure.add_subplot(grid[row, column]) for column in range(3)]
    for axis, (cut, rows, columns) in zip(axes, PATTERN, strict=True):
        image = np.take(counts, peak[cut], axis=cut)
        drawn = axis.imshow(image, origin="lower", cmap=colours, norm=norm, aspect="auto", interpolation="nearest")
        _dress(axis, "", columns, rows)
    bar = figure.colorbar(drawn, ax=axes, fraction=0.016, pad=0.015)
    bar.set_label(label)


def _dress(axis: Axes, title: str, below: str, left: str) -> None:
    axis.set_title(title, color=INK)
    axis.set_xlabel(below, labelpad=1)
    axis.set_ylabel(left, labelpad=1)
    axis.tick_params(length=2, width=0.5, pad=2, labelsize=7.5)
    axis.locator_params(nbins=5)


def _draw_rocking_curve(axis: Axes, volume: Volume, reconstruction: Reconstruction) -> None:
    curve = volume.rocking_curve
    angles = np.asarray(volume.geometry.rocking_deg)
    inverted = angles[measured_window(reconstruction, volume)[0]]
    axis.axvspan(inverted.min(), inverted.max(), color=ACCENT, alpha=0.08, lw=0)
    axis.plot(angles, np.maximum(curve, 0.5), color=INK, lw=1)
    if curve.max() > LOG_FROM * max(curve.min(), 0.5):
        axis.set_yscale("log")
    axis.set_title("rocking curve (shaded: inverted)", color=INK, loc="left")
    axis.locator_params(axis="x", nbins=6)
    axis.set_xlabel(f"{volume.geometry.rocking_axis} (°)", labelpad=1)
    axis.set_ylabel("counts a frame", labelpad=1)
    _open(axis)


def _draw_prtf(axis: Axes, reconstruction: Reconstruction) -> None:
    axis.plot(reconstruction.prtf_q, reconstruction.prtf, color=INK, lw=1.2)
    axis.axhline(PRTF_LIMIT, color=ACCENT, lw=0.8, ls="--")
    axis.text(0.99, PRTF_LIMIT + 0.02, "1/e", color=ACCENT, ha="right", transform=axis.get_yaxis_transform())
    axis.set_ylim(0, 1.05)
    axis.set_title("phase retrieval transfer function", color=INK, loc="left")
    axis.locator_params(axis="x", nbins=6)
    axis.set_xlabel("q from the peak (1/Å)", labelpad=1)
    _open(axis)


def _open(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(length=2, width=0.5, labelsize=7.5)
    axis.grid(alpha=0.25, lw=0.5)


def _draw_figures(axis: Axes, reconstruction: Reconstruction) -> None:
    axis.axis("off")
    rows = figure_rows(reconstruction)
    step = 1.0 / (len(rows) + 6)
    for index, (name, value) in enumerate(rows):
        height = 1.0 - index * step
        axis.text(0.0, height, name, color=FAINT, va="top", transform=axis.transAxes)
        axis.text(1.0, height, value, color=INK, va="top", ha="right", transform=axis.transAxes)
    height = 1.0 - (len(rows) + 0.5) * step
    for index, (line, colour) in enumerate(list(_remarks(reconstruction))[:REMARK_LINES]):
        where = height - index * REMARK_STEP
        axis.text(0.0, where, line, color=colour, va="top", fontsize=7.5, transform=axis.transAxes)


def _remarks(reconstruction: Reconstruction) -> Iterator[tuple[str, str]]:
    """Lines and their colours: warnings in the colour of alarm, then notes."""
    for remarks, colour in ((reconstruction.warnings, ACCENT), (reconstruction.notes, FAINT)):
        for remark in remarks:
            yield from ((_plain(line, 62), colour) for line in textwrap.wrap(f"· {remark[:240]}", 62))
