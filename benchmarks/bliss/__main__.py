"""Braggloop in a real Bliss session: python -m benchmarks.bliss --lab LAB (made by deploy/bliss/lab.py)

align: the twin's crystal brought into the beam with the session's axes, beside the loop alone on the same crystal from
the same starts, on the twin's clock.
early: a rocking scan of 200 points that ends when its crystal is known well enough, beside a whole one.
cost: what counting a point with all counters of both devices adds to a scan's point.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.align.__main__ import MOST, run
from benchmarks.align.ways import ours
from benchmarks.defects.scores import share
from models.simulate.goniometer import offset
from service.adapters.twin_scene import (
    EXPOSURE_S,
    Scene,
    aligned,
    near,
    plan,
    where_aligned,
)
from service.commands.bliss_demo import run_script
from service.commands.bliss_lab import BLISS, SETTINGS_FILE, BlissLab, running_lab
from service.settings import load_settings

Row = Mapping[str, Any]

SEED = 0  # of the crystal, as the settings of the lab have it by default
PARTS = ("align", "early", "cost")
FIGURES = ("points", "seriesStatus", "explained", "agreement", "rFactor", "resolution", "strainRms", "ended")
MOST_COST_MS = 20.0
SCRIPT = Path(__file__).with_name("session.py")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", type=Path, required=True, help="prefix of the lab")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--starts", type=int, default=50)
    parser.add_argument("--until", default="explained > 0.95, agreement > 0.9", help="of early (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of cost: scans with and without")
    parser.add_argument("--points", type=int, default=50, help="of each scan of cost")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args(arguments)
    parts: dict[str, Callable[[BlissLab, Path], list[Row]]] = {
        "align": lambda lab, folder: align(lab, folder, options.starts),
        "early": lambda lab, _: early(lab, options.until),
        "cost": lambda lab, _: cost(lab, options.rounds, options.points),
    }
    with tempfile.TemporaryDirectory(prefix="braggloop-bench-") as name:
        folder = Path(name)
        settings = load_settings(SETTINGS_FILE, {"out": folder / "out"}, {})
        settings.out.mkdir()
        with running_lab(options.lab.absolute(), BLISS / "beacon", settings, SETTINGS_FILE, folder / "logs") as lab:
            figures = {part: parts[part](lab, folder) for part in options.only}
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    for part, rows in figures.items():
        Console(width=140).print(table(part, rows))
    return 0


def align(lab: BlissLab, folder: Path, starts: int) -> list[Row]:
    """One row of the session, one of the loop alone."""
    began_s = time.monotonic()  # the crystal drifts from about now on
    scenes = [_start(number) for number in range(starts)]
    asked = plan("peak", MOST)
    file = folder / "starts.json"
    file.write_text(json.dumps({
        "starts": [scene.start for scene in scenes],
        "exposure_s": EXPOSURE_S,
        "axes": {name: axis.model_dump(exclude_defaults=True) for name, axis in asked.axes.items()},
        "plan": {"method": asked.method, "most_exposures": MOST, "background": asked.background, "collapse_share": 0.0},
    }))  # fmt: skip
    told = run_script(lab, SCRIPT, "align", str(file), note=print)["found"]
    offs = [offset(scenes[0].goniometer, each["positions"], each["ended_s"] - began_s) for each in told]
    right = [aligned(off) and each["outcome"] == "aligned" for off, each in zip(offs, told, strict=True)]
    seconds = [each["ended_s"] - each["began_s"] for each in told]
    alone = [run(scene, "peak", ours, MOST, told=False) for scene in scenes]
    return [
        _row("in a session", right, [each["exposures"] for each in told], seconds),
        _row("the loop alone", [e.aligned for e in alone], [e.exposures for e in alone], [e.seconds for e in alone]),
    ]


def _start(number: int) -> Scene:
    """A start as far from the crystal's place as that of another one is from its own."""
    crystal, other = near(SEED), near(number)
    place, others = where_aligned(crystal.goniometer), where_aligned(other.goniometer)
    start = {axis: at + other.start[axis] - others[axis] for axis, at in place.items()}
    return crystal._replace(start=start, seed=number)


def _row(way: str, right: Sequence[bool], exposures: Sequence[float], seconds: Sequence[float]) -> Row:
    return {
        "way": way,
        "starts": len(right),
        "aligned": str(share(right)),
        "exposures, median and 95 %": np.percentile(exposures, (50, 95)).round(1).tolist(),
        "seconds, median and 95 %": np.percentile(seconds, (50, 95)).round(1).tolist(),
    }


def early(lab: BlissLab, until: str) -> list[Row]:
    """One row of the whole scan, one of the other."""
    found = run_script(lab, SCRIPT, "early", until, note=print)["found"]
    return [{"scan": name, **{figure: told.get(figure, "") for figure in FIGURES}} for name, told in found.items()]


def cost(lab: BlissLab, rounds: int, points: int) -> list[Row]:
    """Milliseconds a point, medians, and what all counters add to it."""
    found: Mapping[str, list[float]] = run_script(lab, SCRIPT, "cost", str(rounds), str(points), note=print)["found"]
    alone, both = (float(np.median(found[name])) for name in ("alone", "all"))
    return [{"ms a point, one counter": round(alone, 1), "all counters": round(both, 1),
             "added": round(both - alone, 1), "short": both - alone >= MOST_COST_MS}]  # fmt: skip


def table(part: str, rows: Sequence[Row]) -> Table:
    """All of a part's rows."""
    shown = Table(*rows[0], title=part)
    for row in rows:
        shown.add_row(*map(str, row.values()))
    return shown


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
