"""How right the ways are where a measurement is not as it should be: one page of curves."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from benchmarks.defects import scores, ways
from benchmarks.defects.cases import ORDINARY, Case, continuum
from benchmarks.defects.ways import Told, Way
from benchmarks.restore.gaps import behind_a_line
from models.defects.predict import classify
from models.defects.report import DefectReport
from models.denoise.predict import denoise
from models.simulate.families import Defect

BASE = replace(
    ORDINARY,
    defects=(Defect.NONE, Defect.EDGE, Defect.SCREW),
    flux=(1e7, 1e7),
    oversampling=(2.5, 3.5),
)


class Axis(NamedTuple):
    """What is changed: its values, and the patterns of each."""

    values: tuple[float, ...]
    cases: Callable[[float], Iterator[Case]]
    log: bool = False


def _behind_a_gap(width: float) -> Iterator[Case]:
    places = np.random.default_rng(int(width))
    for case in continuum(BASE):
        counts, mask = behind_a_line(case.counts, case.mask, int(width), places)
        yield case._replace(counts=counts, mask=mask)


CHANGED: Mapping[str, Axis] = {
    "total counts": Axis((1e4, 1e5, 1e6, 1e7, 1e8), lambda flux: continuum(replace(BASE, flux=(flux, flux))), log=True),
    "gap beside the peak, px": Axis((0, 3, 6, 9, 12), _behind_a_gap),
    "oversampling": Axis(
        (2.0, 2.5, 3.0, 4.0, 5.0), lambda ratio: continuum(replace(BASE, oversampling=(ratio, ratio)))
    ),
}


def without_repair(case: Case) -> tuple[DefectReport, float]:
    """The pattern, its gaps empty."""
    empty = np.where(case.mask, case.counts, np.float32(0.0))
    return classify(empty, scattering=case.scattering), float("nan")


def denoised(case: Case) -> tuple[DefectReport, float]:
    """The pattern as a network expects it without noise."""
    if case.filled is None:
        raise ValueError("the gaps of this case are not filled: see ways.filled")
    return classify(denoise(case.filled).frames.clip(min=0.0), scattering=case.scattering), float("nan")


SHOWN: Mapping[str, Way] = {
    "frame": ways.frame,
    "volume": ways.volume,
    "volume, gaps left empty": without_repair,
    "volume, denoised": denoised,
    "crystal": ways.crystal,
}
Curves = dict[str, dict[str, list[scores.Share]]]


def curves(crystals: int, folder: Path | None = None) -> Curves:
    """Return the share of perfect, edge and screw that is right, of `crystals` at each value, by way; inverted ones are
    kept in `folder`.
    """
    found: Curves = {}
    for title, axis in CHANGED.items():
        found[title] = {name: [] for name in SHOWN}
        for value in axis.values:
            some = map(ways.filled, itertools.islice(axis.cases(value), crystals))
            shown = [ways.with_crystal(case, folder) for case in some]
            for name, way in SHOWN.items():
                told: list[Told] = [ways.told(case, way) for case in shown]
                found[title][name].append(scores.three_class(told)["overall"])
    return found


def draw(found: Curves, path: Path) -> None:
    """Draw shares with their 95 % intervals."""
    figure = Figure(figsize=(3.6 * len(found), 3.6), layout="constrained")
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for axes, (title, rows) in zip(panels, found.items(), strict=True):
        values = CHANGED[title].values
        for name, shares in rows.items():
            axes.plot(values, [one.value for one in shares], marker="o", markersize=3, label=name)
            axes.fill_between(values, [one.low for one in shares], [one.high for one in shares], alpha=0.12)
        axes.set(xlabel=title, xscale="log" if CHANGED[title].log else "linear", ylim=(0.3, 1.02))
    panels[0].set_ylabel("right of perfect, edge, screw")
    panels[0].legend(fontsize=8)
    figure.savefig(path, dpi=90)
