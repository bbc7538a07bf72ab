"""Phase retrieval beside cohere-core: python -m benchmarks.phasing SCAN --peer-python PYTHON

In turn, on the same counts: cohere-core with the recipe of its own example of this scan (torch back end, CPU) and our
`phase_retrieval`, one run each a seed. Cohere is given the counts with flat field and dark taken out. Chi by cohere's
definition and the free log-likelihood are computed by one function for both. The held-out voxels are hidden from us
alone: cohere has no mask, so it has seen them, which favours cohere. Seconds of cohere are its own from reading the
file to the last iteration, without its start-up; ours are the whole call, from counts to the selected object.

Cohere models full coherence. So our default runs, which fit a kernel of partial coherence, stand in two rows: their
figures with the kernel, which is the model that was fitted, and those of the same objects without it, by the function
that judges cohere's. A third row is runs of ours with coherence='full': like with like. On the real scan few of them
are good: at 64^3 chi is lower than cohere's, but the support is about a tenth smaller, at the edge of what is allowed,
and the free log-likelihood, of voxels that cohere has seen, is about the same; at 128^3 chi is 2 % higher.

Then iterations a second as a share of what two FFTs alone would allow, in the same run, and on demand the full size.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.bcdi_scan import Cube, box_around_peak
from models.bcdi.iterate import Batch, ShrinkWrap, run
from models.bcdi.modes import correlation
from models.bcdi.pattern import AXES, Pattern, hold_out, measured_pattern
from models.bcdi.phasing import Phased, PhasingConfig
from models.bcdi.quality import FigureSet, figures
from models.bcdi.recipe import parse_recipe

FULL_SHAPE = (210, 256, 256)
RUNS = {64: 9, 128: 3}
OURS = {64: {"starts": 5, "keep": 3}, 128: {"starts": 10, "keep": 5}}
HELD_OUT_SEED = 0
PEER = "cohere"
FITTED, LEFT_OUT, FULL = "ours", "ours, kernel left out", "ours, full coherence"
MARKERS = {PEER: "s", FITTED: "o", LEFT_OUT: "x", FULL: "^"}
BAR = 0.4  # share of the limit
TIMED_RECIPE = "20*ER+60*HIO+20*RAAR"
TIMED_S = 10.0  # at least, for a rate


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", type=Path)
    parser.add_argument("--peer-python", default=sys.executable, help="an interpreter that has cohere-core")
    parser.add_argument("--sizes", type=int, nargs="*", default=[64, 128], choices=[64, 128])
    parser.add_argument("--full", action="store_true", help="time the full size too, a single start from 128^3")
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--plot", type=Path, help="PNG; without it, beside the JSON under the same name")
    options = parser.parse_args(arguments)
    found = {f"{size}^3": beside_cohere(options.scan, size, options.peer_python) for size in options.sizes}
    console = Console(width=170)
    console.print(_table(found))
    rates = {f"{size}^3": share_of_limit(box_around_peak(options.scan, size)) for size in options.sizes}
    console.print(_rates(rates))
    result: dict[str, Any] = {"beside cohere": found, "rates": rates}
    if options.full:
        result["full"] = full_size(options.scan)
        console.print(f"full size {FULL_SHAPE}: {result['full']}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
    plot = options.plot or (options.json and options.json.with_suffix(".png"))
    if plot:
        write_plot(found, rates, plot)
    return 0


def beside_cohere(scan: Path, size: int, python: str) -> dict[str, Any]:
    """Run all in turn, once a seed; return `runs`, lists of figures of each, and our verdicts."""
    cube = box_around_peak(scan, size)
    held_out = hold_out(cube.mask, PhasingConfig().held_out, HELD_OUT_SEED)
    pattern = measured_pattern(
        cube.counts, cube.mask, held_out, scale=cube.scale, background=cube.background, device="cpu"
    )
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in MARKERS}
    objects: dict[str, list[NDArray[np.complex64]]] = {name: [] for name in MARKERS}
    for seed in range(RUNS[size]):
        object_, support, peer_s = cohere_run(cube, seed, python)
        fitted, fitted_s = our_run(cube, seed, **OURS[size])
        full, full_s = our_run(cube, seed, coherence="full", **OURS[size])
        rows[PEER].append(_row(without_kernel(pattern, object_), support, peer_s))
        rows[FITTED].append(_row(fitted.figures, fitted.support, fitted_s))
        rows[LEFT_OUT].append(_row(without_kernel(pattern, fitted.object_), fitted.support, fitted_s))
        rows[FULL].append(_row(without_kernel(pattern, full.object_), full.support, full_s))
        for name, one in zip(MARKERS, (object_, fitted.object_, fitted.object_, full.object_), strict=True):
            objects[name].append(one)
    return {
        "runs": rows,
        "least_correlation": {name: _least_correlation(some) for name, some in objects.items()},
        "verdict": {name: verdict(rows[PEER], rows[name]) for name in MARKERS if name != PEER},
    }


def our_run(cube: Cube, seed: int, **config: Any) -> tuple[Phased, float]:
    began_s = time.perf_counter()
    phased = cube.inverted(seed=seed, held_out_seed=HELD_OUT_SEED, **config)
    return phased, time.perf_counter() - began_s


def verdict(peer: list[dict[str, Any]], ours: list[dict[str, Any]]) -> dict[str, Any]:
    """How many of our runs are no worse than the peer's median in chi and free log-likelihood, support within 10 %."""
    median = {key: float(np.median([row[key] for row in peer])) for key in peer[0]}
    good = [
        row["chi"] <= median["chi"]
        and row["free_log_likelihood"] <= median["free_log_likelihood"]
        and abs(row["support"] / median["support"] - 1) <= 0.1
        for row in ours
    ]
    seconds = float(np.median([row["seconds"] for row in ours]))
    return {"good_runs": sum(good), "runs": len(good), "share_of_seconds": seconds / median["seconds"]}


def cohere_run(cube: Cube, seed: int, python: str) -> tuple[NDArray[np.complex64], NDArray[np.bool_], float]:
    with tempfile.TemporaryDirectory() as folder:
        amplitude, out = Path(folder) / "amplitude.npy", Path(folder) / "cohere.npz"
        np.save(amplitude, cube.amplitude)
        script = Path(__file__).with_name("cohere_peer.py")
        command = [python, str(script), str(amplitude), str(out), str(seed)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with np.load(out) as found:
            return found["objects"][0], found["support"][0], float(found["seconds"][0])


def without_kernel(pattern: Pattern, object_: NDArray[np.complex64]) -> FigureSet:
    """Figures of an object under full coherence, whose scale is fitted first: the best for chi."""
    spectrum = torch.fft.fftn(torch.from_numpy(np.fft.ifftshift(object_)))
    magnitude = spectrum.abs()
    factor = float((pattern.amplitude * magnitude).sum() / (magnitude.square() * pattern.seen).sum())
    return figures(pattern, (magnitude * factor).square()[None])[0]


def _row(found: FigureSet, support: NDArray[np.bool_], seconds: float) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "chi": found.chi,
        "r_factor": found.r_factor,
        "free_log_likelihood": found.free_log_likelihood,
        "support": int(support.sum()),
    }


def _least_correlation(objects: Sequence[NDArray[np.complex64]]) -> float:
    return min(correlation(one, other) for index, one in enumerate(objects) for other in objects[:index])


def share_of_limit(cube: Cube) -> dict[str, float]:
    """Iterations a second of one start, shrink-wrap included, and what two FFTs alone would allow."""
    nothing = np.zeros(cube.counts.shape, bool)
    one = np.ones(cube.counts.shape, np.float32)
    pattern = measured_pattern(cube.counts, cube.mask, nothing, scale=one, background=0 * one, device="cpu")
    objects = torch.fft.ifftn(pattern.amplitude.to(torch.complex64), dim=AXES)[None]
    support = objects.abs() > 0.1 * objects.abs().max()
    schedule = parse_recipe(TIMED_RECIPE)
    config = PhasingConfig()
    wrap = ShrinkWrap(
        first_sigma=config.shrink_first_sigma,
        last_sigma=config.shrink_last_sigma,
        threshold=config.shrink_threshold,
        period=config.shrink_period,
    )
    out = torch.empty_like(objects)

    def iterations() -> None:
        run(Batch(pattern, objects.clone(), support, beta=config.beta), schedule, wrap)

    def ffts() -> None:
        for _ in schedule:
            torch.fft.fftn(objects, dim=AXES, out=out)
            torch.fft.ifftn(out, dim=AXES)

    limit, ours = _interleaved(ffts, iterations)
    return {
        "limit_hz": len(schedule) / limit,
        "ours_hz": len(schedule) / ours,
        "share": limit / ours,
    }


def _interleaved(first: Callable[[], None], second: Callable[[], None]) -> tuple[float, float]:
    """Median seconds of each, in turn."""
    first()
    second()
    times: tuple[list[float], list[float]] = ([], [])
    began_s = time.perf_counter()
    while time.perf_counter() - began_s < TIMED_S or len(times[0]) < 3:
        for work, taken in zip((first, second), times, strict=True):
            start_s = time.perf_counter()
            work()
            taken.append(time.perf_counter() - start_s)
    return float(np.median(times[0])), float(np.median(times[1]))


def full_size(scan: Path) -> dict[str, Any]:
    """Seconds from counts to the object at full size: a run at 128^3, then a single start from it."""
    small, full = box_around_peak(scan, 128), box_around_peak(scan, FULL_SHAPE)
    began_s = time.perf_counter()
    first = small.inverted(seed=0, **OURS[128])
    between_s = time.perf_counter()
    phased = full.inverted(start=first.object_, seed=0, starts=1, keep=1)
    return {
        "seconds": time.perf_counter() - began_s,
        "of_which_128^3": between_s - began_s,
        "chi": phased.figures.chi,
        "free_log_likelihood": phased.figures.free_log_likelihood,
    }


def _table(found: dict[str, Any]) -> Table:
    table = Table("size", "", "seconds", "chi", "R", "free LLK", "support", "least correlation", "good runs", "share")
    for size, row in found.items():
        for name, runs in row["runs"].items():
            keys = ("seconds", "chi", "r_factor", "free_log_likelihood", "support")
            spread = [_spread([run[key] for run in runs]) for key in keys]
            mine = row["verdict"].get(name)
            told = [f"{mine['good_runs']} of {mine['runs']}", f"{mine['share_of_seconds']:.3f}"] if mine else ["", ""]
            table.add_row(size, name, *spread, f"{row['least_correlation'][name]:.3f}", *told)
    return table


def _rates(rates: dict[str, dict[str, float]]) -> Table:
    table = Table("size", "two FFTs, iterations a second", "ours", "share")
    for size, row in rates.items():
        table.add_row(size, f"{row['limit_hz']:.1f}", f"{row['ours_hz']:.1f}", f"{row['share']:.3f}")
    return table


def write_plot(found: dict[str, Any], rates: dict[str, dict[str, float]], path: Path) -> None:
    """Write chi and free log-likelihood against seconds, a row a size, and the shares of the limit."""
    figure = Figure(figsize=(13, 0.6 + 3.6 * len(found)), layout="constrained")
    panels = figure.subplots(len(found), 3, squeeze=False)
    for (size, row), (left, middle, right) in zip(found.items(), panels, strict=True):
        _draw_runs(left, row["runs"], "chi")
        _draw_runs(middle, row["runs"], "free_log_likelihood")
        left.set_title(f"{size}: lower left is better")
        left.legend(fontsize=8)
        right.bar(["two FFTs", "ours"], [rates[size]["limit_hz"], rates[size]["ours_hz"]], color=["0.7", "C1"])
        right.axhline(BAR * rates[size]["limit_hz"], color="k", ls="--", lw=1)
        right.set(title=f"share {rates[size]['share']:.2f}, bar {BAR:g}", ylabel="iterations a second")
    figure.savefig(path, dpi=110)


def _draw_runs(panel: Axes, runs: dict[str, list[dict[str, Any]]], figure_name: str) -> None:
    for name, marker in MARKERS.items():
        some = runs[name]
        panel.plot([run["seconds"] for run in some], [run[figure_name] for run in some], marker, ls="", label=name)
    panel.set(xscale="log", xlabel="seconds", ylabel=figure_name.replace("_", " "))


def _spread(values: Sequence[float]) -> str:
    return f"{np.median(values):.4g} ({min(values):.4g} .. {max(values):.4g})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
