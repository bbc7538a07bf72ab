"""How fast engines run a 3D U-Net, and how far from the machine's limit: python -m benchmarks.engines [--device cuda]

eager       torch as anybody would call it, channels in torch's own order; float32 is not TF32, as in the engines
torch       the torch engine (channels last; CUDA graphs on a GPU)
tensorrt    the TensorRT engine

The limit is what binds: the multiplications over the rate of a large matrix product, or the bytes over the rate of a
large copy, both measured in the same rounds. Every round runs all of them in turn; figures are medians over rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models.engine.measure import relative_error, seconds_of
from models.engine.precision import DTYPES, Precise, Precision, precisions
from models.engine.tensorrt import TensorRTEngine
from models.engine.torch import TorchEngine
from models.unet import UNet

MATRIX = {"cpu": 2048, "cuda": 8192}  # edge of the matrix product: long enough to reach the peak, short enough to wait
COPIED = {"cpu": 256_000_000, "cuda": 1_000_000_000}  # bytes, beyond any cache
CALLS = {"cpu": 1, "cuda": 20}  # timed together: the clock and the synchronisation must not count
Work = Callable[[], object]
P, T = ParamSpec("P"), TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to run the network: an engine's name, its precision, and the call."""

    name: str
    precision: Precision
    run: Callable[[Tensor], Tensor]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--edge", type=int, default=64, help="of the volumes, voxels")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--plot", type=Path, help="PNG; without it, beside the JSON under the same name")
    options = parser.parse_args(arguments)
    found = measure(options.device, options.edge, options.batch, options.rounds)
    Console(width=150).print(_table(found))
    for note in found["notes"]:
        print(note)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    plot = options.plot or (options.json and options.json.with_suffix(".png"))
    if plot:
        write_plot(found, plot)
    return 0


def measure(device: str, edge: int, batch: int, rounds: int) -> dict[str, Any]:
    """Return machine, peaks, notes on what could not run, and a row of figures for each variant."""
    torch.manual_seed(0)
    module, volumes = UNet().eval(), torch.randn(batch, 1, edge, edge, edge)
    with torch.inference_mode():
        expected = module(volumes)
    volumes = volumes.to(device)
    variants, notes = _variants(module, volumes)
    known = precisions(volumes.device)
    works: dict[str, Work] = {_label(variant): _called(variant.run, volumes) for variant in variants}
    works |= {"copy": _copy(device)} | {f"matmul {precision}": _product(device, precision) for precision in known}
    times_s = in_turn(works, volumes.device, rounds)
    peaks = {
        "bytes_per_s": 2 * COPIED[device] / statistics.median(times_s["copy"]),
        **{name: 2 * MATRIX[device] ** 3 / statistics.median(times_s[f"matmul {name}"]) for name in known},
    }
    rows = [
        {
            "name": variant.name,
            "precision": variant.precision,
            "ms": [1e3 * seconds for seconds in times_s[_label(variant)]],
            "relative_error": relative_error(variant.run(volumes), expected),
            **limit(module, volumes, variant.precision, peaks),
        }
        for variant in variants
    ]
    return {"machine": _machine(device), "volumes": list(volumes.shape), "peaks": peaks, "rows": rows, "notes": notes}


def in_turn(works: dict[str, Work], device: torch.device, rounds: int) -> dict[str, list[float]]:
    """Return seconds of one call of each, `rounds` of them; a first round warms up and does not count."""
    times_s: dict[str, list[float]] = {name: [] for name in works}
    calls = CALLS[device.type]
    with torch.inference_mode():
        for number in range(rounds + 1):
            for name, work in works.items():
                seconds = seconds_of(lambda work=work: [work() for _ in range(calls)], device)  # type: ignore[misc]
                if number:
                    times_s[name].append(seconds / calls)
    return times_s


def limit(module: nn.Module, volumes: Tensor, precision: Precision, peaks: dict[str, float]) -> dict[str, Any]:
    """Return operations, bytes and the shortest time that the peaks allow, and which of the two binds."""
    operations, moved = work_of(module, volumes, DTYPES[precision].itemsize)
    seconds = {"arithmetic": operations / peaks[precision], "bandwidth": moved / peaks["bytes_per_s"]}
    binds = max(seconds, key=lambda name: seconds[name])
    return {"operations": operations, "bytes": moved, "limit_ms": 1e3 * seconds[binds], "binds": binds}


def work_of(module: nn.Module, volumes: Tensor, itemsize: int) -> tuple[int, int]:
    """Return additions and multiplications, and the bytes that layers must move: each reads its input and its weights
    once and writes its result once, at `itemsize` bytes; a norm and what follows it are one layer, joins are free.
    """
    moved = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], result: Tensor) -> None:
        nonlocal moved
        moved += inputs[0].numel() + result.numel() + sum(weight.numel() for weight in layer.parameters())

    kinds = (nn.Conv3d, nn.ConvTranspose3d, nn.GroupNorm)
    hooks = [layer.register_forward_hook(count) for layer in module.modules() if isinstance(layer, kinds)]
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        module(volumes.cpu())
    for hook in hooks:
        hook.remove()
    return counter.get_total_flops(), moved * itemsize


def _variants(module: nn.Module, volumes: Tensor) -> tuple[list[Variant], list[str]]:
    device, shape, batch = volumes.device.type, tuple(volumes.shape[1:]), (len(volumes), len(volumes))
    variants, notes = [], []
    known = precisions(volumes.device)
    for precision in DTYPES:
        if precision not in known:
            notes.append(f"this {device} does not compute in {precision}")
            continue
        eager = without_tf32(Precise(module, precision).to(device))
        variants.append(Variant(name="eager", precision=precision, run=eager))
        engine = TorchEngine(module, shape, batch=batch, precision=precision, device=device)
        variants.append(Variant(name="torch", precision=precision, run=engine.run))
        if device == "cuda":
            try:
                cache = Path(tempfile.gettempdir()) / "braggloop-engines"
                fast = TensorRTEngine(module, shape, batch=batch, precision=precision, cache=cache)
                fast.run(volumes)
                variants.append(Variant(name="tensorrt", precision=precision, run=fast.run))
            except ValueError as error:  # a GPU that TensorRT refuses is a result too
                notes.append(f"tensorrt {precision}: {error}")
    return variants, notes


def _called(run: Callable[[Tensor], Tensor], volumes: Tensor) -> Work:
    return lambda: run(volumes)


def _copy(device: str) -> Work:
    source = torch.ones(COPIED[device] // 4, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def _product(device: str, precision: Precision) -> Work:
    edge = MATRIX[device]
    left, right = torch.randn(2, edge, edge, device=device).to(DTYPES[precision]).unbind()
    return without_tf32(lambda: left @ right)


def without_tf32(work: Callable[P, T]) -> Callable[P, T]:
    """Return `work` with the float32 of the engines in cuDNN; matrix products are not TF32 unless one asks for it."""

    def run(*given: P.args, **named: P.kwargs) -> T:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return work(*given, **named)

    return run


def _label(variant: Variant) -> str:
    return f"{variant.name} {variant.precision}"


def _machine(device: str) -> str:
    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    instructions = torch.backends.cpu.get_cpu_capability()
    return f"CPU, {instructions}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _table(found: dict[str, Any]) -> Table:
    table = Table(title=f"{found['machine']}: {'x'.join(map(str, found['volumes']))}\n{_peaks(found['peaks'])}")
    columns = ("engine", "precision", "ms (range)", "times eager fp32", "error", "GFLOP/s", "GB/s", "limit ms", "share")
    for column in columns:
        table.add_column(column, justify="left" if column in columns[:2] else "right")
    slowest_ms = statistics.median(found["rows"][0]["ms"])
    for row in found["rows"]:
        ms = statistics.median(row["ms"])
        table.add_row(
            row["name"], row["precision"], f"{ms:.3g} ({min(row['ms']):.3g} .. {max(row['ms']):.3g})",
            f"{slowest_ms / ms:.2f}", f"{row['relative_error']:.1e}", f"{row['operations'] / ms / 1e6:,.0f}",
            f"{row['bytes'] / ms / 1e6:,.1f}", f"{row['limit_ms']:.3g}",
            f"{row['limit_ms'] / ms:.2f} of {row['binds']}",
        )  # fmt: skip
    return table


def _peaks(peaks: dict[str, float]) -> str:
    products = ", ".join(f"{name} {rate / 1e9:,.0f} GFLOP/s" for name, rate in peaks.items() if name in DTYPES)
    return f"copy {peaks['bytes_per_s'] / 1e9:,.1f} GB/s; matrix product {products}"


def write_plot(found: dict[str, Any], path: Path) -> None:
    """Write the time of each variant beside the shortest that the machine allows."""
    rows = found["rows"]
    names = [f"{row['name']}\n{row['precision']}" for row in rows]
    figure = Figure(figsize=(5 + 0.8 * len(rows), 4), layout="constrained")
    panel = figure.subplots()
    medians = [statistics.median(row["ms"]) for row in rows]
    spread = [[m - min(r["ms"]) for m, r in zip(medians, rows, strict=True)],
              [max(r["ms"]) - m for m, r in zip(medians, rows, strict=True)]]  # fmt: skip
    panel.bar(names, medians, yerr=spread, color="C0", label="median of rounds, range")
    panel.bar(names, [row["limit_ms"] for row in rows], color="C1", width=0.4, label="limit of arithmetic or bandwidth")
    panel.set(ylabel="ms a batch", title=f"U-Net on {'x'.join(map(str, found['volumes']))}\n{found['machine']}")
    panel.legend(fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
