"""Smooth displacement: random fields, radial-basis interiors and the relaxation of surfaces; and the phase it makes."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from models.simulate.crystals import Polyhedra, SmoothSurfaces
from models.simulate.draws import directions, log_uniform, normal, signs, uniform
from models.simulate.grid import Grid

# Plane waves that make a random field: with so many its values are Gaussian to a few per cent.
WAVES = 24
# Bumps of a radial-basis interior and their widths as shares of the crystal's radius.
BUMPS = 8
BUMP_WIDTHS = (0.25, 0.8)


def phase_of(displacement_nm: Tensor, q: Tensor) -> Tensor:
    """Return the phase -Q.u in radians, float32 (batch, z, y, x).

    `displacement_nm` (batch, 3, z, y, x) and `q` (batch, 3), 1/nm with the 2 pi, both in the laboratory frame.
    """
    return -torch.einsum("bc,bczyx->bzyx", q, displacement_nm)


def smooth_field(generator: Generator, grid: Grid, length_nm: Tensor) -> Tensor:
    """Draw a random field with mean square 1, correlated over `length_nm` (batch,), float32 (batch, z, y, x).

    A sum of WAVES plane waves whose wave vectors are Gaussian, so that the correlation is exp(-r^2 / (2 length^2)).
    Plane waves fall apart into one factor an axis: the sum is one product of matrices.
    """
    batch = grid.batch
    vectors = normal(generator, batch, WAVES, 3) / length_nm[:, None, None]
    start = uniform(generator, 0.0, 2.0 * torch.pi, batch, WAVES, 1)
    z, y, x = grid.parts(vectors)
    frames = torch.polar(torch.ones_like(z), z + start)
    planes = torch.polar(torch.ones_like(y), y)[..., None] * torch.polar(torch.ones_like(x), x)[..., None, :]
    # Real part of frames^T planes, as one real product: twice as fast as the complex one.
    left = torch.cat([frames.real, -frames.imag], 1).mT
    right = torch.cat([planes.real, planes.imag], 1).flatten(2)
    return (left @ right).view(batch, *grid.shape) * math.sqrt(2.0 / WAVES)


def radial_basis_field(generator: Generator, grid: Grid, radius_nm: Tensor) -> Tensor:
    """Draw a sum of BUMPS Gaussians within `radius_nm` (batch,), float32 (batch, z, y, x) with heights up to 1.

    The interior of Scheinker and Pokharel, J. Appl. Phys. 128 (2020) 184901.
    """
    batch = grid.batch
    centres = directions(generator, batch, BUMPS) * uniform(generator, 0.0, 0.8, batch, BUMPS, 1)
    centres = centres * radius_nm[:, None, None]
    widths = log_uniform(generator, *BUMP_WIDTHS, batch, BUMPS) * radius_nm[:, None]
    heights = signs(generator, batch, BUMPS) * uniform(generator, 0.4, 1.0, batch, BUMPS)
    points = grid.points_nm()
    field = torch.zeros((batch, *grid.shape), device=points.device)
    for n in range(BUMPS):
        square = (points - centres[:, n, :, None, None, None]).square().sum(1)
        width = widths[:, n, None, None, None]
        field += heights[:, n, None, None, None] * torch.exp(square / (-2.0 * width.square()))
    return field


def surface_relaxation(crystals: Polyhedra | SmoothSurfaces, grid: Grid, inward_nm: Tensor, depth_nm: Tensor) -> Tensor:
    """Return the displacement (batch, 3, z, y, x) in nm by which surfaces move inwards, dying out below them.

    At a surface it is `inward_nm` (batch,) long (negative: outwards) and falls by e every `depth_nm` (batch,). Facets
    add up; a smooth body moves along its radius.
    """
    scale = depth_nm[:, None, None, None]
    if isinstance(crystals, SmoothSurfaces):
        points = grid.points_nm()
        toward = points / points.square().sum(1, keepdim=True).sqrt().clamp(min=1e-9)
        pulled = torch.exp(-crystals.depth_nm(grid).clamp(min=0.0) / scale)
        return -inward_nm[:, None, None, None, None] * toward * pulled[:, None]
    pulled = torch.exp(-crystals.depths_nm(grid).clamp(min=0.0) / scale[:, None])
    moved = torch.einsum("bfc,bfzyx->bczyx", crystals.normals, pulled)
    return -inward_nm[:, None, None, None, None] * moved


def strained(generator: Generator, filling: Tensor, grid: Grid, length_nm: Tensor, span: Tensor) -> Tensor:
    """Draw crystals with a smooth phase, complex64 (batch, z, y, x); `length_nm` and `span` (rad) are (batch,)."""
    field = smooth_field(generator, grid, length_nm)
    return torch.polar(filling, spanning(field, filling > 0.5, span))


def spanning(field: Tensor, inside: Tensor, span: Tensor) -> Tensor:
    """Return `field` (batch, z, y, x) scaled to the range `span` (batch,) over `inside` (bool) with mean 0 there."""
    flat, inner = field.flatten(1), inside.flatten(1)
    if not bool(inner.any(1).all()):
        raise ValueError("a crystal fills no voxel: make it larger or the grid finer")
    low = torch.where(inner, flat, torch.inf).amin(1)
    high = torch.where(inner, flat, -torch.inf).amax(1)
    mean = (flat * inner).sum(1) / inner.sum(1)
    scale = span / (high - low).clamp(min=1e-12)
    return (field - mean[:, None, None, None]) * scale[:, None, None, None]
