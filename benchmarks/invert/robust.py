"""How good the tiers are where a measurement is not as it should be: one page of curves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from benchmarks.invert.quality import CONVEX, Case, Quality, cases, quality
from benchmarks.invert.quality import ways as quality_ways
from benchmarks.restore.gaps import behind_a_line
from models.engine.port import Engine
from models.invert.predict import invert

BASE = replace(CONVEX, flux=(1e7, 1e7), oversampling=(2.5, 3.5))
SHOWN = {"dice": "Dice at 0.3", "phase": "phase, mean |error|, rad", "correlation": "correlation with the truth"}
# A crystal that correlates less with the truth has not been found.
FOUND = 0.86


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
        counts, mask = behind_a_line(case.counts, case.mask, int(width), places)
        yield case._replace(counts=counts, mask=mask)


CHANGED: Mapping[str, Axis] = {
    "total counts": Axis((1e5, 1e6, 1e7, 1e8, 1e9), _fixed(lambda flux: {"flux": (flux, flux)}), log=True),
    "gap beside the peak, px": Axis((0, 3, 6, 9, 12), _behind_a_gap),
    "oversampling": Axis((2.0, 2.5, 3.0, 4.0, 5.0), _fixed(lambda ratio: {"oversampling": (ratio, ratio)})),
    "range of the phase, pi": Axis(
        (0.0, 1.0, 2.0, 3.0, 4.0), _fixed(lambda pis: {"phase_range": (pis * math.pi, pis * math.pi)})
    ),
}


class Flagged(NamedTuple):
    """Of the crystals that the network tells: the share that is doubted, and the share that is wrong, below FOUND."""

    doubted: float
    wrong: float


Curves = dict[str, dict[str, list[list[Quality]]]]


def curves(engine: Engine, crystals: int) -> tuple[Curves, dict[str, list[Flagged]]]:
    """Return, of each axis, the quality of `crystals` at each value by way, and what the live flag says of direct ones
    beside what is so.
    """
    ways = {name: quality_ways(engine)[name] for name in ("direct", "refined", "zero phase on the true support")}
    found: Curves = {}
    flagged: dict[str, list[Flagged]] = {}
    for title, axis in CHANGED.items():
        found[title], flagged[title] = {name: [] for name in ways}, []
        for value in axis.values:
            shown = list(itertools.islice(axis.cases(value), crystals))
            for name, way in ways.items():
                found[title][name].append([quality(case, way) for case in shown])
            doubted = [bool(invert(case.counts, case.mask, engine=engine).doubt) for case in shown]
            wrong = [one.correlation < FOUND for one in found[title]["direct"][-1]]
            flagged[title].append(Flagged(float(np.mean(doubted)), float(np.mean(wrong))))
    return found, flagged


def draw(found: Curves, flagged: Mapping[str, list[Flagged]], path: Path) -> None:
    """Draw medians and the range of the middle half; the region where most crystals of the network are wrong is shaded,
    and the share that the live flag doubts stands below.
    """
    figure = Figure(figsize=(3.4 * len(found), 11.0), layout="constrained")
    panels = figure.subplots(len(SHOWN) + 1, len(found), sharey="row", squeeze=False)
    for column, (title, rows) in enumerate(found.items()):
        axis = CHANGED[title]
        for row, (field, label) in enumerate(SHOWN.items()):
            axes = panels[row, column]
            for name, by_value in rows.items():
                quartiles = [np.quantile([getattr(one, field) for one in some], (0.25, 0.5, 0.75)) for some in by_value]
                low, middle, high = np.array(quartiles).T
                axes.plot(axis.values, middle, marker="o", markersize=3, label=name)
                axes.fill_between(axis.values, low, high, alpha=0.15)
            axes.set(xscale="log" if axis.log else "linear")
            if not column:
                axes.set_ylabel(label)
        shares = panels[-1, column]
        for name, marker in (("doubted", "s"), ("wrong", "o")):
            shares.plot(axis.values, [getattr(one, name) for one in flagged[title]], marker=marker, label=name)
        shares.set(xlabel=title, xscale="log" if axis.log else "linear", ylim=(-0.05, 1.05))
        if not column:
            shares.set_ylabel("share of direct crystals")
        for axes in panels[:, column]:
            for low, high in _untrusted(axis.values, flagged[title]):
                axes.axvspan(low, high, color="#c8553d", alpha=0.08, linewidth=0.0)
    for axes in panels[:-1, 0]:
        axes.set_ylim(bottom=0.0)  # when all are drawn: rows share it
    panels[0, 0].legend(fontsize=8)
    panels[-1, 0].legend(fontsize=8)
    figure.savefig(path, dpi=90)


def _untrusted(values: Sequence[float], flagged: Sequence[Flagged]) -> Iterator[tuple[float, float]]:
    """Yield the pieces between values, halfway to each neighbour, where more than half of the crystals are wrong."""
    edges = [values[0], *((low + high) / 2.0 for low, high in itertools.pairwise(values)), values[-1]]
    for (low, high), one in zip(itertools.pairwise(edges), flagged, strict=True):
        if one.wrong > 0.5:
            yield low, high
