"""How fast is the training ground? python -m benchmarks.simulate [--device cuda]

Volumes a second of whole scenes (crystal, defect, measurement) and what their parts take, at 32^3, 64^3 and 128^3, and
the share of a training step of a U-Net of 1.4 million parameters that is spent in simulation: at most a quarter, or
the exit code is 1. The
step is forward, backward and optimiser on the batch that was simulated, channels last, in bf16 where the device
computes in it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table

from models.engine.measure import seconds_of
from models.engine.precision import chosen_precision
from models.simulate.draws import seeded
from models.simulate.families import FAMILIES
from models.simulate.scenes import measured, random_scenes
from models.simulate.specimens import random_specimens
from models.unet import UNet

# Volumes a batch by edge; a GPU needs more to be busy, and has room for them.
BATCHES = {"cpu": {32: 8, 64: 4, 128: 1}, "cuda": {32: 256, 64: 64, 128: 8}}
BAR = 0.25
T = TypeVar("T")
Row = dict[str, float]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=tuple(BATCHES))
    parser.add_argument("--rounds", type=int, default=12, help="of each step, medians are told")
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--plot", type=Path, help="bars, PNG; without it, beside the JSON under the same name")
    options = parser.parse_args(arguments)
    sizes = track(BATCHES[options.device].items(), "simulating", console=Console(stderr=True))
    rows = {edge: measure(edge, batch, options.device, options.rounds) for edge, batch in sizes}
    Console(width=140).print(_table(rows, options.device))
    if options.json:
        options.json.write_text(json.dumps({"device": options.device, "sizes": rows}, indent=1))
    plot = options.plot or (options.json and options.json.with_suffix(".png"))
    if plot:
        write_plot(rows, plot)
    return verdict(rows)


def verdict(rows: dict[int, Row]) -> int:
    """Return the exit code: 1 where simulation takes more of a step than the bar allows."""
    return int(any(row["share of the step"] > BAR for row in rows.values()))


def measure(edge: int, batch: int, device: str, rounds: int) -> Row:
    """Time specimens, their measurement and a training step in turn; seconds a batch, medians of `rounds`."""
    family, shape = FAMILIES["train"], (edge,) * 3
    generator = seeded(edge, device)
    step = training_step(device)
    spent: dict[str, list[float]] = {"specimens": [], "measurement": [], "step": []}
    for _ in range(rounds + 2):
        specimens, seconds = timed(lambda: random_specimens(generator, family, batch, shape), device)
        spent["specimens"].append(seconds)
        scenes, seconds = timed(lambda made=specimens: measured(generator, family, made), device)
        spent["measurement"].append(seconds)
        spent["step"].append(timed(lambda made=scenes: step(made.counts, made.expected), device)[1])
    medians = {name: statistics.median(seconds[2:]) for name, seconds in spent.items()}
    simulation = medians["specimens"] + medians["measurement"]
    together = timed(lambda: [random_scenes(generator, family, batch, shape) for _ in range(rounds)], device)[1]
    return {
        "batch": batch,
        **medians,
        "volumes a second": batch * rounds / together,
        "share of the step": simulation / (simulation + medians["step"]),
    }


def training_step(device: str) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """Return one step of training on counts and expected photons, float32 (batch, z, y, x)."""
    torch.manual_seed(0)
    precision = chosen_precision("auto", torch.device(device))
    network = UNet().to(device, memory_format=torch.channels_last_3d)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)

    def step(counts: torch.Tensor, expected: torch.Tensor) -> None:
        inputs = counts.log1p()[:, None].to(memory_format=torch.channels_last_3d)
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            loss = (network(inputs)[:, 0] - expected.log1p()).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def timed(work: Callable[[], T], device: str) -> tuple[T, float]:
    """Return what `work` returns and its seconds, the device waited for."""
    made: list[T] = []
    seconds = seconds_of(lambda: made.append(work()), torch.device(device))
    return made[0], seconds


def _table(rows: dict[int, Row], device: str) -> Table:
    table = Table(
        "size", "batch", "specimens", "measurement", "training step", "volumes a second", "share", title=device
    )
    for edge, row in rows.items():
        ms = (f"{1000 * row[name]:.1f} ms" for name in ("specimens", "measurement", "step"))
        share = row["share of the step"]
        told = f"{share:.3f}" + ("" if share <= BAR else ", over the bar")
        table.add_row(f"{edge}^3", f"{row['batch']}", *ms, f"{row['volumes a second']:.1f}", told)
    return table


def write_plot(rows: dict[int, Row], path: Path) -> None:
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    panel = figure.subplots()
    left = [0.0] * len(rows)
    for name in ("specimens", "measurement", "step"):
        whole = [row["specimens"] + row["measurement"] + row["step"] for row in rows.values()]
        widths = [row[name] / all_ for row, all_ in zip(rows.values(), whole, strict=True)]
        panel.barh([f"{edge}^3" for edge in rows], widths, left=left, label=name)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    panel.axvline(BAR, color="black", linestyle="--", linewidth=1)
    panel.set(xlabel="share of a training step", xlim=(0, 1))
    panel.legend(loc="lower right")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
