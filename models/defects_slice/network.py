"""From one frame in units of its crystal to what is wrong with the crystal: a small classifier of images."""

from __future__ import annotations

from torch import Tensor, nn

from models.defects.classes import CLASSES
from models.defects_slice.view import CHANNELS, EDGE
from models.unet import conv_block

# Channels of each level; the first looks at blocks of BLOCK^2 pixels: 0.57 million parameters.
WIDTHS, BLOCK, HIDDEN = (64, 96, 128), 2, 96
IN_PLANE = (1, 3, 3)


class SliceClassifier(nn.Module):
    """Views float32 (batch, CHANNELS, 1, EDGE, EDGE) -> logits float32 (batch, classes)."""

    def __init__(self) -> None:
        super().__init__()
        levels: list[nn.Module] = []
        before = CHANNELS * BLOCK**2
        for width in WIDTHS:
            levels += [conv_block(before, width, kernel=IN_PLANE), nn.MaxPool3d((1, 2, 2))]
            before = width
        self.body = nn.Sequential(*levels)
        places = (EDGE // BLOCK // 2 ** len(WIDTHS)) ** 2
        self.head = nn.Sequential(nn.Linear(before * places, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, len(CLASSES)))

    def forward(self, views: Tensor) -> Tensor:
        """See the class."""
        planes = nn.functional.pixel_unshuffle(views.squeeze(2), BLOCK).unsqueeze(2)
        told: Tensor = self.head(self.body(planes).flatten(1))
        return told.float()


def build() -> nn.Module:
    """Return the untrained network."""
    return SliceClassifier()
