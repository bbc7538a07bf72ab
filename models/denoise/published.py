"""The two networks of Oppliger et al., Nat. Mach. Intell. 6 (2024) 180, rebuilt from their description, for comparison.

Both look at single frames: volumes are taken frame by frame. They take what our denoiser takes and tell what it tells.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

FILTERS = 64
LAYERS = 20  # of VDSR
LEVELS = 4  # of IRUNet
FIRST_SLOPE = 0.25  # of a parametric rectifier


class ByFrames(nn.Module):
    """Runs a network of frames (frames, 1, row, column) on volumes float32 (batch, 2, z, y, x).

    Logarithms are divided by the largest of their frame before, and multiplied by it after; standard deviations are not
    told (the second channel of what is returned is 0).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, volume: Tensor) -> Tensor:
        """See the class."""
        batch, _, frames, rows, columns = volume.shape
        shown = (volume[:, :1] * volume[:, 1:]).transpose(1, 2).reshape(batch * frames, 1, rows, columns)
        highest = shown.amax((1, 2, 3), keepdim=True).clamp(min=1.0)
        told = self.network(shown / highest).float() * highest
        told = told.view(batch, frames, 1, rows, columns).transpose(1, 2)
        return torch.cat([told, torch.zeros_like(told)], 1)


def vdsr() -> nn.Module:
    """Return a plain stack of 3x3 convolutions (Kim et al., CVPR 2016) with 64 filters, 20 layers and a last one."""
    layers: list[nn.Module] = []
    for layer in range(LAYERS):
        layers += [nn.Conv2d(FILTERS if layer else 1, FILTERS, 3, padding=1), nn.PReLU(init=FIRST_SLOPE)]
    return ByFrames(nn.Sequential(*layers, nn.Conv2d(FILTERS, 1, 3, padding=1)))


def irunet() -> nn.Module:
    """Return an inception-residual encoder and decoder (Gil Zuluaga et al., EMBC 2021); edges multiples of 16."""
    return ByFrames(_IRUNet())


class _IRUNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(1, FILTERS, 3, padding=1), nn.ReLU())
        self.down = nn.ModuleList(nn.Sequential(_Reduced(), _Inception()) for _ in range(LEVELS))
        self.up = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(FILTERS, FILTERS, 2, stride=2), nn.ReLU(), _Inception())
            for _ in range(LEVELS)
        )
        self.tail = nn.Sequential(nn.Conv2d(FILTERS, 1, 1), nn.Sigmoid())

    def forward(self, frames: Tensor) -> Tensor:
        levels = [self.head(frames)]
        for down in self.down:
            levels.append(down(levels[-1]))
        deep = levels.pop()
        for number, up in enumerate(self.up):
            deep = up(deep)
            level = levels.pop()
            if 0 < number < LEVELS - 1:  # added at the two middle levels only
                deep = deep + level
        told: Tensor = self.tail(deep)
        return told


class _Inception(nn.Module):
    """Three convolutions side by side, one of them dilated, reduced by a 1x1 and added to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(FILTERS, FILTERS, 3, padding=1)
        self.wide = nn.Conv2d(FILTERS, 2 * FILTERS, 3, padding=1)
        self.dilated = nn.Conv2d(FILTERS, FILTERS, 3, padding=2, dilation=2)
        self.reduce = nn.Conv2d(4 * FILTERS, FILTERS, 1)

    def forward(self, frames: Tensor) -> Tensor:
        branches = [torch.relu(layer(frames)) for layer in (self.narrow, self.wide, self.dilated)]
        reduced: Tensor = frames + self.reduce(torch.cat(branches, 1))
        return reduced


class _Reduced(nn.Module):
    """The same at half the resolution: two strided convolutions beside an average, and a strided shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(FILTERS, FILTERS, 3, stride=2, padding=1)
        self.wide = nn.Conv2d(FILTERS, 2 * FILTERS, 3, stride=2, padding=1)
        self.average = nn.AvgPool2d(2)
        self.reduce = nn.Conv2d(4 * FILTERS, FILTERS, 1)
        self.shortcut = nn.Conv2d(FILTERS, FILTERS, 2, stride=2)

    def forward(self, frames: Tensor) -> Tensor:
        branches = [torch.relu(self.narrow(frames)), torch.relu(self.wide(frames)), self.average(frames)]
        reduced: Tensor = self.shortcut(frames) + self.reduce(torch.cat(branches, 1))
        return reduced
