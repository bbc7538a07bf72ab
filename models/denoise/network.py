"""From counts to the intensity behind them: a small U-Net that corrects the logarithm of the counts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from models.unet import UNet

# Channels of each level: 0.35 million parameters.
WIDTHS = (8, 16, 32, 64)
# Edges are halved between levels.
MULTIPLE = 2 ** (len(WIDTHS) - 1)
CHANNELS = 2
# How sharply the logarithm of an intensity is kept above zero.
SHARPNESS = 10.0
# Counts above which a voxel tells its own logarithm well by itself: its correction shrinks as their noise does.
NOISY = 16.0
# The logarithm of the relative standard deviation is kept between these.
LEAST_LOG_SIGMA, MOST_LOG_SIGMA = -5.0, 1.0


class Denoiser(nn.Module):
    """Volumes float32 (batch, 2, z, y, x) -> (batch, 2, z, y, x), edges multiples of 8.

    In: the signed logarithm of the counts (see `encoded`), and 1 where the detector announces a good voxel; out:
    log1p of the expected counts before it is kept above zero, and the logarithm of their standard deviation as a share
    of the counts and one more (see `decoded`).
    """

    def __init__(self) -> None:
        super().__init__()
        self.correction = UNet(inputs=CHANNELS, outputs=2, widths=WIDTHS, by_voxel=True)
        for parameter in self.correction.head.parameters():  # it begins with the counts themselves
            nn.init.zeros_(parameter)

    def forward(self, volume: Tensor) -> Tensor:
        """See the class."""
        correction, shown = self.correction(volume), volume[:, :1]
        noise = (1.0 + shown.float().abs().expm1() / NOISY).rsqrt()
        return torch.cat([shown + noise * correction[:, :1], correction[:, 1:]], 1)


def build() -> nn.Module:
    """Return the untrained network."""
    return Denoiser()


def encoded(counts: Tensor, announced: Tensor) -> Tensor:
    """Return what the network takes of `counts` float32 and `announced` bool, (batch, z, y, x) each.

    sign(n) log(1 + |n|): Gaussian noise makes counts negative.
    """
    shown = torch.where(announced, counts, 0.0)
    return torch.stack([shown.sign() * shown.abs().log1p(), announced.float()], 1)


def decoded(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the expected counts, never negative, and their standard deviation, float32 (batch, z, y, x)."""
    expected = softplus(outputs[:, 0].float(), beta=SHARPNESS).expm1()
    relative = outputs[:, 1].float().clamp(LEAST_LOG_SIGMA, MOST_LOG_SIGMA).exp()
    return expected, relative * (expected + 1.0)
