"""What is shown of a crystal and of an alignment: arrays, colours, titles; nothing here knows Flint."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SURFACE_SHARE = 0.5  # of the median amplitude: a voxel of the surface is half air, its phase and strain mostly noise
MARGIN_VOXELS = 3  # around the crystal
SHOWN_PERCENTILE = 99.0  # a few wild voxels must not wash the colours out
CYCLIC_FROM_RAD = 2.0  # phases beyond may wrap, so their colours must
STRAIN_UNIT = 1e-4
LEAST_COUNTS = 0.8  # the darkest colour of counts
LOG_FROM = 30.0  # values of an alignment that span more than this factor have logarithmic colours
NO_NUMBER = "#c9ced3"  # where there is nothing: gaps, and air around a phase
DARK = "#000004"
DOUBTFUL, GOOD = "#c8553d", "#22303c"  # of titles and axes
WITHOUT = ("failed", "aborted")  # how a series ends that has no crystal: Reconstruction goes on showing the one before
LINE = ((53, 194, 74), (53, 194, 74))  # dislocations: no colour map has it
# viridis, at even distances
VIRIDIS = np.array(
    [(68, 1, 84), (71, 45, 123), (59, 82, 139), (44, 114, 142), (33, 145, 140), (40, 174, 128), (94, 201, 98),
     (173, 220, 48), (253, 231, 37)],
    float,
)  # fmt: skip


@dataclass(frozen=True)
class Image:
    """An image [row, column] with its colours: `lut`, linear from `low` to `high`, or logarithmic.

    `pixel` is the edge of one and `origin` (x, y) the corner of the first in the unit of the labels, `lines` where
    dislocations run, a bool array or nothing.
    """

    key: str
    title: str
    data: np.ndarray
    lut: str
    low: float
    high: float
    legend: str
    log: bool = False
    pixel: float = 1.0
    origin: tuple[float, float] = (-0.5, -0.5)
    labels: tuple[str, str] = ("column (px)", "row (px)")
    background: str = NO_NUMBER
    ink: str = GOOD
    lines: np.ndarray | None = None

    @property
    def colormap(self) -> dict[str, Any]:
        """As silx takes it."""
        how = "log" if self.log else "linear"
        return {"name": self.lut, "vmin": self.low, "vmax": self.high, "normalization": how, "autoscale": False}


@dataclass(frozen=True)
class Curve:
    """Points (x, y) of one look; `color` a name, or (n, 4) of uint8."""

    x: np.ndarray
    y: np.ndarray
    color: Any
    symbol: str = ""
    linestyle: str = " "
    linewidth: float = 1.5


@dataclass(frozen=True)
class Path:
    """Where an alignment went, by two of its axes, or by one and what was measured there."""

    title: str
    labels: tuple[str, str]
    curves: Mapping[str, Curve] = field(default_factory=dict)


CRYSTAL = (
    "sequence", "seriesId", "seriesUniqueId", "seriesStatus", "finishedAt", "rFactor", "resolution", "strainRms",
    "fluxCounts", "peakCounts", "latency", "tier", "doubt", "defectClass", "defectProbability", "filledVoxels",
    "filledCounts", "repairDoubt", "voxel", "amplitude", "phase", "strain", "defectLines", "measured", "repaired",
)  # fmt: skip
CRYSTAL_CHANGED = ("sequence", "seriesUniqueId", "seriesStatus", "finishedAt", "rFactor", "fluxCounts")
ALIGNMENT = ("axes", "points", "best", "bestValue", "startPoint", "exposures", "outcome", "phase", "method")
ALIGNMENT_CHANGED = ("exposures", "phase", "outcome", "axes")


def crystal_pictures(read: Mapping[str, Any]) -> list[Image]:
    """Return the five images of a result, from the attributes CRYSTAL of Reconstruction."""
    return [*_slices(read), *_counts(read)]


def _slices(read: Mapping[str, Any]) -> list[Image]:
    whole = [np.asarray(read[name], np.float32) for name in ("amplitude", "phase", "strain")]
    lines, shape = np.asarray(read["defectLines"]) > 0, whole[0].shape
    rows, columns = _around(np.isfinite(whole[1]))
    amplitude, phase, strain = (field[rows, columns] for field in whole)
    bulk = _bulk(amplitude, np.isfinite(phase))
    known = math.isfinite(read["voxel"]) and read["voxel"] > 0.0
    pixel = float(read["voxel"]) if known else 1.0
    shared: dict[str, Any] = {
        "pixel": pixel,
        "origin": ((columns.start - 0.5 * shape[1]) * pixel, (rows.start - 0.5 * shape[0]) * pixel),
        "labels": ("x (nm)", "y (nm)") if known else ("x (voxels)", "y (voxels)"),
        "ink": DOUBTFUL if read["doubt"] or read["seriesStatus"] in WITHOUT else GOOD,
        "lines": lines[rows, columns] if lines.shape == shape and lines.any() else None,
    }
    tilt, bend = _limit(phase[bulk]), _limit(strain[bulk])
    wraps = tilt > CYCLIC_FROM_RAD
    return [
        Image("amplitude", f"{_series(read)}\namplitude", amplitude, "magma", 0.0, 1.0, "amplitude",
              **shared, background=DARK),
        Image("phase", f"{_found(read)}\nphase", phase, "twilight" if wraps else "PuOr_r",
              -math.pi if wraps else -tilt, math.pi if wraps else tilt, "rad", **shared),
        Image("strain", f"rms {read['strainRms'] / STRAIN_UNIT:.3g} × 10⁻⁴\nstrain along Q", strain / STRAIN_UNIT,
              "RdBu_r", -bend / STRAIN_UNIT, bend / STRAIN_UNIT, "10⁻⁴", **shared),
    ]  # fmt: skip


def _counts(read: Mapping[str, Any]) -> list[Image]:
    measured, repaired = (np.asarray(read[name], np.float32) for name in ("measured", "repaired"))
    high = max(float(np.nanmax(measured)) if np.isfinite(measured).any() else 0.0, 2.0)
    shared: dict[str, Any] = {"lut": "viridis", "low": LEAST_COUNTS, "high": high, "legend": "counts", "log": True}
    return [
        Image("measured", f"brightest {read['peakCounts']:.3g}, all {read['fluxCounts']:.3g}\nmeasured",
              measured, **shared),
        Image("repaired", f"{_repair(read, repaired)}\nrepaired", repaired, **shared,
              ink=DOUBTFUL if read["repairDoubt"] else GOOD),
    ]  # fmt: skip


def _series(read: Mapping[str, Any]) -> str:
    if not read["sequence"] and not read["seriesUniqueId"]:
        return "no result yet"
    if read["seriesStatus"] in WITHOUT:
        return f"series {read['seriesId']} {read['seriesStatus']}: the crystal before it"
    how = "DOUBTFUL" if read["doubt"] else read["seriesStatus"]
    figures = [f"R {read['rFactor']:.3g}", f"{read['resolution']:.3g} nm" if read["resolution"] > 0.0 else ""]
    return f"series {read['seriesId']} {how}: {', '.join(filter(None, figures))}"


def _found(read: Mapping[str, Any]) -> str:
    """Who found the crystal, or the defect that was seen in it."""
    if read["defectClass"]:
        return f"{read['defectClass']}, probability {read['defectProbability']:.2f}"
    after = f", {read['latency']:.3g} s after the last frame" if math.isfinite(read["latency"]) else ""
    return f"{read['tier']}{after}" if read["tier"] else ""


def _repair(read: Mapping[str, Any], repaired: np.ndarray) -> str:
    if not np.isfinite(repaired).any():
        return "no network was asked"
    if read["repairDoubt"]:
        return "DOUBTFUL"
    return f"{read['filledVoxels']} voxels of gaps filled" if read["filledVoxels"] else "no gaps filled"


def _around(inside: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the crystal with a margin; all of them where there is none."""
    if not inside.any():
        return slice(0, inside.shape[0]), slice(0, inside.shape[1])
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    low, high = min(rows[0], columns[0]), max(rows[-1], columns[-1]) + 1
    low, high = max(low - MARGIN_VOXELS, 0), high + MARGIN_VOXELS
    return slice(low, min(high, inside.shape[0])), slice(low, min(high, inside.shape[1]))


def _bulk(amplitude: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The inside of a crystal without its surface, bool [row, column]; all of it where nothing is left."""
    if not inside.any():
        return inside
    solid = np.pad(inside & (amplitude >= SURFACE_SHARE * np.median(amplitude[inside])), 1)
    bulk = solid[1:-1, 1:-1] & solid[:-2, 1:-1] & solid[2:, 1:-1] & solid[1:-1, :-2] & solid[1:-1, 2:]
    return bulk if bulk.any() else inside


def _limit(values: np.ndarray) -> float:
    """Half the width of a scale that is symmetric about zero."""
    finite = np.abs(values[np.isfinite(values)])
    limit = max(float(np.percentile(finite, SHOWN_PERCENTILE)) if finite.size else 0.0, 1e-6)
    digit = 10.0 ** (math.floor(math.log10(limit)) - 1)
    return math.ceil(limit / digit) * digit  # of two digits, as people read it


def path_picture(read: Mapping[str, Any], wanted: Sequence[str] = ()) -> Path:
    """Return the way of the last alignment over the axes `wanted`, by default its first two, from ALIGNMENT."""
    axes = [name for name in wanted if name in (read["axes"] or ())] or list(read["axes"] or ())
    points = np.asarray(read["points"], float)
    if not axes or points.shape[1:] != (len(read["axes"]) + 1,):
        return Path("nothing was aligned yet\nalignment", ("", ""))
    shown = axes[:2]
    places = [list(read["axes"]).index(name) for name in shown]
    best, start = (_place(read[name], places) for name in ("best", "startPoint"))
    if len(shown) == 1:
        places, shown = [*places, -1], [*shown, "measured"]
        best, start = ([*best, read["bestValue"]] if best else None), None
    return Path(f"{_outcome(read)}\n{_best(read, axes[:2])}", (shown[0], shown[1]), _way(points, places, best, start))


def _way(
    points: np.ndarray, places: list[int], best: list[float] | None, start: list[float] | None
) -> dict[str, Curve]:
    x, y = points[:, places[0]], points[:, places[1]]
    curves = {
        "way": Curve(x, y, "#8a99a8", linestyle="-"),
        "measured": Curve(x, y, _colours(points[:, -1]), symbol="o"),
    }
    if start and all(map(math.isfinite, start)):
        curves["start"] = Curve(np.array(start[:1]), np.array(start[1:]), GOOD, symbol="s")
    if best and all(map(math.isfinite, best)):
        curves["best"] = Curve(np.array(best[:1]), np.array(best[1:]), DOUBTFUL, symbol="d")
        curves["best across"] = Curve(_ends(x), np.array([best[1]] * 2), DOUBTFUL, linestyle=":")
        curves["best along"] = Curve(np.array([best[0]] * 2), _ends(y), DOUBTFUL, linestyle=":")
    return curves


def _ends(values: np.ndarray) -> np.ndarray:
    return np.array([np.nanmin(values), np.nanmax(values)])


def _outcome(read: Mapping[str, Any]) -> str:
    how = read["outcome"] or read["phase"]
    most = f", most {read['bestValue']:.4g}" if math.isfinite(read["bestValue"]) else ""
    return f"{how}, {read['exposures']} exposures{most}"


def _best(read: Mapping[str, Any], axes: Sequence[str]) -> str:
    if read["best"] is None:
        return "alignment"
    at = zip(read["axes"], read["best"], strict=True)
    return "best " + ", ".join(f"{name} {place:.5g}" for name, place in at if name in axes)


def _place(point: Sequence[float] | None, places: Sequence[int]) -> list[float] | None:
    return [float(point[place]) for place in places] if point is not None and len(point) > max(places) else None


def _colours(values: np.ndarray) -> np.ndarray:
    """viridis from the least to the most of the values, logarithmic where they span much, (n, 4) of uint8."""
    finite = np.nan_to_num(values, nan=0.0)
    if finite.size and finite.min() > 0.0 and finite.max() > LOG_FROM * finite.min():
        finite = np.log(finite)
    low, span = finite.min(initial=math.inf), np.ptp(finite) if finite.size else 0.0
    at = (finite - low) / (span or 1.0) * (len(VIRIDIS) - 1)
    colours = [np.interp(at, range(len(VIRIDIS)), channel) for channel in VIRIDIS.T]
    return np.stack([*colours, np.full(len(at), 255.0)], 1).astype(np.uint8)
