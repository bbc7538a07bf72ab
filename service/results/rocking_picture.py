"""The picture of a rocking curve: what was counted, the fit, its middle and its width at half height."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from service.alignment.procedures.rocking import RockingCurve
from service.results.picture import ACCENT, FAINT, INK, STYLE, save_png

LINE_POINTS = 400


def write_rocking(rocking: RockingCurve, path: Path) -> Path:
    """Write the PNG to `path`, whole or not at all, and return it. Raises ResultError when it cannot be written."""
    places, counts, curve = np.array(rocking.places), np.array(rocking.counts), rocking.curve
    line = np.linspace(places.min(), places.max(), LINE_POINTS)
    centre, width = curve.deviations[:2]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.0, 6.0), layout="constrained")
        figure.suptitle(
            f"middle {curve.place:.6g} +- {centre:.2g}, width {curve.width:.4g} +- {width:.2g}", color=INK, fontsize=10
        )
        # Fringes and background show on a logarithmic axis alone, the fit of the top on the other.
        for axes, scale in zip(figure.subplots(2, 1, sharex=True), ("linear", "log"), strict=True):
            axes.errorbar(
                places, counts, np.sqrt(counts), fmt="o", markersize=3, color=INK, ecolor=FAINT, linewidth=0.8
            )
            axes.plot(line, curve.counts(line), color=ACCENT, linewidth=1.0)
            axes.axvline(curve.place, color=ACCENT, linewidth=0.8)
            axes.axvspan(curve.place - curve.width / 2.0, curve.place + curve.width / 2.0, color=FAINT, alpha=0.15)
            axes.set(yscale=scale, ylabel="counts")
        axes.set(xlabel=f"{rocking.axis}; shaded: the width at half height", ylim=(max(0.5, counts.min() / 2.0), None))
        return save_png(figure, path)
