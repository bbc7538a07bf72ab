"""A network that trains in a blink, a clock that ticks when it is read, and real training runs that are killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import mse_loss

from models.simulate.scenes import Scenes
from models.training.checkpoint import read_checkpoint
from models.training.curve import Point, read_curve
from models.training.run import CHECKPOINT, CURVE
from models.training.task import Examples, Task

TICK_S = 0.25  # a power of two: sums of ticks are exact
PATIENCE_S = 120.0
LOG = "train.log"


def build() -> nn.Module:
    return nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.SiLU(), nn.Dropout(0.1), nn.Conv3d(4, 1, 3, padding=1))


def examples(scenes: Scenes, _: Generator) -> Examples:
    counts, expected = (volume.log1p()[:, None] for volume in (scenes.counts, scenes.expected))
    return Examples(inputs=counts, targets=expected, weights=torch.ones_like(expected))


def loss(outputs: Tensor, examples: Examples) -> Tensor:
    return mse_loss(outputs, examples.targets)


def metrics(outputs: Tensor, examples: Examples) -> Mapping[str, Tensor]:
    return {"error": (outputs - examples.targets).abs().mean((1, 2, 3, 4))}


TINY = Task(
    name="tiny",
    summary="A network for tests",
    build=build,
    examples=examples,
    loss=loss,
    metrics=metrics,
    edge=16,
    multiple=1,
    batch=2,
    tested_on=("train", "detectors"),
)


class TickingClock:
    """Goes on by a tick at each look."""

    def __init__(self) -> None:
        self._ticks = 0

    def __call__(self) -> float:
        self._ticks += 1
        return self._ticks * TICK_S


@dataclass(frozen=True, slots=True)
class Kill:
    """What a killed training left: the step of its checkpoint, the points of its curve, and what is wrong."""

    checkpoint_step: int
    points: tuple[Point, ...]
    fault: str


def train_with_kills(out: Path, kills: int, seed: int, latest_s: float, options: list[str]) -> list[Kill]:
    """Run `braggloop train denoise`, kill it (SIGKILL) `kills` times, then let it end.

    Each kill comes at a random moment, `latest_s` after the run's first point of the curve at the latest.
    """
    moments, told = random.Random(seed), list[Kill]()
    folder = out / "denoise"
    for _ in range(kills):
        child, begun = _start(out, options), len(_points(folder))
        _wait_for_new_points(child, folder, begun)
        time.sleep(moments.uniform(0.0, latest_s))
        child.kill()
        assert child.wait() == -signal.SIGKILL, f"it ended before it was killed: {(out / LOG).read_text()}"
        told.append(_stock(folder, told[-1].checkpoint_step if told else 0))
    assert _start(out, options).wait() == 0, (out / LOG).read_text()
    return told


def _start(out: Path, options: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "service.cli", "train", "denoise", "--out", str(out), *options]
    with (out / LOG).open("ab") as log:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)


def _wait_for_new_points(child: subprocess.Popen[bytes], folder: Path, begun: int) -> None:
    """Wait until it has trained: a resumed run first forgets the points after its checkpoint."""
    until_s, fewest = time.monotonic() + PATIENCE_S, begun
    while (now := len(_points(folder))) <= fewest:
        fewest = min(fewest, now)
        assert child.poll() is None, (folder.parent / LOG).read_text()
        assert time.monotonic() < until_s, "no point of the curve in time"
        time.sleep(0.05)


def _points(folder: Path) -> list[Point]:
    return read_curve(folder / CURVE)


def _stock(folder: Path, step_before: int) -> Kill:
    step = read_checkpoint(folder / CHECKPOINT)["step"] if (folder / CHECKPOINT).exists() else 0
    points = tuple(_points(folder))
    steps = [point.step for point in points]
    faults = {
        "the curve has a half line": not (folder / CURVE).read_bytes().endswith(b"\n"),
        "the steps of the curve do not rise": steps != sorted(set(steps)),
        f"the checkpoint fell from step {step_before} to {step}": step < step_before,
        "the checkpoint is ahead of the curve": step > steps[-1],
    }
    return Kill(step, points, "; ".join(fault for fault, found in faults.items() if found))
