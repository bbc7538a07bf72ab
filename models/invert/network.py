"""From a pattern in units of its crystal to the latents of the crystal: an encoder."""

from __future__ import annotations

from torch import Tensor, nn

from models.invert.view import CHANNELS, EDGE, grid_space
from models.unet import blocks, conv_block

# Channels of each level; the first looks at blocks of BLOCK^3 voxels: 2.4 million parameters.
WIDTHS, BLOCK, HIDDEN = (64, 128, 152), 2, 256
# Latents begin this far from an even sphere, as a share of their bounds.
SHARE = 0.1


class Encoder(nn.Module):
    """Views float32 (batch, CHANNELS, EDGE, EDGE, EDGE) -> latents float32 (batch, size) of `grid_space`."""

    def __init__(self) -> None:
        super().__init__()
        space = grid_space()
        low, high = space.bounds()
        self.register_buffer("middle", space.sphere(), persistent=False)
        self.register_buffer("span", SHARE * (high - low), persistent=False)
        blocks: list[nn.Module] = []
        before = CHANNELS * BLOCK**3
        for width in WIDTHS:
            blocks += [conv_block(before, width), nn.MaxPool3d(2)]
            before = width
        self.body = nn.Sequential(*blocks)
        places = (EDGE // BLOCK // 2 ** len(WIDTHS)) ** 3
        self.hidden = nn.Linear(before * places, HIDDEN)
        self.head = nn.Linear(HIDDEN, space.size)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, views: Tensor) -> Tensor:
        """See the class."""
        told = self.body(blocks(views, BLOCK)).flatten(1)
        told = self.head(nn.functional.silu(self.hidden(told))).float()
        latents: Tensor = self.middle + self.span * told
        return latents


def build() -> nn.Module:
    """Return the untrained network."""
    return Encoder()
