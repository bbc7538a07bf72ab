"""A 3D U-Net, the shape that most of the networks here have (Ronneberger et al., MICCAI 2015; Cicek et al., 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

# Channels that share a mean and a variance: groups, unlike batches, are the same in training and in use.
GROUP = 8
LEAST_SQUARE = 1e-3  # features weaker than that stay weak


class UNet(nn.Module):
    """Volumes float (batch, `inputs`, z, y, x) -> (batch, `outputs`, z, y, x).

    `widths` are the channels of each level; between levels each edge is halved, so edges must be multiples of
    2^(levels - 1). The default has 1.4 million parameters. Features are normalised over groups of channels and the
    whole volume, or `by_voxel`, over the channels of each voxel: what is told there then depends on what is near alone,
    and on the number of counts, which the mean over a volume would take away.
    """

    def __init__(
        self,
        inputs: int = 1,
        outputs: int = 1,
        widths: Sequence[int] = (16, 32, 64, 128),
        by_voxel: bool = False,
    ) -> None:
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)
        befores = (inputs, *widths[:-1])
        self.down = nn.ModuleList(
            conv_block(before, width, by_voxel) for before, width in zip(befores, widths, strict=True)
        )
        pairs = list(pairwise(widths))[::-1]
        self.up = nn.ModuleList(nn.ConvTranspose3d(deep, width, 2, stride=2) for width, deep in pairs)
        self.merge = nn.ModuleList(conv_block(2 * width, width, by_voxel) for width, _ in pairs)
        self.head = nn.Conv3d(widths[0], outputs, 1)

    def forward(self, volume: Tensor) -> Tensor:
        """See the class."""
        kept: list[Tensor] = []
        for level, block in enumerate(self.down):
            volume = block(nn.functional.max_pool3d(volume, 2) if level else volume)
            kept.append(volume)
        kept.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            volume = merge(torch.cat([up(volume), kept.pop()], 1))
        head: Tensor = self.head(volume)
        return head


class ByVoxel(nn.Module):
    """Features (batch, channels, z, y, x) over their root mean square in each voxel (Zhang and Sennrich 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1, 1))

    def forward(self, volume: Tensor) -> Tensor:
        """See the class."""
        normalised: Tensor = volume * torch.rsqrt(volume.square().mean(1, keepdim=True) + LEAST_SQUARE)
        return normalised * self.scale


def conv_block(
    before: int, width: int, by_voxel: bool = False, kernel: tuple[int, int, int] = (3, 3, 3)
) -> nn.Sequential:
    """Return two convolutions of `kernel` (odd), from `before` channels to `width`, each normalised as UNet says."""
    layers: list[nn.Module] = []
    z, y, x = (edge // 2 for edge in kernel)
    for channels in (before, width):
        norm = ByVoxel(width) if by_voxel else nn.GroupNorm(max(1, width // GROUP), width)
        layers += [nn.Conv3d(channels, width, kernel, padding=(z, y, x), bias=by_voxel), norm, nn.SiLU(inplace=True)]
    return nn.Sequential(*layers)


def blocks(volume: Tensor, edge: int) -> Tensor:
    """Return (batch, channels * edge^3, z, y, x): each block of edge^3 voxels as the channels of one."""
    batch, channels, z, y, x = volume.shape
    parts = volume.view(batch, channels, z // edge, edge, y // edge, edge, x // edge, edge)
    return parts.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(batch, -1, z // edge, y // edge, x // edge)
