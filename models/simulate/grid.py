"""The voxels of an object: the skewed grid that a rocking scan samples, one for each crystal of a batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from models.simulate.draws import directions, uniform, unit

Triple = tuple[int, int, int]

# Angles between incident and diffracted beam that a diffractometer of a coherence beamline reaches, degrees.
TWO_THETA_DEG = (15.0, 60.0)
# Rocking axis against the normal of the scattering plane: beyond, a scan hardly sweeps the Ewald sphere.
ROCKING_TILT_DEG = 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Voxels [z, y, x] of a batch of objects, their origin at index n // 2.

    `basis_nm` float32 (batch, 3, 3): columns are the laboratory steps of a voxel along z, y, x; `shape` (z, y, x).
    """

    basis_nm: Tensor
    shape: Triple

    @property
    def batch(self) -> int:
        """How many objects."""
        return len(self.basis_nm)

    def __getitem__(self, chosen: Tensor) -> Grid:
        """Return the grids of the objects `chosen`, indices or bool (batch,)."""
        return Grid(basis_nm=self.basis_nm[chosen], shape=self.shape)

    def indices(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return voxel indices from the origin along z, y, x, float32 (n,) each."""
        device = self.basis_nm.device
        z, y, x = (torch.arange(n, dtype=torch.float32, device=device) - n // 2 for n in self.shape)
        return z, y, x

    def project(self, vectors: Tensor) -> Tensor:
        """Return vectors . r, float32 (batch, ..., z, y, x), for `vectors` (batch, ..., 3) in 1/nm or as directions."""
        z, y, x = self.parts(vectors)
        return z[..., :, None, None] + y[..., None, :, None] + x[..., None, None, :]

    def parts(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what z, y and x add to vectors . r, float32 (batch, ..., n) each: their sum over axes is `project`."""
        batch = vectors.shape[0]
        steps = (vectors.reshape(batch, -1, 3) @ self.basis_nm).reshape(vectors.shape)
        z, y, x = (steps[..., axis, None] * index for axis, index in enumerate(self.indices()))
        return z, y, x

    def points_nm(self) -> Tensor:
        """Return laboratory positions float32 (batch, 3, z, y, x), nm."""
        return self.project(torch.eye(3, device=self.basis_nm.device).expand(self.batch, 3, 3))

    def voxel_thickness_nm(self, normals: Tensor) -> Tensor:
        """Return how thick a voxel is across planes with unit `normals` (batch, ..., 3), float32 (batch, ...)."""
        steps = normals.reshape(self.batch, -1, 3) @ self.basis_nm
        return steps.square().sum(-1).sqrt().reshape(normals.shape[:-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class RockingFrame:
    """Directions of a rocking scan, laboratory frame: `steps` float32 (batch, 3, 3), unit columns of the step of q
    along z (rocking), y (row), x (column); `q` float32 (batch, 3) the direction of the momentum transfer.
    """

    steps: Tensor
    q: Tensor

    def __getitem__(self, chosen: slice) -> RockingFrame:
        """Return the scans `chosen`."""
        return RockingFrame(steps=self.steps[chosen], q=self.q[chosen])


def random_frame(generator: Generator, batch: int) -> RockingFrame:
    """Draw scans: any scattering plane, the detector across the diffracted beam at any roll, the rocking axis within
    `ROCKING_TILT_DEG` of the plane's normal.
    """
    beam = directions(generator, batch)
    normal = unit(torch.linalg.cross(beam, directions(generator, batch)))
    aside = torch.linalg.cross(normal, beam)
    two_theta, tilt, roll = (
        torch.deg2rad(uniform(generator, low, high, batch, 1))
        for low, high in (TWO_THETA_DEG, (-ROCKING_TILT_DEG, ROCKING_TILT_DEG), (0.0, 360.0))
    )
    out = beam * two_theta.cos() + aside * two_theta.sin()
    q = unit(out - beam)
    axis = normal * tilt.cos() + torch.linalg.cross(q, normal) * tilt.sin()
    across = torch.linalg.cross(normal, out)
    row = normal * roll.cos() + across * roll.sin()
    column = torch.linalg.cross(out, row)
    return RockingFrame(steps=torch.stack([unit(torch.linalg.cross(axis, q)), row, column], -1), q=q)


def orthogonal_frame(batch: int, device: torch.device | str = "cpu") -> RockingFrame:
    """Return frames whose z, y, x are the laboratory's z, y, x and whose momentum transfer points along x."""
    steps = torch.eye(3, device=device).flip(-1).expand(batch, 3, 3)
    return RockingFrame(steps=steps, q=steps[..., 2])


def oversampled_grid(frame: RockingFrame, surface_nm: Tensor, oversampling: Tensor, shape: Triple) -> Grid:
    """Return the grid on which crystals are sampled `oversampling` (batch, 3) times along each axis.

    `surface_nm` (batch, n, 3) are points on the crystals' surfaces. Twice means two samples for the finest fringe: the
    crystal then fills half of the array along that axis.
    """
    along = surface_nm @ frame.steps
    widths_nm = along.amax(1) - along.amin(1)
    n = torch.tensor(shape, dtype=torch.float32, device=surface_nm.device)
    # direct^T reciprocal = 2 pi diag(1 / shape), reciprocal = steps diag(2 pi / (oversampling width)).
    direct = torch.linalg.inv(frame.steps).mT * (oversampling * widths_nm / n).unsqueeze(-2)
    return Grid(basis_nm=direct, shape=shape)


def reciprocal_basis(grid: Grid) -> Tensor:
    """Return the step of q, 1/nm with the 2 pi, of one voxel of the pattern, float32 (batch, 3, 3), columns z, y, x."""
    n = torch.tensor(grid.shape, dtype=torch.float32, device=grid.basis_nm.device)
    inverse: Tensor = torch.linalg.inv(grid.basis_nm)
    return 2.0 * math.pi * inverse.mT / n
