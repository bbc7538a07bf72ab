"""Inversion beside its peers: python -m benchmarks.invert [--scan SCAN --peer-python PYTHON] [--only PART ...]

quality: crystals that training never saw, 64^3, whole ones with a smooth phase and highly strained ones: what the
network tells in one step, what is refined from there, phase retrieval from random starts, networks of the literature
(python -m benchmarks.train_peers invert), and two rows that know nothing of the phase (the true support, the mean
shape).
robust: the same against counts, gaps, oversampling and range of the phase, as a page of curves (--plot PNG): how many
of the network's crystals are wrong, and how many of them the live flag doubts.
real: the tiers on a real scan beside cohere's recipe, judged by one function under full coherence.
adaptive: extremum seeking over all latents of a crystal at once, from its pattern alone, in how many evaluations; begun
20 % off and with what the network tells; beside Xopt's ExtremumSeeking (pip install xopt), its gains tuned on other
crystals for the same misfit, and Adam.
follow: a crystal that changes over 100 scans, and by how much its latents lag behind.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.invert import adaptive, peers, quality, real, robust
from benchmarks.invert.adaptive import Gains, Off, Way
from models.invert.predict import default_engine

TRAINED = Path(__file__).with_name("trained")
PARTS = ("quality", "robust", "real", "adaptive", "follow")
TUNING_SEED, TEST_SEED = 7, 8
# Gains of Xopt that are tried, and for how many evaluations.
TRIED = [Gains(k, oscillation, 1.0) for k in (50.0, 100.0, 200.0, 400.0) for oscillation in (0.005, 0.01, 0.02)]
RUNS = 5  # on the real scan
SCANS, EACH, SWING = 100, (50, 200), 1e-3


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scan", type=Path, help="a recorded scan; without one nothing is told of real data")
    parser.add_argument("--peer-python", default=sys.executable, help="an interpreter that has cohere-core")
    parser.add_argument("--crystals", type=int, default=8, help="a row (default 8)")
    parser.add_argument("--searched", type=int, default=8, help="of those, searched from random starts (default 8)")
    parser.add_argument("--starts", type=int, nargs="*", default=(20, 1), help="random ones (default: 20, and 1)")
    parser.add_argument(
        "--peers", type=Path, default=TRAINED, help="folder of peers (default: those that come with it)"
    )
    parser.add_argument(
        "--family", nargs="*", choices=quality.FAMILIES, default=[*quality.FAMILIES], help="of quality (default: all)"
    )
    parser.add_argument("--most", type=int, default=20000, help="evaluations that a way may take (default 20000)")
    parser.add_argument("--tuning", type=int, default=4000, help="evaluations of each of Xopt's gains (default 4000)")
    parser.add_argument("--plot", type=Path, help="PNG of the curves")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS, help="parts (default: all)")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args(arguments)
    bench = Bench(options)
    began_s = time.monotonic()
    with torch.no_grad():
        for part in options.only:
            getattr(bench, part)()
    if options.json:
        options.json.write_text(json.dumps(bench.record, indent=1))
    print(f"{time.monotonic() - began_s:.0f} s, {torch.get_num_threads()} threads; short: {bench.short or 'none'}")
    return 1 if bench.short else 0


class Bench:
    """The parts, each a table; `record` the figures, `short` what fell short."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.record: dict[str, Any] = {}
        self.short: list[str] = []
        self._console = Console(width=150)

    def quality(self) -> None:
        """Against the crystals that were simulated."""
        engine = default_engine()
        for title in self.options.family:
            family = quality.FAMILIES[title]
            names = quality.Quality._fields
            table = Table("way", *names, title=f"{title}, {self.options.crystals} crystals, medians (means)")
            mean_shape = quality.mean_shape(family)
            ways = {
                **quality.ways(engine),
                **peers.ways(self.options.peers),
                "mean shape": lambda _, told=mean_shape: told,
            }
            searches = quality.searches(self.options.starts)
            found: dict[str, list[quality.Quality]] = {name: [] for name in (*ways, *searches)}
            for number, case in enumerate(itertools.islice(quality.cases(family), self.options.crystals)):
                for name, way in (ways | searches if number < self.options.searched else ways).items():
                    found[name].append(quality.quality(case, way))
            for name, some in found.items():
                columns = np.array(some).T
                both = zip(np.median(columns, axis=1), columns.mean(axis=1), strict=True)
                table.add_row(name, *(f"{median:.4g} ({mean:.4g})" for median, mean in both))
                self.record[f"quality, {title}, {name}"] = dict(zip(names, columns.tolist(), strict=True))
            self._console.print(table)

    def robust(self) -> None:
        """Where a measurement is not as it should be."""
        found, flagged = robust.curves(default_engine(), self.options.crystals)
        for title, rows in found.items():
            values = robust.CHANGED[title].values
            table = Table("way", *(f"{value:g}" for value in values), title=f"{title}: Dice / phase in rad, medians")
            for name, some in rows.items():
                columns = [np.median(ones, axis=0) for ones in some]
                shown = (quality.Quality(*column) for column in columns)
                table.add_row(name, *(f"{one.dice:.3f} / {one.phase:.3f}" for one in shown))
                self.record[f"robust, {title}, {name}"] = some
            both = [f"{one.doubted:.0%} / {one.wrong:.0%}" for one in flagged[title]]
            table.add_row(f"direct: doubted / correlates by less than {robust.FOUND}", *both)
            self.record[f"robust, {title}, flags"] = flagged[title]
            self._console.print(table)
        if self.options.plot:
            robust.draw(found, flagged, self.options.plot)

    def real(self) -> None:
        """On a real scan."""
        if self.options.scan is None:
            return
        found = real.runs(self.options.scan, self.options.peer_python, RUNS)
        table = Table("way", *real.Run._fields, title=f"{self.options.scan.name}, {real.SIZE}^3: median (range)")
        for name, runs in found.items():
            columns = list(zip(*runs, strict=True))
            table.add_row(name, *(f"{np.median(c):.4g} ({min(c):.4g} to {max(c):.4g})" for c in columns))
            self.record[f"real, {name}"] = runs
        self._console.print(table)

    def adaptive(self) -> None:
        """Evaluations until surface and phase are right."""
        tuned = self._tuned()
        ways: Mapping[str, Way] = {
            "ours": adaptive.ours,
            f"Xopt, k {tuned.k:g}, oscillation {tuned.oscillation:g}": adaptive.with_xopt(tuned),
            "Adam, 300 steps": adaptive.adam(300),
        }
        for title, told in (("begun 20 % off", False), ("begun with what the network tells", True)):
            table = Table("way", "reached", "evaluations: median (range)", "surface", "phase, rad", title=title)
            medians = []
            for name, way in ways.items():
                cases = itertools.islice(adaptive.problems(TEST_SEED, told=told), self.options.crystals)
                found = [adaptive.evaluations(case, way, self.options.most) for case in cases]
                taken = [count if count is not None else np.inf for count, _ in found]
                medians.append(float(np.median(taken)))
                table.add_row(name, *self._kept(f"adaptive, {title}, {name}", taken, [off for _, off in found]))
            self._console.print(table)
            if not (np.isfinite(medians[0]) and medians[0] <= medians[1] / 2.0):
                self.short.append(f"{title}: {medians[0]:g} evaluations, Xopt {medians[1]:g}")

    def follow(self) -> None:
        """A crystal that changes while it is measured."""
        table = Table("crystal", "evaluations a scan", "misfit before / after", "surface", "phase, rad", "scans behind")
        cases = itertools.islice(adaptive.problems(TEST_SEED), min(self.options.crystals, 3))
        for (number, case), each in itertools.product(enumerate(cases), EACH):
            found = adaptive.followed(case, SCANS, each, SWING)
            late = slice(SCANS // 2, None)
            means = [float(np.mean(values[late])) for values in (found.before, found.after, found.behind)]
            surface, phase = np.mean(found.off[late], axis=0)
            table.add_row(
                str(number), str(each), f"{means[0]:.4f} / {means[1]:.4f}", f"{surface:.3f}", f"{phase:.3f}",
                f"{means[2]:.1f}",
            )  # fmt: skip
            self.record[f"follow {number}, {each} a scan"] = found._asdict()
        self._console.print(table)

    def _tuned(self) -> Gains:
        """Of the gains tried those that come lowest, on a crystal that is in no table."""
        case = next(adaptive.problems(TUNING_SEED))
        costs = {}
        for gains in TRIED:
            long_enough = (at for taken, at in adaptive.with_xopt(gains)(case) if taken >= self.options.tuning)
            costs[gains] = float(case.misfit(next(long_enough)[None])[0])
        self.record["tuning of Xopt"] = [[*gains, cost] for gains, cost in costs.items()]
        return min(costs, key=costs.__getitem__)

    def _kept(self, title: str, taken: list[float], off: list[Off]) -> tuple[str, ...]:
        self.record[title] = {"evaluations": taken, "off": off}
        surface, phase = np.median(off, axis=0)
        reached = sum(map(np.isfinite, taken))
        return (
            f"{reached} of {len(taken)}",
            f"{np.median(taken):g} ({min(taken):g} to {max(taken):g})",
            f"{surface:.3f}",
            f"{phase:.3f}",
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
