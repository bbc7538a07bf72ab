"""From a pattern in units of its crystal to what is wrong with it: a small classifier of volumes."""

from __future__ import annotations

from torch import Tensor, nn

from models.defects.classes import CLASSES
from models.defects.view import CHANNELS
from models.invert.view import EDGE
from models.unet import blocks, conv_block

# Channels of each level; the first looks at blocks of BLOCK^3 voxels.
WIDTHS, BLOCK, HIDDEN = (32, 72, 128), 2, 128


class Classifier(nn.Module):
    """Views float32 (batch, CHANNELS, EDGE, EDGE, EDGE) -> logits float32 (batch, classes)."""

    def __init__(self) -> None:
        super().__init__()
        levels: list[nn.Module] = []
        before = CHANNELS * BLOCK**3
        for width in WIDTHS:
            levels += [conv_block(before, width), nn.MaxPool3d(2)]
            before = width
        self.body = nn.Sequential(*levels)
        places = (EDGE // BLOCK // 2 ** len(WIDTHS)) ** 3
        self.head = nn.Sequential(nn.Linear(before * places, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, len(CLASSES)))

    def forward(self, views: Tensor) -> Tensor:
        """See the class."""
        told: Tensor = self.head(self.body(blocks(views, BLOCK)).flatten(1))
        return told.float()


def build() -> nn.Module:
    """Return the untrained network."""
    return Classifier()
