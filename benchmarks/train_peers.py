"""Trains the peers of a benchmark, each for the same minutes: python -m benchmarks.train_peers restore|invert FOLDER"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.invert import peers as inversion
from benchmarks.restore import peers as repair
from models.cards import load_weights, read_card, save_weights, write_card
from models.training.run import CHECKPOINT, Plan, Run

BENCHMARKS = {
    "restore": dict.fromkeys(sorted((*repair.PEERS, repair.PAIRS)), repair.peer_task),
    "invert": {name: lambda name, _: inversion.PEERS[name] for name in inversion.PEERS},
}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", choices=BENCHMARKS)
    parser.add_argument("folder", type=Path, help="where to; a run that was killed goes on")
    parser.add_argument("--minutes", type=float, default=50.0, help="of each (default 50)")
    parser.add_argument("--only", nargs="*", help="names of peers (default: all)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--ship", type=Path, help="also write cards and weights there, as benchmarks/BENCHMARK/trained has"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    tasks = BENCHMARKS[options.benchmark]
    unknown = set(options.only or ()) - set(tasks)
    if unknown:
        parser.error(f"no peer is called {', '.join(sorted(unknown))}: expected some of {', '.join(tasks)}")
    for name in options.only or tasks:
        folder = options.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        run = Run(tasks[name](name, folder), Plan(folder=folder, minutes=options.minutes))
        if (folder / CHECKPOINT).exists():
            run.resume()
        else:
            run.begin()
        card = run.train(lambda what, share: print(f"{share:4.0%} {what}", end="\r", flush=True))
        print(f"{name}: {card.steps} steps, {card.metrics}")
        if options.ship:
            ship(folder, options.ship / name)
    return 0


def ship(trained: Path, folder: Path) -> None:
    """Write card and weights of a peer into `folder`, the weights in half precision: small enough to be kept."""
    folder.mkdir(parents=True, exist_ok=True)
    halved = save_weights(folder, {name: weight.half() for name, weight in load_weights(trained).items()})
    write_card(folder, dataclasses.replace(read_card(trained), sha256=halved))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
