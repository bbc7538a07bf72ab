"""Measured pairs of a short and a long exposure of the same frames, from an HDF5 file, as something to learn from.

The file holds `low_count` and `high_count` [frame, row, column], their attribute `count_time_s`, and, where there is
one, `mask` [row, column], True is good. No measured pair of a Bragg peak is public; `simulate` writes pairs with what
sets measured ones apart: the sample drifts between the exposures, the beam flickers, pixels count with efficiencies of
their own.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Generator, Tensor

from models.denoise.network import encoded
from models.denoise.train import TASK
from models.files import written_whole
from models.simulate.draws import normal, seeded, uniform
from models.simulate.families import family
from models.simulate.scenes import Scenes, random_scenes
from models.training.task import Examples, Task

LOW, HIGH, MASK, SECONDS = "low_count", "high_count", "mask", "count_time_s"
# As at P21.1 of PETRA III (Oppliger et al. 2024).
LOW_S, HIGH_S = 2.0, 21.0
# Root of the mean square of the drift between the exposures, voxels; of the beam, and of the pixels' efficiencies.
DRIFT_VOXELS, FLICKER, EFFICIENCY = 0.15, 0.03, 0.02


class Pairs:
    """Crops of the pairs in a file, drawn at random. Raises ValueError in one line where it holds none."""

    def __init__(self, path: Path) -> None:
        try:
            with h5py.File(path) as file:
                self._low, self._high = (torch.from_numpy(file[name][()].astype(np.float32)) for name in (LOW, HIGH))
                self._ratio = float(file[LOW].attrs[SECONDS]) / float(file[HIGH].attrs[SECONDS])
                mask = file[MASK][()].astype(bool) if MASK in file else np.ones(self._low.shape[1:], bool)
        except (OSError, KeyError, TypeError) as error:
            wanted = f"{LOW} and {HIGH} [frame, row, column] with {SECONDS}"
            raise ValueError(f"{path} holds no pairs of exposures: {error}; expected {wanted}") from error
        if self._low.shape != self._high.shape or self._low.ndim != 3 or mask.shape != self._low.shape[1:]:
            shapes = f"{tuple(self._low.shape)}, {tuple(self._high.shape)} and {mask.shape}"
            raise ValueError(
                f"{path}: exposures and mask of shapes {shapes}, expected [frame, row, column] and [row, column]"
            )
        self._mask = torch.from_numpy(mask).expand(self._low.shape)

    def examples(self, generator: Generator, batch: int, edge: int) -> Examples:
        """Return crops of `edge` voxels: the low counts, and the high ones scaled to the same exposure with their
        noise.

        What a crop lacks, in a file of few frames or small ones, is announced as no good voxel.
        """
        corners = torch.rand((batch, 3), generator=generator).tolist()
        low, high, mask = (_crops(volume, corners, edge) for volume in (self._low, self._high, self._mask))
        target, variance = high * self._ratio, high * self._ratio**2
        return Examples(
            inputs=encoded(low, mask.bool()),
            targets=torch.stack([target, variance], 1),
            weights=mask.float()[:, None],
        )


def _crops(volume: Tensor, corners: list[list[float]], edge: int) -> Tensor:
    """Crops (batch, edge, edge, edge) of a volume, the first voxel of each a share of what is free along each axis."""
    inside = [min(edge, length) for length in volume.shape]
    crops = torch.zeros((len(corners), edge, edge, edge), dtype=volume.dtype)
    for crop, shares in zip(crops, corners, strict=True):
        firsts = [
            int(share * (length - part + 1)) for share, length, part in zip(shares, volume.shape, inside, strict=True)
        ]
        z, y, x = (slice(first, first + part) for first, part in zip(firsts, inside, strict=True))
        crop[: inside[0], : inside[1], : inside[2]] = volume[z, y, x]
    return crops


def task_of(path: Path) -> Task:
    """Return the denoiser's task, learned from the pairs of a file; it is tested on simulated crystals all the same."""
    pairs = Pairs(path)

    def examples(scenes: Scenes, generator: Generator) -> Examples:
        return pairs.examples(generator, *scenes.counts.shape[:2])

    return replace(TASK, summary=f"{TASK.summary}, learned from pairs", examples=examples)


def simulate(path: Path, crystals: int, edge: int = 48, seed: int = 0) -> None:
    """Write pairs of exposures of `crystals` simulated crystals, volumes of `edge`, one behind the other in frames."""
    generator = seeded(seed)
    drawn_from = replace(family("train"), flux=(1e4, 1e6), gap_chance=0.0, mask_chance=0.0)
    scenes = random_scenes(generator, drawn_from, crystals, (edge, edge, edge))
    efficiency = 1.0 + EFFICIENCY * normal(generator, edge, edge)
    exposures = {}
    for name, seconds in ((LOW, LOW_S), (HIGH, HIGH_S)):
        moved = _moved(scenes.expected, DRIFT_VOXELS * normal(generator, crystals, 3))
        beam = 1.0 + FLICKER * normal(generator, crystals, edge, 1, 1)
        rate = (moved * beam * efficiency * (seconds / LOW_S)).clamp(min=0.0)
        exposures[name] = (torch.poisson(rate, generator=generator).flatten(0, 1), seconds)
    with written_whole(path) as partial, h5py.File(partial, "w") as file:
        for name, (counts, seconds) in exposures.items():
            file.create_dataset(name, data=counts.numpy().astype(np.uint32), compression="gzip").attrs[SECONDS] = (
                seconds
            )
        file[MASK] = uniform(generator, 0.0, 1.0, edge, edge).numpy() > 0.002


def _moved(volumes: Tensor, by: Tensor) -> Tensor:
    """Volumes (batch, z, y, x) moved by parts of a voxel (batch, 3), by a phase ramp on their transform."""
    spectrum = torch.fft.fftn(volumes, dim=(-3, -2, -1))
    for axis, length in enumerate(volumes.shape[1:]):
        shape = [1, 1, 1, 1]
        shape[axis + 1] = length
        frequency = torch.fft.fftfreq(length).view(shape)
        spectrum = spectrum * torch.exp(-2j * torch.pi * frequency * by[:, axis].view(-1, 1, 1, 1))
    moved: Tensor = torch.fft.ifftn(spectrum, dim=(-3, -2, -1)).real
    return moved


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write simulated pairs of exposures.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--crystals", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    simulate(wanted.file, wanted.crystals, seed=wanted.seed)
