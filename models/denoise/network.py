"""From counts to the intensity behind them: a small U-Net that corrects the logarithm of the counts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.unet import UNet

# Channels of each level: 0.35 million parameters.
WIDTHS = (8, 16, 32, 64)
# Edges are halved between levels.
MULTIPLE = 2 ** (len(WIDTHS) - 1)


class Denoiser(nn.Module):
    """Volumes float32 (batch, 2, z, y, x) -> (batch, 1, z, y, x), edges multiples of 8.

    In: log1p of the counts, and 1 where the detector announces a good voxel; out: log1p of the expected counts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.correction = UNet(inputs=2, outputs=1, widths=WIDTHS)

    def forward(self, volume: Tensor) -> Tensor:
        """See the class."""
        corrected: Tensor = volume[:, :1] + self.correction(volume)
        return corrected


def build() -> nn.Module:
    """Return the untrained network."""
    return Denoiser()


def encoded(counts: Tensor, announced: Tensor) -> Tensor:
    """Return what the network takes of `counts` float32 and `announced` bool, (batch, z, y, x) each."""
    return torch.stack([counts.log1p(), announced.float()], 1)


def decoded(outputs: Tensor) -> Tensor:
    """Return the expected counts float32 (batch, z, y, x), never negative, that the network's outputs tell."""
    return outputs[:, 0].float().clamp(min=0.0).expm1()
