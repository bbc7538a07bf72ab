"""How good the tiers are where a measurement is not as it should be: one page of curves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from benchmarks.invert.quality import CONVEX, Case, Quality, Way, cases, quality
from benchmarks.restore.gaps import gap

BASE = replace(CONVEX, flux=(1e7, 1e7), oversampling=(2.5, 3.5))
SHOWN = {"dice": "Dice at 0.3", "phase": "phase, mean |error|, rad"}


class Axis(NamedTuple):
    """What is changed: its values, and the patterns of each."""

    values: tuple[float, ...]
    cases: Callable[[float], Iterator[Case]]
    log: bool = False


def _fixed(change: Callable[[float], Mapping[str, tuple[float, float]]]) -> Callable[[float], Iterator[Case]]:
    return lambda value: cases(replace(BASE, **change(value)))


def _behind_a_gap(width: float) -> Iterator[Case]:
    places = np.random.default_rng(int(width))
    for case in cases(BASE):
        peak = np.unravel_index(case.counts.argmax(), case.counts.shape)
        hidden = ~gap(case.counts.shape, peak, int(width), "line", places) if width else np.zeros_like(case.mask)
        yield case._replace(counts=np.where(hidden, np.float32(0.0), case.counts), mask=case.mask & ~hidden)


CHANGED: Mapping[str, Axis] = {
    "total counts": Axis((1e5, 1e6, 1e7, 1e8, 1e9), _fixed(lambda flux: {"flux": (flux, flux)}), log=True),
    "gap beside the peak, px": Axis((0, 3, 6, 9, 12), _behind_a_gap),
    "oversampling": Axis((2.0, 2.5, 3.0, 4.0, 5.0), _fixed(lambda ratio: {"oversampling": (ratio, ratio)})),
    "range of the phase, pi": Axis(
        (0.0, 1.0, 2.0, 3.0, 4.0), _fixed(lambda pis: {"phase_range": (pis * math.pi, pis * math.pi)})
    ),
}


def curves(ways: Mapping[str, Way], crystals: int) -> dict[str, dict[str, list[list[Quality]]]]:
    """Return, of each axis and way, the quality of `crystals` at each value."""
    found: dict[str, dict[str, list[list[Quality]]]] = {}
    for title, axis in CHANGED.items():
        found[title] = {name: [] for name in ways}
        for value in axis.values:
            shown = list(itertools.islice(axis.cases(value), crystals))
            for name, way in ways.items():
                found[title][name].append([quality(case, way) for case in shown])
    return found


def draw(found: Mapping[str, Mapping[str, list[list[Quality]]]], path: Path) -> None:
    """Draw medians and the range of the middle half."""
    figure = Figure(figsize=(3.4 * len(found), 6.0), layout="constrained")
    panels = figure.subplots(len(SHOWN), len(found), sharey="row", squeeze=False)
    for column, (title, rows) in enumerate(found.items()):
        for row, (field, label) in enumerate(SHOWN.items()):
            axes = panels[row, column]
            for name, by_value in rows.items():
                quartiles = [np.quantile([getattr(one, field) for one in some], (0.25, 0.5, 0.75)) for some in by_value]
                low, middle, high = np.array(quartiles).T
                axes.plot(CHANGED[title].values, middle, marker="o", markersize=3, label=name)
                axes.fill_between(CHANGED[title].values, low, high, alpha=0.15)
            axes.set(xlabel=title, xscale="log" if CHANGED[title].log else "linear", ylim=(0.0, None))
            if not column:
                axes.set_ylabel(label)
    panels[0, 0].legend(fontsize=8)
    figure.savefig(path, dpi=90)
