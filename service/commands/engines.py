"""`braggloop engines`: build an engine of a trained network, and measure it."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch

from models.engine.measure import relative_error, seconds_of
from models.registry import Network
from service.commands.report import Report
from service.compose import checked, engine, network
from service.settings import EngineSettings, Settings

SEED = 0  # of the volumes that engines are measured on
LEAST_RUNS = 3  # a median needs that many


def build_engine(name: str, settings: Settings, report: Report) -> None:
    """Build the engine that `settings.engine` names, run it once and tell what it is."""
    with report.progress() as advance:
        advance("building", 0.0)
        began_s = time.monotonic()
        made = _Made(network(settings.engine, name), settings.engine)
        made.engine.run(made.volumes)
        seconds = time.monotonic() - began_s
    described = dict(made.engine.describe())
    report.table(name, [*described.items(), ("built in", f"{seconds:.1f} s")])
    report.finish({"name": name, **described, "seconds": round(seconds, 3)})


def bench_engine(name: str, settings: Settings, seconds: float, report: Report) -> None:
    """Run the engine on volumes of noise for `seconds`; tell times and the error against float32 on the CPU."""
    with report.progress() as advance:
        advance("building", 0.0)
        made = _Made(network(settings.engine, name), settings.engine)
        error = made.error()
        times_s, began_s = list[float](), time.monotonic()
        while len(times_s) < LEAST_RUNS or time.monotonic() - began_s < seconds:
            times_s.append(seconds_of(lambda: made.engine.run(made.volumes), made.volumes.device))
            advance(f"running, {len(times_s)} times", min(1.0, (time.monotonic() - began_s) / seconds))
    figures = _figures(times_s, len(made.volumes), error)
    described = dict(made.engine.describe())
    report.table(name, [*described.items(), *((key, f"{value:.4g}") for key, value in figures.items())])
    report.finish({"name": name, **described, **figures})


class _Made:
    """An engine with its module and volumes to run it on."""

    def __init__(self, found: Network, settings: EngineSettings) -> None:
        self.module = checked(found)
        self.engine = engine(settings, self.module, found.card.input_shape)
        shape = (settings.largest_batch, *self.engine.takes.shape)
        self.volumes = torch.randn(shape, generator=torch.Generator().manual_seed(SEED)).to(settings.device)

    def error(self) -> float:
        """Return the relative error of the engine's first run against the module in float32."""
        with torch.inference_mode():
            return relative_error(self.engine.run(self.volumes), self.module(self.volumes.cpu()))


def _figures(times_s: list[float], batch: int, error: float) -> dict[str, Any]:
    median_s = statistics.median(times_s)
    return {
        "batch": batch,
        "runs": len(times_s),
        "median_ms": 1e3 * median_s,
        "slowest_ms": 1e3 * max(times_s),
        "volumes_per_s": batch / median_s,
        "relative_error": error,
    }
