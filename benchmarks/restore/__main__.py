"""Repair beside its peers: python -m benchmarks.restore [--scan SCAN] [--peers FOLDER]

Inpainting, on crystals of elements that training never saw (64^3, one gap near the peak each, 1e6 counts at the peak):
Pearson's correlation of log1p in the gap, against the noise-free intensity. Rows: our network with its guide, without,
and adapted to each pattern; a network after Masto et al. trained by the same harness, where --peers has it (python -m
benchmarks.train_peers); interpolations of the logarithm, frame by frame; the guide of our network alone, the
crystals of one density that explain what is seen; and an oracle that knows the crystal's
amplitude and begins at its phases. Then the same against counts, as a share of what the noise-free
intensity reaches, at peaks of 1e4 to 1e7; the same on a real scan, over voxels that it knows, as a share of what a
second exposure would reach; how often counts lie within a standard deviation; and what a gap does to the crystal.

Denoising, on crystals of the same kind with 0.1, 1 and 10 counts in the weak feature (1e-5 to 1e-3 of the peak), and on
the scan thinned to a tenth and a hundredth: PSNR of square roots, MS-SSIM of frames, mean of the weak feature over what
is left of the background, and the bias in each decade. Rows: our network as shipped and, from --peers, in each scheme
of training, VDSR and IRUNet; filters of scikit-image after Anscombe, each with the parameter that is best for the
volume.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.bcdi_scan import box_around_peak
from benchmarks.restore import crystals, doubts, gaps, noise, speed
from benchmarks.restore.gaps import BARS, KINDS, WIDTHS, Case, Fill, Scores
from benchmarks.restore.peers import PAIRS, SCHEMED
from models import registry
from models.denoise.predict import NAME as DENOISER
from models.denoise.predict import item_shape
from models.engine.port import Engine
from models.engine.torch import TorchEngine
from models.inpaint.predict import BATCH, ITEM, NAME
from service.repair import MOST_UNSURE
from service.settings import RepairSettings

PEAK = 1e6
PEAKS = (1e4, 1e5, 1e6, 1e7)
SCAN_SIZE = 64
TRAINED = Path(__file__).parent / "trained"
COVERAGE = (0.63, 0.73)
PARTS = ("gaps", "counts", "scan", "coverage", "doubt", "crystal", "noise", "thin", "speed")
BETTER_DB, LEAST_BIAS = 2.0, 0.02  # bars of the denoiser
SHARES = (0.1, 0.01)  # of the scan's exposure


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scan", type=Path, help="a recorded scan; without one nothing is told of real data")
    parser.add_argument(
        "--peers", type=Path, default=TRAINED, help="folder of peers (default: those that come with it)"
    )
    parser.add_argument("--crystals", type=int, default=50, help="simulated crystals a row (default 50)")
    parser.add_argument("--positions", type=int, default=20, help="of gaps on the scan (default 20)")
    parser.add_argument(
        "--adapt", type=float, default=0.0, help="seconds of adaptation to each pattern (default: none)"
    )
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS, help="parts (default: all)")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args(arguments)
    if not options.peers.is_dir():
        parser.error(f"--peers: {options.peers} is no folder")
    began_s = time.monotonic()
    bench = Bench(options)
    for part in options.only:
        getattr(bench, part)()
    if options.json:
        options.json.write_text(json.dumps(bench.record, indent=1))
    took_s = time.monotonic() - began_s
    print(f"{took_s:.0f} s, {torch.get_num_threads()} threads; short of a bar: {bench.short or 'none'}")
    return 1 if bench.short else 0


class Bench:
    """The parts, each a table; `record` the figures, `short` what fell short."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.record: dict[str, Any] = {}
        self.short: list[str] = []
        self.engine: Engine = TorchEngine(registry.build(registry.network(NAME)), ITEM, batch=(1, BATCH))
        self._console = Console(width=150)

    def gaps(self) -> None:
        """Against the noise-free intensity."""
        found = self._each(lambda width, kind: gaps.simulated(PEAK, self.options.crystals, width, kind), oracle=True)
        self._show("Pearson of log1p against the noise-free intensity, peak 1e6", found, _truth)
        for (width, kind), rows in found.items():
            ours = float(np.mean(rows["ours"].truth))
            self._hold(f"gap {width} px {kind}: {ours:.4f} below {BARS[width]}", ours >= BARS[width])
            best = max((np.mean(s.truth), name) for name, s in rows.items() if not name.startswith(("ours", "oracle")))
            self._hold(f"gap {width} px {kind}: below {best[1]}, {best[0]:.4f}", ours > best[0])

    def counts(self) -> None:
        """Against counts, as a share of the ceiling that noise sets."""
        for peak in PEAKS:
            found = self._each(lambda width, kind, peak=peak: gaps.simulated(peak, self.options.crystals, width, kind))
            self._show(f"Pearson against counts as a share of the ceiling, peak {peak:.0e}", found, _share)

    def scan(self) -> None:
        """Over known voxels of a real scan."""
        if self.options.scan is None:
            return
        positions = self.options.positions
        found = self._each(lambda width, kind: gaps.recorded(self.options.scan, SCAN_SIZE, width, kind, positions))
        self._show(f"{self.options.scan.name}: share of the ceiling, {positions} positions", found, _share)
        for (width, kind), rows in found.items():
            best = max((scores.share, name) for name, scores in rows.items() if not name.startswith("ours"))
            ours = rows["ours"].share
            self._hold(f"scan {width} px {kind}: {ours:.4f} below {best[1]}, {best[0]:.4f}", ours > best[0])

    def coverage(self) -> None:
        """How true the standard deviations are."""
        table = Table("gap", "within one sigma, 10 counts or more", "PIT below: mean", "deciles of the PIT")
        for width in WIDTHS:
            cases = gaps.simulated(PEAK, self.options.crystals, width, "line")
            share, transforms = gaps.calibration(cases, self.engine)
            deciles = np.histogram(transforms, 10, (0.0, 1.0))[0] / max(len(transforms), 1)
            table.add_row(
                f"{width} px", f"{share:.3f}", f"{transforms.mean():.3f}", " ".join(f"{d:.3f}" for d in deciles)
            )
            self.record[f"coverage {width}"] = {"within": share, "pit deciles": deciles.tolist()}
            self._hold(f"coverage {width} px: {share:.3f}", COVERAGE[0] <= share <= COVERAGE[1])
        self._console.print(table)

    def doubt(self) -> None:
        """When a filling is doubted, and whether rightly."""
        limit = RepairSettings().doubt_above
        table = Table(
            "pattern",
            "its own test, sigma",
            "missed in the gap, sigma",
            "off by, told",
            "off by, really",
            f"doubted (above {limit:g}, or told to be off by more than {MOST_UNSURE:.0%})",
        )
        for name, cases in doubts.kinds(self.options.crystals).items():
            found = doubts.judged(cases, self.engine)
            columns = dict(zip(doubts.Judged._fields, zip(*found, strict=True), strict=True))
            times = sum(one.doubted(limit) for one in found)
            table.add_row(name, *map(_spread, columns.values()), f"{times} of {len(found)}")
            self.record[f"doubt {name}"] = columns
        self._console.print(table)

    def crystal(self) -> None:
        """What a gap does to the reconstruction."""
        width, kind = 6, "cross"
        simulated = gaps.simulated(PEAK, self.options.crystals, width, kind)
        self._errors(
            f"Crystals, {width} px {kind}, against what was simulated",
            crystals.errors_of(simulated, self.engine, crystals.simulated_reference),
        )
        if self.options.scan is not None:
            recorded = gaps.recorded(self.options.scan, SCAN_SIZE, width, kind, self.options.positions)
            self._errors(
                f"{self.options.scan.name}, {width} px {kind}, against itself without a gap",
                crystals.errors_of(recorded, self.engine, crystals.recorded_reference),
            )

    def noise(self) -> None:
        """Against the noise-free counts."""
        for kind in ("poisson", "gaussian"):
            for mean in noise.MEANS:
                exposures = noise.exposures(mean, self.options.crystals, kind)
                found = noise.scored(exposures, self._denoisers((gaps.EDGE_VOXELS,) * 3))
                self._show_noise(f"{kind} noise, {mean:g} counts in the weak feature", found)
                if kind == "poisson":
                    best = max((np.mean(found[name].psnr), name) for name in noise.FILTERS)
                    ours = float(np.mean(found["ours"].psnr))
                    what = f"noise {mean:g}: {ours:.2f} dB, {best[1]} {best[0]:.2f} dB"
                    self._hold(what, ours >= best[0] + BETTER_DB)
                    worst = float(np.nanmax(np.abs(found["ours"].bias)))
                    self._hold(f"noise {mean:g}: bias {worst:.1%}", worst < LEAST_BIAS)

    def thin(self) -> None:
        """On a real scan of which photons were taken away."""
        if self.options.scan is None:
            return
        counts = box_around_peak(self.options.scan, SCAN_SIZE).counts
        for share in SHARES:
            found = noise.scored(iter([noise.thinned(counts, share)]), self._denoisers(counts.shape))
            self._show_noise(f"{self.options.scan.name} thinned to {share:g}, against all of its counts", found)
            best = max((scores.psnr[0], name) for name, scores in found.items() if not name.startswith("ours"))
            ours = found["ours"].psnr[0]
            self._hold(f"thinned to {share:g}: {ours:.2f} dB, {best[1]} {best[0]:.2f} dB", ours > best[0])

    def _denoisers(self, shape: tuple[int, ...]) -> dict[str, noise.Told]:
        shipped = TorchEngine(registry.build(registry.network(DENOISER)), item_shape(shape))
        rows = {"ours": noise.network(shipped)}
        for folder in sorted(self.options.peers.glob("*")):
            if folder.name != "masto":
                name = f"ours, {folder.name}" if folder.name in (*SCHEMED, PAIRS) else folder.name
                rows[name] = noise.network(gaps.peer(folder, item_shape(shape)))
        return {**rows, **noise.filters()}

    def _show_noise(self, title: str, found: Mapping[str, noise.Scores]) -> None:
        decades = [f"bias from {low:g}" for low in noise.DECADES[:-1]]
        table = Table("row", "PSNR, dB", "MS-SSIM", "signal over background", *decades, title=title)
        for name, scores in found.items():
            figures = [float(np.mean(values)) for values in (scores.psnr, scores.ms_ssim, scores.signal)]
            table.add_row(name, *(f"{figure:.4g}" for figure in figures), *(f"{bias:+.1%}" for bias in scores.bias))
            self.record.setdefault(title, {})[name] = [*figures, *scores.bias.tolist()]
        self._console.print(table)

    def speed(self) -> None:
        """Seconds of a volume and of a frame, beside phase retrieval of the same volume."""
        table = Table(
            "pattern", "inpainting, s", "no guide, s", "denoising, s", "phase retrieval, s", "shares of the whole"
        )
        for name, taken in speed.figures(self.engine).items():
            whole = [f"{seconds / (seconds + taken.inverting):.0%}" for seconds in taken[:3]]
            shares = " / ".join(whole) if np.isfinite(taken.inverting) else "-"
            table.add_row(name, *(f"{seconds:.3g}" for seconds in taken), shares)
            self.record[f"speed {name}"] = taken._asdict()
        self._console.print(table)

    def _each(
        self, cases: Callable[[int, str], Iterator[Case]], oracle: bool = False
    ) -> dict[tuple[int, str], dict[str, Scores]]:
        rows = self._rows()
        return {(width, kind): gaps.scored(cases(width, kind), rows, oracle) for width in WIDTHS for kind in KINDS}

    def _rows(self) -> Mapping[str, Fill]:
        rows: dict[str, Fill] = {
            "ours": gaps.network(self.engine, True),
            "ours, no guide": gaps.network(self.engine, False),
        }
        if self.options.adapt:
            rows["ours, adapted"] = gaps.adapting(self.options.adapt)
        if (self.options.peers / "masto").exists():
            rows["Masto-style"] = gaps.network(gaps.peer(self.options.peers / "masto"), False)
        else:
            self._hold("no network after Masto et al. in --peers", False)
        return {**rows, **gaps.INTERPOLATIONS, "guide": gaps.guided}

    def _show(
        self, title: str, found: Mapping[tuple[int, str], Mapping[str, Scores]], told: Callable[[Scores], str]
    ) -> None:
        table = Table("row", *(f"{width} px {kind}" for width, kind in found), title=title)
        for name in next(iter(found.values())):
            table.add_row(name, *(told(rows[name]) for rows in found.values()))
        self._console.print(table)
        self.record[title] = {
            f"{width} {kind}": {
                name: {
                    "truth": float(np.mean(scores.truth or [np.nan])),
                    "share": scores.share,
                    "s": float(np.mean(scores.seconds)),
                }
                for name, scores in rows.items()
            }
            for (width, kind), rows in found.items()
        }

    def _errors(self, title: str, found: Mapping[str, Sequence[crystals.Errors]]) -> None:
        table = Table("gap", *(f"{name} (rms, {unit})" for name, unit in crystals.UNITS.items()), title=title)
        for name, errors in found.items():
            columns = list(zip(*errors, strict=True))
            table.add_row(
                name, *(f"{np.mean(c):.4f} ({'{:.4f} to {:.4f}'.format(*gaps.interval(list(c)))})" for c in columns)
            )
            self.record.setdefault(title, {})[name] = [float(np.mean(column)) for column in columns]
        self._console.print(table)

    def _hold(self, what: str, held: bool) -> None:
        if not held:
            self.short.append(what)


def _truth(scores: Scores) -> str:
    low, high = gaps.interval(scores.truth)
    return f"{np.mean(scores.truth):.4f} ({low:.3f} to {high:.3f})"


def _spread(values: Sequence[float]) -> str:
    """Median and the range of nine in ten."""
    low, middle, high = np.nanquantile(values, (0.05, 0.5, 0.95))
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def _share(scores: Scores) -> str:
    return f"{scores.share:.4f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
