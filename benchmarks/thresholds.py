"""Which thresholds of shrink-wrap find simulated crystals best? python -m benchmarks.thresholds

Every pair of `search_threshold` and `shrink_threshold` in the grid inverts every crystal of CRYSTALS thrice, from
disjoint starts and with other held-out voxels. The crystals differ in shape, strain, flux, oversampling, coherence and
gaps; each is simulated at twice the resolution and its pattern cropped, as a measured one is, so that its edges ring.
Reported: complex correlation with the truth (twin, shift, ramp removed), overlap of the supports (intersection over
union with the voxels that are at least half filled) and correlation of the runs. No measured data enter.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from models.bcdi.coherence import convolve, envelope
from models.bcdi.modes import align, correlation
from models.bcdi.phasing import PhasingConfig, phase_retrieval
from models.simulate.crystals import random_polyhedra, random_wulff
from models.simulate.diffraction import far_field
from models.simulate.displacement import strained
from models.simulate.draws import seeded
from models.simulate.grid import Grid

EDGE = 48  # voxels of the pattern
FINER = 2  # the crystal is drawn on so many times as many voxels
GAP = slice(31, 33)  # columns, beside the peak at 24
SEARCH = (0.15, 0.2, 0.25, 0.3, 0.35)
FINAL = (0.05, 0.08, 0.12)
SEEDS = (0, 1000, 2000)
STARTS = {"starts": 3, "keep": 2}
FIGURES = {"truth": "correlation with the truth", "overlap": "overlap of supports", "runs": "correlation of runs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Crystal:
    """A crystal to be found; `flux` total counts, `coherence_voxels` full width of the kernel at half maximum."""

    shape: str
    phase_range: float
    flux: float
    oversampling: float
    coherence_voxels: float = 0.0
    gap: bool = False

    def __str__(self) -> str:
        extras = f", kernel {self.coherence_voxels:g} px" * (self.coherence_voxels > 0) + ", gap" * self.gap
        return f"{self.shape}, {self.phase_range:g} rad, {self.flux:.0e} counts, {self.oversampling:g}x{extras}"


CRYSTALS = (
    Crystal(shape="Wulff", phase_range=1.0, flux=1e8, oversampling=3.0),
    Crystal(shape="Wulff", phase_range=3.0, flux=1e7, oversampling=2.5, gap=True),
    Crystal(shape="Wulff", phase_range=5.0, flux=1e7, oversampling=4.0, coherence_voxels=0.5),
    Crystal(shape="Wulff", phase_range=2.0, flux=1e5, oversampling=4.0),
    Crystal(shape="polyhedron", phase_range=2.0, flux=1e6, oversampling=3.5, coherence_voxels=0.4),
    Crystal(shape="polyhedron", phase_range=4.0, flux=1e6, oversampling=5.0, gap=True),
    Crystal(shape="polyhedron", phase_range=6.0, flux=1e8, oversampling=3.0),
    Crystal(shape="polyhedron", phase_range=3.0, flux=1e7, oversampling=3.0, coherence_voxels=0.6, gap=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """`truth` complex64, `inside` bool (at least half filled), `counts` float32 and `mask` bool, all [z, y, x]."""

    truth: NDArray[np.complex64]
    inside: NDArray[np.bool_]
    counts: NDArray[np.float32]
    mask: NDArray[np.bool_]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--plot", type=Path, default=Path("thresholds.png"), help="heat maps, PNG")
    options = parser.parse_args(arguments)
    found = study()
    Console(width=140).print(_table(found), _crystals(found))
    write_plot(found, options.plot)
    if options.json:
        options.json.write_text(json.dumps({name: values.tolist() for name, values in found.items()}, indent=1))
    return 0


def study() -> dict[str, NDArray[np.float64]]:
    """Return each of FIGURES, float64 [crystal, search, final], over all cores."""
    work = list(itertools.product(range(len(CRYSTALS)), SEARCH, FINAL))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        rows = list(track(pool.map(one_of, work), "inverting", len(work), console=Console(stderr=True)))
    shape = (len(CRYSTALS), len(SEARCH), len(FINAL))
    return {name: np.array([row[name] for row in rows]).reshape(shape) for name in FIGURES}


def one_of(work: tuple[int, float, float]) -> dict[str, float]:
    """Invert one crystal once a seed with two thresholds; return the mean of each figure."""
    number, search, final = work
    measured = simulated(CRYSTALS[number], number)
    runs = []
    for seed in SEEDS:
        config = PhasingConfig(search_threshold=search, shrink_threshold=final, seed=seed, **STARTS)
        runs.append(phase_retrieval(measured.counts, measured.mask, config))
    return {
        "truth": float(np.mean([correlation(measured.truth, run.object_) for run in runs])),
        "overlap": float(np.mean([overlap(measured.inside, run.support) for run in runs])),
        "runs": float(np.mean([correlation(a.object_, b.object_) for a, b in itertools.combinations(runs, 2)])),
    }


def simulated(crystal: Crystal, seed: int) -> Measured:
    rng, generator, fine = np.random.default_rng(seed), seeded(seed), FINER * EDGE
    radius = torch.tensor([0.5 * fine / crystal.oversampling])
    facets = random_wulff(generator, radius) if crystal.shape == "Wulff" else random_polyhedra(generator, radius)
    grid = Grid(basis_nm=torch.eye(3).flip(-1)[None], shape=(fine,) * 3)
    drawn = strained(generator, facets.filling(grid), grid, 1.25 * radius, torch.tensor([crystal.phase_range]))
    middle = (slice(fine // 2 - EDGE // 2, fine // 2 - EDGE // 2 + EDGE),) * 3
    psi = far_field(drawn)[0].numpy()[middle]
    truth = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(psi))).astype(np.complex64)
    intensity = torch.from_numpy(np.fft.ifftshift(np.abs(psi) ** 2))
    kernel = envelope((EDGE,) * 3, torch.full((3,), crystal.coherence_voxels), torch.zeros(()))
    blurred = np.fft.fftshift(convolve(intensity, kernel).numpy())
    mask = np.ones(blurred.shape, bool)
    mask[:, :, GAP] = not crystal.gap
    counts = rng.poisson(blurred * (crystal.flux / blurred.sum())) * mask
    filled = np.abs(truth) * (EDGE**3 / fine**3)  # the volume of a voxel, in fine ones, is in the transform
    return Measured(truth=truth, inside=filled >= 0.5, counts=counts.astype(np.float32), mask=mask)


def overlap(inside: NDArray[np.bool_], support: NDArray[np.bool_]) -> float:
    """Return intersection over union of two supports, the second moved onto the first by part of a voxel."""
    moved = np.abs(align(support.astype(np.complex64), inside.astype(np.complex64)).object_) >= 0.5
    return float(np.sum(moved & inside) / np.sum(moved | inside))


def _table(found: dict[str, NDArray[np.float64]]) -> Table:
    table = Table("search", "final", *FIGURES.values(), "worst with truth", "with truth, less the default's")
    truth = found["truth"]
    default = truth[:, *default_index()]
    for (i, search), (j, final) in itertools.product(enumerate(SEARCH), enumerate(FINAL)):
        means = (f"{found[name][:, i, j].mean():.4f}" for name in FIGURES)
        gain = truth[:, i, j] - default
        error = gain.std(ddof=1) / np.sqrt(len(gain))
        style = "bold" if (i, j) == default_index() else None
        told = (f"{truth[:, i, j].min():.4f}", f"{gain.mean():+.4f} ± {error:.4f}")
        table.add_row(f"{search:g}", f"{final:g}", *means, *told, style=style)
    return table


def _crystals(found: dict[str, NDArray[np.float64]]) -> Table:
    table = Table(
        "crystal", "default: with the truth", "overlap", "best of the grid: with the truth", "at search, final"
    )
    for crystal, truth, inside in zip(CRYSTALS, found["truth"], found["overlap"], strict=True):
        i, j = np.unravel_index(truth.argmax(), truth.shape)
        default = default_index()
        best = f"{truth[i, j]:.4f}", f"{SEARCH[i]:g}, {FINAL[j]:g}"
        table.add_row(str(crystal), f"{truth[default]:.4f}", f"{inside[default]:.3f}", *best)
    return table


def default_index() -> tuple[int, int]:
    """Return where the defaults stand in the grid."""
    config = PhasingConfig()
    return SEARCH.index(config.search_threshold), FINAL.index(config.shrink_threshold)


def write_plot(found: dict[str, NDArray[np.float64]], path: Path) -> None:
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    row, column = default_index()
    for panel, (name, title) in zip(figure.subplots(1, len(FIGURES)), FIGURES.items(), strict=True):
        mean = found[name].mean(axis=0)
        drawn = panel.imshow(mean, origin="lower", cmap="Wistia")
        for (i, j), value in np.ndenumerate(mean):
            panel.text(j, i, f"{value:.3f}", ha="center", va="center", fontsize=8)
        panel.plot(column, row, "s", markersize=34, markerfacecolor="none", markeredgecolor="red")
        panel.set(title=f"{title}, mean of {len(CRYSTALS)}", xlabel="shrink_threshold", ylabel="search_threshold")
        panel.set_xticks(range(len(FINAL)), [f"{value:g}" for value in FINAL])
        panel.set_yticks(range(len(SEARCH)), [f"{value:g}" for value in SEARCH])
        figure.colorbar(drawn, ax=panel, shrink=0.8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
