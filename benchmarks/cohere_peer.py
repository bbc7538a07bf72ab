"""Runs cohere-core on one volume, in an interpreter that has it: the peer's half of benchmarks/phasing.py.

    python benchmarks/cohere_peer.py AMPLITUDE.npy OUT.npz SEED [SEED ...]

AMPLITUDE.npy holds the square root of the counts, float32 [z, y, x], peak at index n // 2. For each seed the recipe of
cohere's own example of this scan runs once (torch back end, CPU). OUT.npz gets `objects` (complex64 [n, z, y, x], array
order, as cohere's iteration ends), `support` (bool) and `seconds` [n] from reading the file to the last iteration.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

RECIPE: dict[str, Any] = {
    "processing": "torch",
    "device": [-1],
    "algorithm_sequence": "3*(20*ER+180*HIO)+20*ER",
    "hio_beta": 0.9,
    "initial_support_area": (0.5, 0.5, 0.5),
    "shrink_wrap_trigger": [1, 1],
    "shrink_wrap_type": "GAUSS",
    "shrink_wrap_threshold": 0.1,
    "shrink_wrap_gauss_sigma": 1.0,
    "twin_trigger": [2],
    "twin_halves": [0, 0],
}


def main(amplitude: Path, out: Path, seeds: list[int]) -> None:
    os.chdir(tempfile.mkdtemp())  # cohere leaves files where it runs
    with contextlib.redirect_stdout(sys.stderr):
        from cohere_core.controller import phasing

        runs = [one_run(phasing, amplitude, seed) for seed in seeds]
    objects, supports, seconds = zip(*runs, strict=True)
    np.savez(out, objects=np.stack(objects), support=np.stack(supports), seconds=np.array(seconds))


def one_run(phasing: Any, amplitude: Path, seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    torch.manual_seed(seed)
    started = time.perf_counter()
    worker = phasing.create_rec(dict(RECIPE), str(amplitude), "torch", -1, debug=True)
    if worker is None or worker.iterate() != 0:
        raise RuntimeError(f"cohere gave up with seed {seed}")
    seconds = time.perf_counter() - started
    # cohere goes to reciprocal space with the inverse transform: conjugated, its object follows our convention
    image = np.conj(np.asarray(worker.get_image().numpy(), dtype=np.complex64))
    return image, np.asarray(worker.get_support().numpy()) > 0, seconds


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), [int(text) for text in sys.argv[3:]])
