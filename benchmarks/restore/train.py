"""Trains the peers of benchmarks.restore, each for the same minutes: python -m benchmarks.restore.train FOLDER"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.restore.peers import PAIRS, PEERS, peer_task
from models.cards import load_weights, read_card, save_weights, write_card
from models.training.run import CHECKPOINT, Plan, Run

NAMES = sorted((*PEERS, PAIRS))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where to; a run that was killed goes on")
    parser.add_argument("--minutes", type=float, default=50.0, help="of each (default 50)")
    parser.add_argument("--only", nargs="*", choices=NAMES, default=NAMES)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--ship", type=Path, help="also write cards and weights there, as benchmarks/restore/trained has"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    for name in options.only:
        folder = options.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        run = Run(peer_task(name, folder), Plan(folder=folder, minutes=options.minutes))
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
