"""Alignment on the twin beside its peers: python -m benchmarks.align [--only seek find follow] [--starts 200]

seek: starts within two beam sizes and two rocking widths, drift on, until aligned to 0.05 beam sizes and 0.005 degrees:
in how many exposures and simulated seconds, by the fit of a peak, by line scans, as people do, by extremum seeking, by
Xopt's (pip install xopt) and, on the first starts alone, by Bayesian optimisation (pip install botorch). Those that do
not know when to end, extremum seeking and Bayesian optimisation, are told by one who knows the truth.
find: starts 20 beam sizes and 2 degrees away, where there is no signal: a coarse search first.
safety: runs with faults and commands at random times on the twin's clock, watched by one who shares no code with the
guard: orders outside limits, zones, steps, rates, travel or arming, and runs that end without a reason.
processes: the same of CrystalAlignment with motors, counter and alignment in processes that are killed or hung.
follow: crystals that walk out of beam and reflection and change meanwhile, followed by extremum seeking over motors and
latents together for --exposures, beside motors alone and nothing followed; a page of the errors over time (--plot PNG).
beams: seek by the fit of a peak in beams of other shapes, and where side lobes of x and y are told of (`fringed`).
tune: gains of Xopt's extremum seeking, on starts of their own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.align import follow, processes
from benchmarks.align.beams import BEAMS
from benchmarks.align.safety import faulty_run
from benchmarks.align.ways import Choose, Gains, ToldWhen, ours, xopt
from benchmarks.defects.scores import share
from models.simulate.goniometer import offset
from service.adapters.twin_beamline import COUNTERS, Counting
from service.adapters.twin_scene import EXPOSURE_S, Scene, aligned, beamline, far, near, plan, translation
from service.alignment.chain import Chain
from service.alignment.drive import Driver
from service.alignment.find import Finder
from service.alignment.loop import Loop
from service.alignment.methods.port import Point
from service.alignment.progress import Outcome

MOST, MOST_BAYESIAN = 600, 60
TUNED_ON = 30
TUNING_SEED = 10_000
# The best of `tune`, on starts of its own.
XOPT = Gains(k=0.2, oscillation=0.4, decay=0.995)
KNOWS_ITS_END = ("peak", "scan", "golden", "parabola")


class Run(NamedTuple):
    aligned: bool
    exposures: int
    seconds: float
    own_s: float


def run(scene: Scene, method: str, choose: Choose, most: int, told: bool, fringed: bool = False) -> Run:
    """Align one start; where `told`, the way hears from the truth when its best point is good; all axes are `fringed`
    where that is said.
    """
    twin = beamline(scene)
    began_s = time.monotonic()

    def there(best: Point) -> bool:
        positions = dict(zip(scene.start, best.tolist(), strict=True))
        return aligned(offset(scene.goniometer, positions, twin.now_s()))

    asked = plan(method, most)
    if fringed:
        axes = {name: axis.model_copy(update={"fringed": True}) for name, axis in asked.axes.items()}
        asked = asked.model_copy(update={"axes": axes})
    loop = Loop(asked, (lambda each, start: ToldWhen(choose(each, start), there)) if told else choose)
    progress = Driver(loop, twin).align("benchmark", seconds=1e6)
    right = aligned(twin.off()) and progress.outcome is Outcome.ALIGNED
    return Run(right, progress.exposures, twin.now_s(), time.monotonic() - began_s)


def row(name: str, runs: Sequence[Run]) -> dict[str, object]:
    done = [each for each in runs if each.aligned]
    exposures, seconds = [each.exposures for each in done] or [0], [each.seconds for each in done] or [0.0]
    told = share([each.aligned for each in runs])
    return {
        "way": name,
        "starts": len(runs),
        "aligned, with its interval": told,
        "exposures, median and 95 %": _percentiles(exposures),
        "simulated seconds, median and 95 %": _percentiles(seconds),
        "own milliseconds an exposure": round(
            1e3 * sum(e.own_s for e in runs) / max(1, sum(e.exposures for e in runs)), 2
        ),
        "not aligned": [number for number, each in enumerate(runs) if not each.aligned][:20],
    }


def seek(starts: int, bayesian: int, ways: Sequence[str], tell: Callable[[object], None]) -> list[dict[str, object]]:
    scenes = [near(seed) for seed in range(starts)]
    rows = []
    for name in ways:
        method, choose = ("peak", xopt(XOPT)) if name == "xopt" else (name, ours)
        some = scenes[:bayesian] if name == "bayesian" else scenes
        most = MOST_BAYESIAN if name == "bayesian" else MOST
        rows.append(row(name, [run(each, method, choose, most, name not in KNOWS_ITS_END) for each in some]))
        tell(rows[-1])
    return rows


def beams(starts: int, tell: Callable[[object], None]) -> list[dict[str, object]]:
    """How well a fitted peak does where the beam is of another shape."""
    rows = []
    for (name, beam), fringed in itertools.product(BEAMS.items(), (False, True)):
        runs = [run(near(seed, beam), "peak", ours, MOST, told=False, fringed=fringed) for seed in range(starts)]
        rows.append(row(f"{name}, x and y fringed" if fringed else name, runs))
        tell(rows[-1])
    return rows


def find(starts: int, tell: Callable[[object], None]) -> dict[str, object]:
    """The coarse search that all ways share, then ours: exposures of each stage, and how many crystals are aligned."""
    used: dict[str, list[int]] = {}
    right, seconds, failed = [], [], []
    for seed in range(starts):
        scene = far(seed)
        twin = beamline(scene)
        rates = dict.fromkeys(COUNTERS, scene.goniometer.background_hz)
        staged = Finder(
            plan=plan("peak", MOST), height=translation(), rates_hz=rates, exposure_s=EXPOSURE_S,
            count=partial(Counting, twin), chain=Chain(by="benchmark", seconds=1e5),
        ).run()  # fmt: skip
        for number, stage in enumerate(staged):
            used.setdefault(f"{number} {stage.name}", []).append(stage.progress.exposures)
        name, progress, _ = staged[-1]
        right.append(aligned(twin.off()) and progress.outcome is Outcome.ALIGNED)
        seconds.append(twin.now_s())
        if not right[-1]:
            failed.append((seed, name, progress.outcome, progress.reason, [round(part, 9) for part in twin.off()]))
    figures: dict[str, object] = {
        "starts": starts,
        "aligned, with its interval": share(right),
        "exposures of each stage, median and 95 %": {name: _percentiles(each) for name, each in used.items()},
        "simulated seconds, median and 95 %": _percentiles(seconds),
        "not aligned": failed[:20],
    }
    tell(figures)
    return figures


def safety(runs: int, tell: Callable[[object], None]) -> dict[str, object]:
    """How runs with faults end, and what the watcher saw."""
    ended = [faulty_run(seed) for seed in range(runs)]
    outcomes = Counter((each.fault, str(each.progress.outcome)) for each in ended)
    figures: dict[str, object] = {
        "runs": runs,
        "orders to axes": sum(each.orders for each in ended),
        "moves refused": sum(each.progress.refused for each in ended),
        "orders that should not have been given": sum(len(each.wrong) for each in ended),
        "without an end, a reason or a stand": [seed for seed, each in enumerate(ended) if not each.safe][:20],
        "outcomes": {f"{fault}, {outcome}": count for (fault, outcome), count in sorted(outcomes.items())},
    }
    tell(figures)
    return figures


def kill(runs: int, tell: Callable[[object], None]) -> dict[str, object]:
    """How runs end whose processes are killed, hung or made to fail, and what the watcher saw."""
    with processes.Lab() as lab:
        ended = [processes.faulty_process_run(lab, seed) for seed in range(runs)]
    outcomes = Counter((each.fault, each.outcome or "none") for each in ended)
    stands = {
        fault: _percentiles([each.stand_s for each in ended if each.fault == fault])
        for fault in ("alignment killed", "alignment hung")
    }
    figures: dict[str, object] = {
        "runs": runs,
        "orders to axes": sum(each.orders for each in ended),
        "orders that should not have been given": sum(len(each.wrong) for each in ended),
        "without an end, a reason or a stand in time": [each for each in ended if not each.safe][:20],
        "seconds to a stand, median and 95 %": stands,
        "outcomes": {f"{fault}, {outcome}": count for (fault, outcome), count in sorted(outcomes.items())},
    }
    tell(figures)
    return figures


def _percentiles(values: Sequence[float]) -> list[float]:
    return [round(float(np.percentile(values, share)), 1) for share in (50, 95)] if values else []


def tune(tell: Callable[[object], None]) -> list[dict[str, object]]:
    """The gains of Xopt's seeking that align most starts in fewest exposures, of 36."""
    scenes = [near(TUNING_SEED + number) for number in range(TUNED_ON)]
    rows = []
    for k, oscillation, decay in itertools.product((0.2, 0.5, 1.0), (0.1, 0.2, 0.3, 0.4), (1.0, 0.995, 0.99)):
        gains = Gains(k=k, oscillation=oscillation, decay=decay)
        rows.append(row(str(gains), [run(each, "peak", xopt(gains), MOST, told=True) for each in scenes]))
        tell(rows[-1])
    return rows


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only",
        nargs="*",
        choices=("seek", "find", "safety", "processes", "follow", "beams", "tune"),
        default=["seek", "find", "safety"],
    )
    parser.add_argument("--starts", type=int, default=200)
    parser.add_argument("--bayesian", type=int, default=30, help="starts of Bayesian optimisation, which is slow")
    parser.add_argument(
        "--ways", nargs="*", default=["peak", "parabola", "golden", "scan", "seeking", "xopt", "bayesian"]
    )
    parser.add_argument("--runs", type=int, default=10_000, help="of safety")
    parser.add_argument("--killed", type=int, default=200, help="runs of processes")
    parser.add_argument("--exposures", type=int, default=500, help="of follow")
    parser.add_argument("--crystals", type=int, default=8, help="of follow")
    parser.add_argument("--plot", type=Path, help="PNG of follow: the errors over time")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args(arguments)
    figures: dict[str, object] = {}

    def tell(one: object) -> None:
        print(json.dumps(one), flush=True)

    if "tune" in options.only:
        figures["tune"] = tune(tell)
    if "seek" in options.only:
        figures["seek"] = seek(options.starts, options.bayesian, options.ways, tell)
    if "beams" in options.only:
        figures["beams"] = beams(options.starts, tell)
    if "find" in options.only:
        figures["find"] = find(options.starts, tell)
    if "safety" in options.only:
        figures["safety"] = safety(options.runs, tell)
    if "processes" in options.only:
        figures["processes"] = kill(options.killed, tell)
    if "follow" in options.only:
        found = follow.run(range(options.crystals), options.exposures)
        figures["follow"] = [follow.row(name, runs) for name, runs in found.items()]
        for each in figures["follow"]:
            tell(each)
        if options.plot:
            follow.draw(found, options.plot)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
