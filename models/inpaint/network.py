"""From the voxels around a gap to the intensity inside it, and how sure that is: a U-Net on windows of 32^3."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d, interpolate

from models.unet import UNet

# Channels of each level: 1.4 million parameters.
WIDTHS = (16, 32, 64, 128)
EDGE = 32  # of a window, voxels
CHANNELS = 12
POSITIONS = slice(6, 9)  # the channels of z, y, x
GUIDE, GUIDED, LINE, APART = 4, 5, 9, 11  # the channels of these, see Inpainter
# Halvings after which a window is one value: no gap is wider.
COARSEST = 5
# Least deviation of logarithms from their trend, and the unit in which that is told.
LEAST_SPREAD, LEVEL_UNIT = 0.1, 5.0
# Where crystals of the guide are this far apart it is taken for as good as the line, before the network judges it, and
# how much nearer they must be for three times as good.
AS_GOOD, NEARER = 0.15, 0.1
# The logarithm of the relative standard deviation of an amplitude is kept between these.
LEAST_LOG_SIGMA, MOST_LOG_SIGMA = -5.0, 1.0
# Intensity, counts, below which an amplitude's standard deviation shrinks no further.
FLOOR_COUNTS = 0.25

Values = TypeVar("Values", Tensor, NDArray[np.floating])


class Inpainter(nn.Module):
    """Windows float32 (batch, 12, 32, 32, 32) -> (batch, 2, 32, 32, 32).

    In: log1p of the counts and 1 where they are seen; the same of the partner, the voxel opposite the centre of
    symmetry, and of the guide where there is one; z, y, x from that centre; log1p of what lines between seen voxels
    suggest, and log1p of their length; how far the crystals of the guide are apart. Out: log1p of the expected
    intensity, and the logarithm of the standard deviation of its square root, as a share of that. Where nothing is seen
    the counts in `volume` must be 0.

    The pattern of an unstrained crystal is centrosymmetric, so the partner of a hidden voxel is often seen; how far a
    strained one departs from that the network finds in pairs of which both are seen. All logarithms are taken relative
    to the trend of the seen ones, in units of their deviation from it: fringes look alike in bright and dark windows.
    What the line suggests and what the guide does are mixed and corrected: normalised features would not keep a guide's
    values as they are.
    """

    def __init__(self) -> None:
        super().__init__()
        self.correction = UNet(inputs=CHANNELS + 1, outputs=3, widths=WIDTHS)

    def forward(self, volume: Tensor) -> Tensor:
        """See the class."""
        level, spread = trend(volume[:, :1], volume[:, 1:2])
        relative = [
            masked
            for channel in (0, 2, GUIDE)
            for masked in (
                (volume[:, channel : channel + 1] - level) / spread * volume[:, channel + 1 : channel + 2],
                volume[:, channel + 1 : channel + 2],
            )
        ]
        line = volume[:, LINE : LINE + 1]
        rest = [volume[:, POSITIONS], (line - level) / spread, volume[:, 10:11] / LEVEL_UNIT, level / LEVEL_UNIT]
        apart = volume[:, APART : APART + 1]
        rest.append(apart / spread)
        told = self.correction(torch.cat([*relative, *rest], 1))
        trust = torch.sigmoid(told[:, 2:] + (AS_GOOD - apart) / NEARER) * volume[:, GUIDED : GUIDED + 1]
        mixed = torch.lerp(line, volume[:, GUIDE : GUIDE + 1], trust)
        return torch.cat([mixed + spread * told[:, :1], told[:, 1:2]], 1)


def build() -> nn.Module:
    """Return the untrained network."""
    return Inpainter()


def trend(values: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Return a smooth fill of `values` where `seen`, both (batch, 1, z, y, x), and how far seen values are off it.

    Seen values are averaged over blocks of 4^3, empty ones take the mean of the nearest scale that has any. The
    deviation is (batch, 1, 1, 1, 1), root of the mean square, LEAST_SPREAD at least. Edges are multiples of 32.
    """
    sums, shares = [values * seen], [seen]
    for _ in range(COARSEST):
        sums.append(avg_pool3d(sums[-1], 2))
        shares.append(avg_pool3d(shares[-1], 2))
    level = sums[-1] / shares[-1].clamp(min=1e-6)
    for total, share in zip(sums[-2:1:-1], shares[-2:1:-1], strict=True):
        around = interpolate(level, scale_factor=2.0, mode="trilinear", align_corners=False)
        known = (2.0 * share).clamp(max=1.0)  # a block of which less than half is seen is not told by that alone
        level = known * total / share.clamp(min=1e-6) + (1.0 - known) * around
    level = interpolate(level, scale_factor=4.0, mode="trilinear", align_corners=False)
    axes = (1, 2, 3, 4)
    square = ((values - level).square() * seen).sum(axes, keepdim=True) / seen.sum(axes, keepdim=True).clamp(min=1.0)
    return level, square.sqrt().clamp(min=LEAST_SPREAD)


def decoded(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the expected intensity, counts, and its square root's standard deviation, float32 (batch, z, y, x)."""
    intensity = outputs[:, 0].float().clamp(min=0.0).expm1()
    relative = outputs[:, 1].float().clamp(LEAST_LOG_SIGMA, MOST_LOG_SIGMA).exp()
    return intensity, relative * (intensity + FLOOR_COUNTS).sqrt()


def variance(intensity: Values, sigma: Values) -> Values:
    """Return the variance of a count whose expectation is the square of a normal amplitude: of mean the square root of
    `intensity`, of standard deviation `sigma`.
    """
    told: Values = 4.0 * intensity * sigma**2 + 2.0 * sigma**4 + intensity + sigma**2
    return told
