"""A crystal that changes, told by a few numbers with names: how far it goes along directions of a space of latents."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.invert.latent import NORMAL, LatentSpace
from models.invert.misfit import chi

Frame = NDArray[np.float32]

# A prediction that leaves this share of the amplitudes unexplained is worth 1/e.
UNEXPLAINED = 0.03

# The crystal of `changing`: its grid, its semi-axes, and coefficients of its surface, of degrees 3 and 4, that take
# every symmetry from it (place among the latents -> share of a sphere's).
EDGE, SEMI_AXES = 24, (5.0, 4.6, 5.4)
UNEVEN = {11: 0.056, 12: 0.042, 14: 0.042, 17: 0.034}
# x^2 - y^2 of the surface; where its strain is, in semi-axes (z, y, x), and how wide (sigma).
STRETCHED = 8
STRAINED, STRAIN_WIDTH = (0.0, 0.5, 0.4), 0.35


@dataclass(frozen=True, slots=True, kw_only=True)
class Directions:
    """Crystals of a `space` at `base` latents (size,), moved by named numbers `along` latents (size,) each."""

    space: LatentSpace
    base: Tensor
    along: Mapping[str, Tensor]

    def latents(self, values: Mapping[str, float]) -> Tensor:
        """Return the latents float32 (size,) of `values`, one for each name; raise KeyError where one is missing."""
        moved = [values[name] * direction for name, direction in self.along.items()]
        return torch.stack([self.base, *moved]).sum(0)

    def frame(self, values: Mapping[str, float]) -> Frame:
        """Return the frame in the middle of the rocking curve, float32 [row, column], as shares of its photons.

        It is the transform of the crystal's projection along z; zero frequency at index n // 2. A millisecond.
        """
        with torch.no_grad():
            projected = self.space.objects(self.latents(values)[None])[0].sum(0)
            field = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(projected)))
        pattern = field.abs().square()
        return np.asarray((pattern / pattern.sum()).numpy())


def changing() -> Directions:
    """Return the twin's crystal that changes: `radius`, 1 as it was; `stretch`, by which it is longer along x than
    along y, as a share of its radius; `strain`, phase (rad) of a bump on one side.
    """
    space = LatentSpace((EDGE,) * 3, SEMI_AXES)
    zero = torch.zeros(space.size)
    crystal = space.sphere()
    for place, share in UNEVEN.items():
        crystal[place] = share * NORMAL
    stretch, strain = zero.clone(), zero.clone()
    stretch[STRETCHED] = 0.5 * NORMAL
    square = (space.centres - torch.tensor(STRAINED)).square().sum(1)
    strain[space.phase] = torch.exp(square / (-2.0 * STRAIN_WIDTH**2))
    return Directions(space=space, base=zero, along={"radius": crystal, "stretch": stretch, "strain": strain})


def agreement(predicted: Frame, counts: Frame) -> float:
    """Return how well a frame explains the counted one, both [row, column]: exp(-chi / UNEXPLAINED), from 0 to 1.

    chi is that of `models.invert.misfit`, so neither scale matters. Not a number where nothing was counted.
    """
    told, true = (torch.from_numpy(np.sqrt(frame, dtype=np.float32))[None] for frame in (predicted, counts))
    return math.exp(-float(chi(told, true)) / UNEXPLAINED)
