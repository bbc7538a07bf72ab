"""Recognition of defects: python -m benchmarks.defects [--atoms CATALOGUE] [--only PART ...]

atoms: relaxed crystals of a catalogue (python -m models.simulate.atoms.pinned CATALOGUE --count 200), each measured in
a reflection that shows its defect: of perfect, edge and screw, and of all classes, from one frame, from the pattern,
and from the crystal behind it; how far its line is from that of the atoms.
classes: simulated crystals of all classes as the simulator draws them, the share that a reflection does not show among
the perfect: calibration, abstention; then more until there are --each of every class: confusion.
outside: crystals that no class is made for, half as many: how many are called unknown.
curves: the same against counts, gaps and oversampling, with and without filling gaps and denoising, as a page (--plot
PNG).
temperature: what logits are divided by (models.defects.predict.TEMPERATURE), found on other simulated crystals; only
where asked for.
With --inverted FOLDER each crystal is inverted once: telling of it again takes a quarter of the time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.defects import curves, scores, ways
from benchmarks.defects.cases import BEAMLINE, Case, atomistic, continuum, simulated
from benchmarks.defects.temperature import temperatures
from benchmarks.defects.ways import CLASS_NAMES, WAYS, Told
from models.defects.predict import SURE
from models.simulate.families import FAMILIES

KEPT_EVERY = 50  # cases, after which the figures so far are written: a table takes hours
PARTS = ("atoms", "classes", "outside", "curves")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atoms", type=Path, help="catalogue of relaxed crystals")
    parser.add_argument("--crystals", type=int, default=200, help="simulated ones (default 200)")
    parser.add_argument("--each", type=int, default=0, help="at least so many simulated ones of each class (default 0)")
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS), help="(default: all)")
    parser.add_argument("--inverted", type=Path, help="folder that keeps inverted crystals, for the next run")
    parser.add_argument("--skip", type=int, default=0, help="so many cases are left out, but of curves (default 0)")
    parser.add_argument("--plot", type=Path, help="PNG of the curves")
    parser.add_argument(
        "--only", nargs="*", choices=(*PARTS, "temperature"), default=PARTS, help="parts (default: all tables)"
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args(arguments)
    bench = Bench(options)
    began_s = time.monotonic()
    with torch.no_grad():
        for part in options.only:
            getattr(bench, part)()
    print(f"{time.monotonic() - began_s:.0f} s, {torch.get_num_threads()} threads")
    print("\n".join(["short:", *bench.short]) if bench.short else "short: none")
    return 1 if bench.short else 0


class Bench:
    """The parts, each a table; `record` what was told of every case, `short` what fell short."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.record: dict[str, Any] = {}
        self.short: list[str] = []
        self._console = Console(width=170)

    def atoms(self) -> None:
        """Against relaxed crystals of atoms."""
        if self.options.atoms is None:
            return
        found = self._told("atoms", atomistic(self.options.atoms))
        table = Table("way", "overall", *scores.THREE, "off, voxels", "s", title="relaxed crystals: right of three")
        headings = ("answered", "right of those", "perfect called else", "calibration")
        sure = Table(
            "way", *headings, title=f"of all classes, sure {SURE}; calibration: that of as many calibrated ones"
        )
        for name, some in found.items():
            right = scores.three_class(some)
            off = np.array([one.off for one in some])
            median = f"{np.nanmedian(off):.2f} ({np.isfinite(off).sum()})" if np.isfinite(off).any() else ""
            table.add_row(name, *map(str, right.values()), median, _seconds(some))
            sure.add_row(name, *map(str, [*scores.answered(some, SURE), scores.false_flags(some, SURE)]), _error(some))
            if right["overall"].count:
                weakest = float(np.min([right[one].value for one in scores.THREE]))
                self._at_least(f"atoms, {name}", right["overall"].value, 0.97)
                self._at_least(f"atoms, {name}, weakest", weakest, 0.93)
            if np.isfinite(off).any():
                self._at_most(f"atoms, {name}, off", float(np.nanmedian(off)), 2.0)
            self._judge(f"atoms, {name}", some)
        self._console.print(table)
        self._console.print(sure)
        self._confusion(found)

    def classes(self) -> None:
        """Against simulated crystals of all classes."""
        drawn_and_more = self._told("classes", simulated(self.options.crystals, self.options.each))
        found = {
            name: some[: max(self.options.crystals - self.options.skip, 0)] for name, some in drawn_and_more.items()
        }
        table = Table(
            "way", "all classes", "three", "calibration", "answered", "right of those", "perfect called else",
            "hidden called perfect", "s", title=f"simulated crystals, sure {SURE}",
        )  # fmt: skip
        for name, some in found.items():
            right = scores.share([scores.called([one], 0.0)[0] == one.truth for one in some])
            some_answered, right_of_those = scores.answered(some, SURE)
            hidden = scores.share([call == "perfect" for call in scores.called([p for p in some if p.hidden], 0.0)])
            table.add_row(
                name, str(right), str(scores.three_class(some)["overall"]), _error(some), str(some_answered),
                str(right_of_those), str(scores.false_flags(some, SURE)), str(hidden), _seconds(some),
            )  # fmt: skip
            self._judge(f"classes, {name}", some)
        self._console.print(table)
        self._confusion(drawn_and_more)

    def outside(self) -> None:
        """Against crystals of no class."""
        family = replace(FAMILIES["outside"], flux=BEAMLINE.flux, gap_chance=0.0, mask_chance=0.0)
        found = self._told("outside", itertools.islice(continuum(family), self.options.crystals // 2))
        table = Table("way", "called unknown", title=f"crystals of no class, sure {SURE}")
        for name, some in found.items():
            unknown = scores.share([call == "unknown" for call in scores.called(some, SURE)])
            table.add_row(name, str(unknown))
            self._at_least(f"outside, {name}, unknown", unknown.value, 0.80)
        self._console.print(table)

    def _confusion(self, found: dict[str, list[Told]]) -> None:
        for name, some in found.items():
            matrix = Table(name, *CLASS_NAMES, "right", title="called (columns) what is (rows)")
            for row, counts in zip(CLASS_NAMES, scores.confusion(some), strict=True):
                right = scores.share([call == row for call in scores.called([o for o in some if o.truth == row], 0.0)])
                matrix.add_row(row, *map(str, counts), str(right))
            self._console.print(matrix)

    def curves(self) -> None:
        """Where a measurement is not as it should be."""
        found = curves.curves(self.options.crystals, self.options.inverted)
        for title, rows in found.items():
            table = Table("way", *(f"{value:g}" for value in curves.CHANGED[title].values), title=title)
            for name, shares in rows.items():
                table.add_row(name, *(f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})" for one in shares))
            self._console.print(table)
        self.record["curves"] = found
        if self.options.plot:
            curves.draw(found, self.options.plot)

    def temperature(self) -> None:
        """What makes networks as sure as they are right."""
        self.record["temperature"] = found = temperatures(self.options.crystals)
        self._console.print(", ".join(f"{name} {one:.2f}" for name, one in found.items()))

    def _told(self, title: str, cases: Iterable[Case]) -> dict[str, list[Told]]:
        found: dict[str, list[Told]] = {name: [] for name in self.options.ways}
        for number, case in enumerate(map(ways.filled, itertools.islice(cases, self.options.skip, None)), start=1):
            if "crystal" in found:
                case = ways.with_crystal(case, self.options.inverted)
            for name, some in found.items():
                some.append(ways.told(case, WAYS[name]))
            if number % KEPT_EVERY == 0:
                self._keep(title, found)
        self._keep(title, found)
        return found

    def _keep(self, title: str, found: dict[str, list[Told]]) -> None:
        self.record[title] = {name: [one._asdict() for one in some] for name, some in found.items()}
        if self.options.json:
            self.options.json.write_text(json.dumps(self.record))

    def _judge(self, what: str, some: Sequence[Told]) -> None:
        """Calibration, abstention and false flags against their bars; nothing of no cases, as in a part of a table."""
        if not some:
            return
        some_answered, right_of_those = scores.answered(some, SURE)
        self._at_most(f"{what}, calibration", scores.calibration_error(some), 0.03)
        self._at_least(f"{what}, answered", some_answered.value, 0.85)
        self._at_least(f"{what}, right of those", right_of_those.value, 0.99)
        self._at_most(f"{what}, perfect called else", scores.false_flags(some, SURE).value, 0.02)

    def _at_least(self, what: str, value: float, bar: float) -> None:
        if not value >= bar:
            self.short.append(f"{what}: {value:.3f}, at least {bar}")

    def _at_most(self, what: str, value: float, bar: float) -> None:
        if not value <= bar:
            self.short.append(f"{what}: {value:.3f}, at most {bar}")


def _error(told: Sequence[Told]) -> str:
    return f"{scores.calibration_error(told):.3f} (at least {scores.least_calibration_error(told):.3f})"


def _seconds(told: Sequence[Told]) -> str:
    return f"{np.median([one.seconds for one in told]):.3g}" if told else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
