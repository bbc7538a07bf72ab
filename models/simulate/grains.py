"""What a crystal is cut into: grains, twins and stacking faults, each a plane or a cell with its own share of phase."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from models.simulate.draws import chosen, directions, normal, uniform
from models.simulate.grid import Grid

# Grains that a crystal of several falls into.
MOST_GRAINS = 4
# Chance that a grain diffracts into the same peak; the others are turned too far and stay dark.
GRAIN_IN_PEAK = 0.5
# Fringes by which such a grain's pattern is moved off the peak: a low-angle boundary.
GRAIN_TILT_FRINGES = 3.0


def grain_cells(centres_nm: Tensor, grid: Grid) -> Tensor:
    """Return which of the `centres_nm` (batch, grains, 3) is nearest to each voxel, int64 (batch, z, y, x)."""
    # |r - c|^2 less the |r|^2 that all have in common.
    distance = centres_nm.square().sum(-1)[..., None, None, None] - 2.0 * grid.project(centres_nm)
    return distance.argmin(1)


def random_grains(generator: Generator, radius_nm: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Draw crystals of two to MOST_GRAINS grains; `radius_nm` (batch,).

    Returns amplitude (1 in grains that diffract, 0 in the others) and phase in radians (a ramp of up to
    GRAIN_TILT_FRINGES fringes and an offset a grain), float32 (batch, z, y, x) each. The first grain, which holds the
    origin, always diffracts.
    """
    batch = grid.batch
    centres = normal(generator, batch, MOST_GRAINS, 3) * radius_nm[:, None, None] * 0.5
    centres = centres.gather(1, centres.norm(dim=-1).argsort(1)[..., None].expand_as(centres))
    far = chosen(generator, 0.5, batch, MOST_GRAINS)
    far[:, :2] = False  # two at least; a grain whose centre is far away has no voxel
    cells = grain_cells(torch.where(far[..., None], centres + 1e3 * radius_nm[:, None, None], centres), grid)
    lit = chosen(generator, GRAIN_IN_PEAK, batch, MOST_GRAINS)
    lit[:, 0] = True
    fringes = uniform(generator, 0.0, GRAIN_TILT_FRINGES, batch, MOST_GRAINS, 1)
    tilts = directions(generator, batch, MOST_GRAINS) * fringes * (torch.pi / radius_nm)[:, None, None]
    tilts[:, 0] = 0.0
    offsets = uniform(generator, -torch.pi, torch.pi, batch, MOST_GRAINS)
    phases = grid.project(tilts) + offsets[..., None, None, None]
    phase = phases.gather(1, cells[:, None]).squeeze(1)
    amplitude = lit.float().gather(1, cells.flatten(1)).view(cells.shape)
    return amplitude, phase


def beyond_plane(normals: Tensor, offset_nm: Tensor, grid: Grid) -> Tensor:
    """Return the share of each voxel beyond planes normals . r = offset, float32 (batch, z, y, x).

    `normals` (batch, 3) unit, `offset_nm` (batch,). A stacking fault with displacement R across the plane adds the
    phase -Q.R there; beyond a twin boundary a reflection that the twin does not share is dark.
    """
    thickness = grid.voxel_thickness_nm(normals)
    height = grid.project(normals) - offset_nm[:, None, None, None]
    return (height / thickness[:, None, None, None] + 0.5).clamp_(0.0, 1.0)
