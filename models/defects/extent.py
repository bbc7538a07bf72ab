"""How far a crystal reaches, told from a pattern or a slice of one, whatever was filled into its gaps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.invert.view import LEAST_SEMI_AXIS, REACH
from models.simulate.diffraction import AXES, far_field

# Where the autocorrelation stands above this share of its maximum and so many times above its noise (root mean square)
# it is seen; the noise is told from the QUIET quietest share of the places, which no crystal's autocorrelation reaches.
THRESHOLD, NOISE, QUIET = 0.02, 3.5, 0.1
# With more noise than that nothing is told of sizes anyway.
MOST_NOISE = 0.5
# Along an axis, which is seldom the longest direction, less of the way is seen (simulated crystals).
ALONG_AXIS = 0.93
# From here to REACH of the semi-axes autocorrelations are faded out: a sharp edge would ring over the whole pattern.
FADED_FROM = 1.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How far crystals reach: `seen` bool (batch, [z,] y, x), their autocorrelations; `reached` (batch,), which is so
    much of the way to their ends.
    """

    seen: Tensor
    reached: Tensor

    @property
    def semi_axes(self) -> Tensor:
        """Half of the widths along each axis, voxels of the object, float32 (batch, axes)."""
        axes = range(1, self.seen.ndim)
        reach = [
            (index.abs() * self.seen.amax([other for other in axes if other != axis])).amax(1)
            for axis, index in zip(axes, self._indices(), strict=True)
        ]
        return (torch.stack(reach, 1) / (2.0 * ALONG_AXIS * self.reached[:, None])).clamp(min=LEAST_SEMI_AXIS)

    def radius_nm(self, per_nm: Tensor) -> Tensor:
        """Return half of the largest widths, nm (batch,), which no turn of the detector changes; `per_nm` (batch, axes,
        axes): columns are the voxels that a nm along each direction is.
        """
        voxels = torch.stack(torch.meshgrid(*self._indices(), indexing="ij"), -1)
        inverse = torch.linalg.inv(per_nm).mT.view(-1, *[1] * (voxels.ndim - 2), *per_nm.shape[1:])
        away_nm = (voxels @ inverse).norm(dim=-1)
        radius_nm = (away_nm * self.seen).flatten(1).amax(1) / (2.0 * self.reached)
        return torch.maximum(radius_nm, LEAST_SEMI_AXIS / per_nm.norm(dim=-1).amin(-1))

    def _indices(self) -> list[Tensor]:
        return [torch.arange(n, device=self.seen.device).float() - n // 2 for n in self.seen.shape[1:]]


def extent_of(counts: Tensor) -> Extent:
    """Return how far crystals reach; `counts` float32 (batch, [z,] y, x), zero frequency at index n // 2.

    Their autocorrelations end like the square of the distance to their ends.
    """
    volumes = counts if counts.ndim == 4 else counts[:, None]
    correlation = far_field(volumes).abs()
    highest = correlation.amax(AXES).clamp(min=1.0)
    places = correlation.flatten(1)
    quiet = places.kthvalue(max(1, int(QUIET * places.shape[1]))).values / math.sqrt(-math.log1p(-QUIET))
    photons = highest.sqrt()  # their noise: all counts are the maximum
    least = (NOISE * torch.maximum(quiet, photons) / highest).clamp(THRESHOLD, MOST_NOISE)
    seen = correlation > (least * highest)[:, None, None, None]
    return Extent(seen=seen.view(counts.shape), reached=1.0 - least.sqrt())


def faded(places: Tensor) -> Tensor:
    """Return by how much autocorrelations are kept at `places` in units of the semi-axes: 1 inside, 0 from REACH on."""
    left = ((REACH - places.abs()) / (REACH - FADED_FROM)).clamp(0.0, 1.0)
    return left.square() * (3.0 - 2.0 * left)
