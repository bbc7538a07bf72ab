"""What adapting latents to a scan needs of them, whatever they stand for."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from models.simulate.grid import Triple


class Space(Protocol):
    """Crystals on `shape` [z, y, x], origin at index n // 2, each told by `size` latents."""

    @property
    def shape(self) -> Triple: ...

    @property
    def size(self) -> int: ...

    @property
    def device(self) -> torch.device: ...

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Return the least and the largest latents, float32 (size,) each."""
        ...

    def objects(self, latents: Tensor) -> Tensor:
        """Return the crystals of `latents` (batch, size), complex64 (batch, z, y, x); gradients pass."""
        ...
