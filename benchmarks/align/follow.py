"""A crystal that walks and changes, followed: how far off motors and latents are, exposure after exposure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.align.ways import Choose, ours
from models.simulate.goniometer import offset, reflected_hz
from service.adapters.twin_drifting import LATENTS, WIDTHS, Drifting, beside_latents, drifting, follow_plan
from service.alignment.drive import Driver
from service.alignment.loop import Loop
from service.alignment.methods.port import Around, Method, Point
from service.alignment.methods.seeking import GAIN, Seeking
from service.alignment.plan import Plan
from service.alignment.progress import Outcome

Values = NDArray[np.float64]

BLOCK = 50
DRAWN = 10  # exposures to a point of the curves of errors
# What errors are told in.
UNITS: Mapping[str, float] = {**WIDTHS, **{name: latent.high - latent.low for name, latent in LATENTS.items()}}
SAID = {"x": "beam sizes", "y": "beam sizes", "eta": "rocking widths"}
TOGETHER, ALONE, NOTHING = "latents and motors together", "motors alone", "nothing followed"
STRONG = f"together, gain {GAIN:g}"
COLOURS = {TOGETHER: "#22303c", ALONE: "#2f7fb5", NOTHING: "#c8553d"}


class Moment(NamedTuple):
    """One exposure: how far the best point is `off` and how far the truth has `walked` from where the axes began, both
    (axes,) in UNITS and their order; `lit`, the share of the crystal's light that was counted, and `left`, that which
    would have been had no axis moved.
    """

    off: list[float]
    walked: list[float]
    lit: float
    left: float


class Watched(Around):
    """A method whose best point is compared with the truth, each time that it is told a value."""

    def __init__(self, method: Method, scene: Drifting, names: Sequence[str]) -> None:
        super().__init__(method)
        self._scene, self._names = scene, names
        self.moments: list[Moment] = []

    def tell(self, at: Point, value: float, time_s: float) -> None:
        super().tell(at, value, time_s)
        begun = {**self._scene.scene.start, **self._scene.start}
        off = _away(self._scene, {**begun, **self._named(self._method.best())}, time_s)
        walked = [-one for one in _away(self._scene, begun, time_s)]
        lit, left = (_lit(self._scene, positions, time_s) for positions in (self._named(at), begun))
        self.moments.append(Moment(off, walked, lit, left))

    def _named(self, point: Point) -> dict[str, float]:
        return dict(zip(self._names, point.tolist(), strict=True))


class Run(NamedTuple):
    """One way over several crystals: `off`, `walked` (crystals, exposures, axes), `lit`, `left` (crystals, exposures),
    as of a Moment.
    """

    off: Values
    walked: Values
    lit: Values
    left: Values


def run(seeds: Sequence[int], exposures: int) -> dict[str, Run]:
    """Follow the crystals of `seeds`, each for so many exposures, in each way."""
    motors = follow_plan("seeking", exposures, latents=())
    both = follow_plan("seeking", exposures)
    found = {
        TOGETHER: _run(seeds, both, ours),
        STRONG: _run(seeds, both, lambda plan, start: Seeking(plan.sought(), start, follow=True, gain=GAIN)),
        ALONE: _run(seeds, motors, ours),
    }
    still = found[TOGETHER]
    return {**found, NOTHING: still._replace(off=-still.walked, lit=still.left)}


def row(name: str, found: Run) -> dict[str, object]:
    """Medians of blocks of exposures over all crystals, and how much light was counted."""
    blocks = np.array_split(np.abs(found.off), range(BLOCK, found.off.shape[1], BLOCK), axis=1)
    medians = np.array([np.median(block, axis=(0, 1)) for block in blocks])
    last = np.abs(found.off[:, found.off.shape[1] // 2 :])
    return {
        "way": name,
        "crystals": len(found.off),
        f"error, medians of {BLOCK} exposures": _told(medians.T.round(3).tolist()),
        "error, second half, median and 95 %": _told(np.percentile(last, (50, 95), axis=(0, 1)).T.round(3).tolist()),
        "light counted, second half": round(float(found.lit[:, found.lit.shape[1] // 2 :].mean()), 3),
    }


def draw(found: Mapping[str, Run], path: Path) -> None:
    """Draw the way of the first crystal, and the errors of all of them: medians, and the range of the middle half."""
    figure = Figure(figsize=(10.0, 9.0), layout="constrained")
    panels = figure.subplots(len(UNITS), 2, sharex=True, squeeze=False)
    for number, (name, (left, right)) in enumerate(zip(UNITS, panels, strict=True)):
        _draw_path(left, found, number)
        _draw_errors(right, found, number)
        left.set_ylabel(f"{name}\n{SAID.get(name, 'shares of its range')}")
    panels[0, 0].set_title("one crystal: where it is, and where it is believed to be")
    panels[0, 1].set_title(f"error, {len(found[TOGETHER].off)} crystals: median and middle half")
    for side in (0, 1):
        panels[-1, side].set_xlabel("exposure")
    panels[0, 0].legend(fontsize=8)
    figure.legend(*panels[0, 1].get_legend_handles_labels(), loc="outside lower right", ncols=len(COLOURS), fontsize=8)
    figure.savefig(path, dpi=78)


def _run(seeds: Sequence[int], plan: Plan, choose: Choose) -> Run:
    moments = [_one(drifting(seed), plan, choose) for seed in seeds]
    return Run(*(np.array([[each[part] for each in one] for one in moments]) for part in range(4)))


def _one(scene: Drifting, plan: Plan, choose: Choose) -> list[Moment]:
    together, twin = beside_latents(scene)
    watched: list[Watched] = []

    def watch(asked: Plan, start: Point) -> Method:
        watched.append(Watched(choose(asked, start), scene, tuple(asked.axes)))
        return watched[-1]

    beamline = together if set(LATENTS) & set(plan.axes) else twin
    progress = Driver(Loop(plan, watch), beamline).align("benchmark", seconds=1e6)
    if progress.outcome is not Outcome.EXHAUSTED:
        raise RuntimeError(f"crystal {scene.scene.seed}: {progress.outcome}, {progress.reason}")
    return watched[0].moments


def _away(scene: Drifting, positions: Mapping[str, float], time_s: float) -> list[float]:
    """How far positions of all axes are from what is true then, in UNITS."""
    motors = zip(WIDTHS, offset(scene.scene.goniometer, positions, time_s), strict=True)
    latents = ((name, positions[name] - true) for name, true in scene.latents(time_s).items())
    return [off / UNITS[name] for name, off in (*motors, *latents)]


def _lit(scene: Drifting, positions: Mapping[str, float], time_s: float) -> float:
    goniometer = scene.scene.goniometer
    counted_hz = reflected_hz(goniometer, offset(goniometer, positions, time_s)) - goniometer.background_hz
    return counted_hz / goniometer.counts_hz


def _told(rows: list[list[float]]) -> dict[str, list[float]]:
    return dict(zip(UNITS, rows, strict=True))


def _draw_path(axes: Axes, found: Mapping[str, Run], number: int) -> None:
    walked = found[NOTHING].walked[0, :, number]
    exposures = np.arange(1, len(walked) + 1)
    axes.plot(exposures, walked, color=COLOURS[NOTHING], linewidth=1.2, label="truth")
    believed = found[TOGETHER].walked[0, :, number] + found[TOGETHER].off[0, :, number]
    axes.plot(exposures, believed, color=COLOURS[TOGETHER], linewidth=0.8, label=TOGETHER)


def _draw_errors(axes: Axes, found: Mapping[str, Run], number: int) -> None:
    for name, colour in COLOURS.items():
        off = np.abs(found[name].off[:, :, number])
        starts = range(0, off.shape[1], DRAWN)
        low, middle, high = np.transpose([np.percentile(off[:, at : at + DRAWN], (25, 50, 75)) for at in starts])
        exposures = np.array(starts) + DRAWN / 2.0
        axes.plot(exposures, middle, color=colour, linewidth=1.0, label=name)
        axes.fill_between(exposures, low, high, color=colour, alpha=0.15, linewidth=0.0)
    axes.set(yscale="log", ylim=(2e-3, 3.0))
