"""Crystals by learned latents: the same port as the surfaces and bumps of `models.invert.latent`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import registry
from models.autoencoder.network import SIZE, Autoencoder, whole
from models.invert.predict import Inverted
from models.invert.space import Space
from models.invert.view import to_grid, to_voxels
from models.simulate.grid import Triple

Latents = Literal["surface", "learned"]

NAME = "autoencoder"
# Latents of crystals are spread as a normal distribution: farther out there is none.
BOUND = 4.0


class LearnedSpace:
    """A `models.invert.space.Space` of crystals on `shape` [z, y, x] about as large as an ellipsoid of `semi_axes`
    (z, y, x), voxels; `network` as it comes with Braggloop where None.
    """

    size = SIZE

    def __init__(self, shape: Triple, semi_axes: Sequence[float], network: Autoencoder | None = None) -> None:
        self.shape = shape
        self._axes = torch.tensor([semi_axes], dtype=torch.float32)
        self._network = network or _trained(registry.ROOT)

    @property
    def device(self) -> torch.device:
        """Where latents and crystals lie."""
        return self._network.begin.weight.device

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Return the least and the largest latents, float32 (size,) each."""
        high = torch.full((SIZE,), BOUND, device=self.device)
        return -high, high

    def objects(self, latents: Tensor) -> Tensor:
        """Return the crystals of `latents` (batch, size), complex64 (batch, z, y, x); gradients pass."""
        told = whole(self._network.decode(latents))
        return to_voxels(told, self._axes.to(self.device).expand(len(latents), -1), self.shape)

    def latents(self, object_: NDArray[np.complex64]) -> Tensor:
        """Return the latents (size,) of a crystal complex64 [z, y, x], origin at index n // 2, of any scale."""
        middle = torch.tensor([[n // 2 for n in self.shape]])
        shown = to_grid(torch.from_numpy(object_)[None], self._axes, middle)
        shown = shown * torch.exp(-1j * shown.sum().angle()) / shown.abs().max().clamp(min=1e-12)
        with torch.no_grad():
            mean, _ = self._network.encode(torch.view_as_real(shown).movedim(-1, 1).to(self.device))
        low, high = self.bounds()
        return mean[0].clamp(low, high)


def told_by(latents: Latents, told: Inverted, root: Path = registry.ROOT) -> tuple[Space, Tensor]:
    """Return what a network told as `surface` latents, its own, or as `learned` ones: their space, and they (size,).

    The autoencoder is the trained one in `root`; raises ValueError in one line where there is none.
    """
    if latents == "surface":
        return told.space, torch.from_numpy(told.latent)
    space = LearnedSpace(told.space.shape, told.space.semi_axes, _trained(root))
    return space, space.latents(told.object_)


@functools.cache
def _trained(root: Path) -> Autoencoder:
    network = registry.build(registry.network(NAME, root)).requires_grad_(False)
    return cast(Autoencoder, network)  # of the same file, though the registry loads it once more
