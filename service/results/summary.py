"""A result in words: rows for people, one flat record for machines."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.defects.report import DefectReport, Place
from service.records import Figures, Reconstruction


def figure_rows(reconstruction: Reconstruction) -> list[tuple[str, str]]:
    """Return (name, value with unit) of what a person asks of a result; the same in the picture and the terminal."""
    figures, accounting = reconstruction.figures, reconstruction.accounting
    return [
        ("doubtful", "yes, see the warnings" if figures.doubt else "no"),
        ("chi  Σ(|F|−D)²/ΣD²", f"{figures.chi:.5f}"),
        ("R factor", f"{figures.r_factor:.4f}"),
        ("chi² a voxel", f"{figures.chi2:.3f}"),
        ("free log-likelihood", f"{figures.free_log_likelihood:.3f}"),
        ("explained, agreement", f"{_share(figures.explained)}, {_share(figures.agreement)}"),
        ("resolution", f"{figures.resolution_nm:.1f} nm"),
        ("  by", figures.resolution_method),
        ("crystal z × y × x", f"{_edges_nm(reconstruction)} nm"),
        ("support", f"{figures.support_voxels:,} voxels, {figures.support_volume_nm3 / 1e6:.3f}·10⁶ nm³"),
        ("strain rms, bulk", f"{_strain(figures.strain_rms)} ·10⁻⁴"),
        ("strain range", f"{_strain(figures.strain_min)} … {_strain(figures.strain_max)} ·10⁻⁴"),
        ("flux, peak", f"{figures.flux_counts:.3g}, {figures.peak_counts:,.0f} counts"),
        *_repaired(figures),
        *_defects(figures),
        ("crop", describe_crop(reconstruction.crop)),
        ("found by", figures.tier),
        ("hand", "nearest to the last result" if figures.hand_chosen else "undetermined: this or its conjugate twin"),
        (
            "frames",
            f"{accounting.received} of {accounting.sent}, {accounting.missed} missed, {accounting.rejected} rejected",
        ),
        ("time to invert", f"{sum(reconstruction.latencies_s.values()):.1f} s, without reading and writing"),
    ]


def _repaired(figures: Figures) -> list[tuple[str, str]]:
    rows = []
    if figures.filled_voxels:
        rows.append(("filled", f"{figures.filled_voxels:,} voxels, {figures.filled_counts:.3g} counts"))
    if figures.denoised_counts:
        rows.append(("denoised", f"{figures.denoised_counts:.4g} counts in the crop"))
    return rows


def _defects(figures: Figures) -> list[tuple[str, str]]:
    if not figures.defect_class:
        return []
    name = figures.defect_class.replace("_", " ")
    return [("defect", f"{name} ({figures.defect_probability:.2f}), {figures.defect_count} seen")]


def defects_record(found: DefectReport, crystal_rotation: NDArray[np.float64] | None = None) -> dict[str, Any]:
    """Return what is told of defects as plain values; of a line in index units [z, y, x], and where the geometry is
    known in nm, laboratory frame x, y, z, and as `crystal_rotation` (3, 3) turns that into the crystal's.
    """
    lines = [
        {"middle": line.middle.tolist(), "direction": line.direction.tolist(), "turns": line.turns, "loop": line.closed}
        for line in found.lines
    ]
    for line, place in zip(lines, found.places, strict=False):
        line |= _plain(_placed(place))
        if crystal_rotation is not None:
            line["middle_crystal_nm"] = (crystal_rotation @ place.middle_nm).tolist()
            line["direction_crystal"] = (crystal_rotation @ place.direction).tolist()
    return {
        "label": found.label.value,
        "probability": found.probability,
        "likeliest": found.likeliest.value,
        "abstained": found.abstained,
        "sure": found.sure,
        "probabilities": {name.value: share for name, share in found.probabilities.items()},
        "count": found.count,
        "lines": lines,
    }


def _placed(place: Place) -> dict[str, Any]:
    known: dict[str, Any] = {
        "middle_nm": place.middle_nm,
        "direction_lab": place.direction,
        "turns_lab": place.turns,
        "length_nm": place.length_nm,
        "error_nm": place.error_nm,
        "burgers_along_q_nm": place.burgers_nm,
    }
    told = place.character
    if told is None:
        return known
    known |= {
        "burgers_edge_nm": told.edge_nm,
        "burgers_edge_direction": told.edge,
        "burgers_screw_nm": told.screw_nm,
        "misfit_rad": told.misfit,
    }
    if told.split is not None:
        known["ribbon_nm"] = told.split.width_nm
    return known


def outcome_rows(reconstruction: Reconstruction, path: Path, picture: Path | None) -> list[tuple[str, str]]:
    """Return what a command tells at its end: the figures, each warning, the files."""
    warnings = [("warning", warning) for warning in reconstruction.warnings]
    return [*figure_rows(reconstruction), *warnings, ("result", str(path)), ("picture", str(picture or "none"))]


def describe_crop(crop: Mapping[str, Any]) -> str:
    """Return the crop as [first:last] voxels of the measured volume along rocking, row and column."""
    window = ", ".join(f"{start}:{stop}" for start, stop in zip(crop["start"], crop["stop"], strict=True))
    binning = crop.get("binning", (1, 1, 1))
    return f"[{window}]" + ("" if set(binning) == {1} else " binned " + "×".join(str(factor) for factor in binning))


def result_record(reconstruction: Reconstruction, path: Path, picture: Path | None) -> dict[str, Any]:
    """Return what `--json` prints of one result: plain values only, None where a figure is not finite."""
    return {
        "series_id": reconstruction.series_id,
        "series_unique_id": reconstruction.series_unique_id,
        "path": str(path.resolve()),
        "picture": str(picture.resolve()) if picture else None,
        "figures": _plain(dataclasses.asdict(reconstruction.figures)),
        "accounting": dataclasses.asdict(reconstruction.accounting),
        "crop": _plain(dict(reconstruction.crop)),
        "recipe": _plain(dict(reconstruction.recipe)),
        "voxel_nm": reconstruction.voxel_nm,
        "q_per_angstrom": float(np.linalg.norm(reconstruction.q_lab)),
        "latencies_s": _plain(dict(reconstruction.latencies_s)),
        "warnings": list(reconstruction.warnings),
        "notes": list(reconstruction.notes),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _share(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "unknown"


def _strain(value: float) -> str:
    return f"{value * 1e4:.2f}".replace("-", "−")


def _edges_nm(reconstruction: Reconstruction) -> str:
    where = np.argwhere(reconstruction.support_lab)
    edges = np.ptp(where, axis=0) + 1 if len(where) else np.zeros(3)
    return " × ".join(f"{edge * reconstruction.voxel_nm:.0f}" for edge in edges)
