"""Networks of the literature, rebuilt from what their papers say, trained by our harness on our simulation."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool3d
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

from models.denoise.pairs import simulate, task_of
from models.denoise.published import irunet, vdsr
from models.denoise.schemes import SCHEMES
from models.denoise.train import TASK as DENOISE
from models.inpaint.train import TASK as INPAINT
from models.inpaint.train import examples as inpaint_examples
from models.training.task import Examples, Task

AXES = (-3, -2, -1)
DILATIONS = (1, 2, 4)
# Channels of each level: as many parameters as ours, nearly.
MASTO_WIDTHS = (24, 48, 96)


class Masto(nn.Module):
    """After Masto et al., J. Appl. Cryst. 57 (2024): a 3D U-Net on 32^3 patches whose first blocks have dilated
    convolutions side by side. Takes what our network takes, of which it uses the counts and the mask.
    """

    def __init__(self) -> None:
        super().__init__()
        first, second, third = MASTO_WIDTHS
        self.down = nn.ModuleList([_Dilated(2, first), _Dilated(first, second), _double(second, third)])
        self.up = nn.ModuleList([_double(third + second, second), _double(second + first, first)])
        self.head = nn.Conv3d(first, 1, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv3d):  # what torch begins with fades away over so many layers (He et al. 2015)
                nn.init.kaiming_normal_(layer.weight, nonlinearity="leaky_relu")

    def forward(self, volume: Tensor) -> Tensor:
        """Return log1p of the intensity, and nothing (0) about how sure it is."""
        log_counts, seen = volume[:, :1], volume[:, 1:2]
        highest = log_counts.amax(AXES, keepdim=True).clamp(min=1.0)
        one = self.down[0](torch.cat([log_counts / highest, seen], 1))
        two = self.down[1](max_pool3d(one, 2))
        deep = self.down[2](max_pool3d(two, 2))
        two = self.up[0](torch.cat([interpolate(deep, scale_factor=2.0), two], 1))
        one = self.up[1](torch.cat([interpolate(two, scale_factor=2.0), one], 1))
        told = self.head(one).float() * highest  # a sigmoid goes to zero for good: most of a gap is dark
        return torch.cat([told, torch.zeros_like(told)], 1)


class _Dilated(nn.Module):
    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.side_by_side = nn.ModuleList(
            nn.Conv3d(before, width // len(DILATIONS), 3, padding=d, dilation=d) for d in DILATIONS
        )
        self.merge = nn.Conv3d(width, width, 3, padding=1)

    def forward(self, volume: Tensor) -> Tensor:
        together = torch.cat([layer(volume) for layer in self.side_by_side], 1)
        merged: Tensor = nn.functional.leaky_relu(self.merge(nn.functional.leaky_relu(together)))
        return merged


def _double(before: int, width: int) -> nn.Sequential:
    layers = [nn.Conv3d(before, width, 3, padding=1), nn.Conv3d(width, width, 3, padding=1)]
    return nn.Sequential(layers[0], nn.LeakyReLU(), layers[1], nn.LeakyReLU())


def masto_loss(outputs: Tensor, examples: Examples) -> Tensor:
    """Mean absolute error in the gap, that of the gradients, and 1 - SSIM of the slices, of normalised logarithms."""
    hidden, wanted = examples.weights[:, :1], examples.targets[:, :1]
    highest = examples.inputs[:, :1].amax(AXES, keepdim=True).clamp(min=1.0)
    truth = wanted / highest
    found = torch.where(hidden > 0, outputs[:, :1] / highest, truth)
    share = hidden.sum().clamp(min=1.0)
    error = (found - truth).abs().sum() / share
    slopes = sum((found.diff(dim=axis) - truth.diff(dim=axis)).abs().sum() for axis in AXES) / share
    slices = [volume.flatten(0, 2).unsqueeze(1) for volume in (found, truth)]
    alike = structural_similarity_index_measure(*slices, data_range=1.0)
    return error + slopes + 1.0 - alike


MASTO: Task = dataclasses.replace(
    INPAINT,
    name="masto",
    summary="After Masto et al. 2024",
    build=Masto,
    examples=functools.partial(inpaint_examples, guided=0.0),
    loss=masto_loss,
    learning_rate=5e-4,
)


def oppliger_loss(outputs: Tensor, examples: Examples) -> Tensor:
    """0.3 of the mean absolute error, 0.7 of 1 - MS-SSIM of the frames, of logarithms divided by the largest seen."""
    seen = examples.weights[:, 0]
    highest = examples.inputs[:, 0].amax(AXES, keepdim=True).clamp(min=1.0)
    truth = examples.targets[:, 0].clamp(min=0.0).log1p() / highest
    found = torch.where(seen > 0, outputs[:, 0] / highest, truth)
    frames = [volume.flatten(0, 1).unsqueeze(1) for volume in (found, truth)]
    alike = multiscale_structural_similarity_index_measure(
        *frames, kernel_size=3, betas=(0.0448, 0.2856, 0.3001), data_range=1.0, gaussian_kernel=False, normalize="relu"
    )
    return 0.3 * (found - truth).abs().mean() + 0.7 * (1.0 - alike)


VDSR, IRUNET = (
    dataclasses.replace(
        DENOISE, name=name, summary=f"{title} of Oppliger et al. 2024", build=build, loss=oppliger_loss,
        learning_rate=5e-4, multiple=16, batch=2,
    )
    for name, title, build in (("vdsr", "VDSR", vdsr), ("irunet", "IRUNet", irunet))
)  # fmt: skip
# Ours in every scheme and kind of noise, the shipped one among them.
SCHEMED = {
    f"{scheme}-{noise}": dataclasses.replace(DENOISE, name=f"{scheme}-{noise}", examples=examples)
    for (scheme, noise), examples in SCHEMES.items()
}
# Ours, learned from simulated pairs of exposures, which are written beside it.
PAIRS, PAIRS_FILE, PAIRED_CRYSTALS = "simulated-pairs", "pairs.h5", 64
PEERS: dict[str, Task] = {task.name: task for task in (MASTO, VDSR, IRUNET, *SCHEMED.values())}


def peer_task(name: str, folder: Path) -> Task:
    """Return what a peer learns; `folder` is its own."""
    if name != PAIRS:
        return PEERS[name]
    if not (folder / PAIRS_FILE).exists():
        simulate(folder / PAIRS_FILE, PAIRED_CRYSTALS, seed=1)
    return dataclasses.replace(task_of(folder / PAIRS_FILE), name=PAIRS)
