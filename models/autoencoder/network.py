"""A variational autoencoder of crystals (Kingma and Welling, ICLR 2014): any crystal as SIZE numbers, and back."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from models.invert.view import EDGE
from models.unet import conv_block

# Latents of a crystal; over the crystals of training each is spread about as a normal distribution.
SIZE = 96
# Of the grid of a crystal, EDGE^3, the middle is told: where every crystal lies.
TOLD = 20
MARGIN = (EDGE - TOLD) // 2
WIDTHS = (16, 32, 24)
DEEP = TOLD // 2 ** (len(WIDTHS) - 1)


class Autoencoder(nn.Module):
    """Objects float32 (batch, 2, EDGE, EDGE, EDGE), real and imaginary part, on the grid of `invert.view` ->
    (batch, 2 TOLD^3 + 2 SIZE): objects, the mean and the logarithm of the variance of their latents; see `split`.
    """

    def __init__(self) -> None:
        super().__init__()
        befores = (2, *WIDTHS[:-1])
        self.down = nn.ModuleList(conv_block(before, width) for before, width in zip(befores, WIDTHS, strict=True))
        places = WIDTHS[-1] * DEEP**3
        self.latents = nn.Linear(places, 2 * SIZE)
        self.begin = nn.Linear(SIZE, places)
        layers: list[nn.Module] = [conv_block(WIDTHS[-1], WIDTHS[-1])]
        for before, width in zip(WIDTHS[:0:-1], WIDTHS[-2::-1], strict=True):
            layers += [nn.ConvTranspose3d(before, width, 2, stride=2), conv_block(width, width)]
        self.up = nn.Sequential(*layers, nn.Conv3d(WIDTHS[0], 2, 3, padding=1))

    def forward(self, objects: Tensor) -> Tensor:
        """See the class; in training latents are drawn from what is told of them, else they are the mean."""
        mean, log_variance = self.encode(objects)
        drawn = mean + (0.5 * log_variance).exp() * torch.randn_like(mean) if self.training else mean
        return torch.cat([self.decode(drawn).flatten(1), mean, log_variance], 1)

    def encode(self, objects: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logarithm of the variance of the latents of objects, float32 (batch, SIZE) each."""
        inner = slice(MARGIN, MARGIN + TOLD)
        told = objects[:, :, inner, inner, inner]
        for level, block in enumerate(self.down):
            told = block(nn.functional.max_pool3d(told, 2) if level else told)
        mean, log_variance = self.latents(told.flatten(1)).float().chunk(2, 1)
        return mean, log_variance.clamp(-10.0, 2.0)

    def decode(self, latents: Tensor) -> Tensor:
        """Return the objects of latents (batch, SIZE), float32 (batch, 2, TOLD, TOLD, TOLD)."""
        deep = self.begin(latents).view(-1, WIDTHS[-1], DEEP, DEEP, DEEP)
        told: Tensor = self.up(deep).float()
        return told


def split(outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the network gave as objects complex64 (batch, EDGE, EDGE, EDGE), means and logarithms of variances
    (batch, SIZE).
    """
    voxels, mean, log_variance = torch.split(outputs, [2 * TOLD**3, SIZE, SIZE], 1)
    return whole(voxels.view(-1, 2, TOLD, TOLD, TOLD)), mean, log_variance


def whole(told: Tensor) -> Tensor:
    """Return objects complex64 on the grid of their crystals, (batch, EDGE, EDGE, EDGE), of what `decode` told."""
    padded = pad(told.float(), (MARGIN,) * 6)
    return torch.complex(padded[:, 0], padded[:, 1])


def build() -> nn.Module:
    """Return the untrained network."""
    return Autoencoder()
