"""Far field of atoms by the non-uniform FFT against the direct sum, against voxels, and in sign."""

from __future__ import annotations

import math

import pytest
import torch

from models.simulate.atoms.nanocrystals import with_twin
from models.simulate.crystals import Polyhedra
from models.simulate.diffraction import far_field
from models.simulate.draws import seeded, uniform
from models.simulate.fcc import shared_by_twin, visibility
from models.simulate.grid import Grid, oversampled_grid, random_frame, reciprocal_basis
from models.simulate.nufft import far_field_at, far_field_on, object_of_atoms

LATTICE_NM = 0.4
Q = torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64) * (2 * math.pi / LATTICE_NM)


def cube_of_atoms(edge_nm: float) -> torch.Tensor:
    """A cube of fcc around the origin, which lies on a site."""
    n = torch.arange(-40, 41, dtype=torch.float64) * (LATTICE_NM / 2)
    sites = torch.cartesian_prod(n, n, n)
    even = (sites.sum(1) / (LATTICE_NM / 2)).round() % 2 == 0
    return sites[even & (sites.abs().amax(1) < edge_nm / 2)]


def cubic_grid(edge: int, voxel_nm: float) -> Grid:
    return Grid(basis_nm=voxel_nm * torch.eye(3).flip(-1)[None], shape=(edge,) * 3)


def direct(positions_nm: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    phase = -(q @ positions_nm.T)
    return torch.complex(phase.cos().sum(-1), phase.sin().sum(-1))


def test_it_is_the_direct_sum() -> None:
    generator = seeded(0)
    positions = uniform(generator, -8.0, 8.0, 5000, 3).double()
    q = Q + uniform(generator, -2.0, 2.0, 200, 3).double()
    expected = direct(positions, q)
    error = (far_field_at(positions, q) - expected).norm() / expected.norm()
    assert error < 1e-5


def test_on_the_skewed_grid_of_a_scan_it_is_the_same_sum() -> None:
    generator = seeded(1)
    frame = random_frame(generator, 1)
    positions = cube_of_atoms(5.0)
    grid = oversampled_grid(frame, positions[None].float(), torch.tensor([[2.0, 3.0, 2.5]]), (6, 8, 7))
    q = 30.0 * frame.q[0]
    index = torch.cartesian_prod(*(torch.arange(n) - n // 2 for n in grid.shape)).double()
    expected = direct(positions, q.double() + index @ reciprocal_basis(grid)[0].double().T)
    found = far_field_on(positions, grid, q).flatten()
    assert (found - expected).norm() / expected.norm() < 1e-5


def test_the_object_has_the_pattern_of_the_atoms_and_the_shape_of_the_crystal() -> None:
    positions, grid = cube_of_atoms(8.2), cubic_grid(40, 0.5)
    object_ = object_of_atoms(positions, grid, Q, LATTICE_NM)
    psi = far_field_on(positions, grid, Q)
    assert torch.allclose(far_field(object_) / psi.abs().max(), psi / psi.abs().max() / 4 * LATTICE_NM**3 / 0.5**3)
    normals = torch.cat([torch.eye(3), -torch.eye(3)])[None]
    # A site holds its cell: the crystal reaches half a layer, a quarter of a lattice constant, beyond its outermost.
    filling = Polyhedra(normals=normals, distances_nm=torch.full((1, 6), 4.1)).filling(grid)[0]
    inner = (slice(14, 27),) * 3
    assert torch.allclose(object_[inner].abs(), torch.ones(13, 13, 13), atol=0.15)
    assert object_[inner].angle().abs().max() < 0.05
    assert float((object_.abs() * filling).sum() / (object_.abs().norm() * filling.norm())) > 0.97


@pytest.mark.parametrize("reflection", [(1, 1, 1), (1, 1, -1), (2, 0, 0), (2, 2, 0), (2, -2, 0), (5, -1, -1)])
def test_a_twin_has_the_reflections_that_are_said_to_be_shared(reflection: tuple[int, int, int]) -> None:
    """Atoms below (111) and their mirror image above it: in phase where the reflection is shared, dark elsewhere."""
    normal = torch.ones(3, dtype=torch.float64) / 3.0**0.5
    ball = with_twin(cube_of_atoms(10.0), normal, LATTICE_NM)
    ball = ball[ball.norm(dim=1) < 4.5]
    grid, hkl = cubic_grid(40, 0.5), torch.tensor(reflection, dtype=torch.float64)
    object_ = object_of_atoms(ball, grid, hkl * (2 * math.pi / LATTICE_NM), LATTICE_NM)
    height, inside = grid.project(normal.float()[None])[0], grid.points_nm()[0].norm(dim=0) < 3.5
    below, above = object_[inside & (height < -1.0)].mean(), object_[inside & (height > 1.0)].mean()
    assert abs(below - 1) < 0.05
    shared = bool(shared_by_twin(normal, hkl))
    assert shared == (reflection in [(1, 1, 1), (2, -2, 0), (5, -1, -1)])
    assert abs(above - float(shared)) < 0.15  # the tail of the rings at the boundary
    assert float(visibility(hkl, torch.zeros(3), normal, torch.tensor(True))) == float(not shared)


def test_the_phase_is_minus_q_u_in_sign_and_size() -> None:
    """A uniform strain of the atoms, u = e r with one strain an axis."""
    grid, strain = cubic_grid(40, 0.5), torch.tensor([4e-3, -2e-3, 1e-3])
    positions = cube_of_atoms(8.2)
    object_ = object_of_atoms(positions * (1 + strain.double()), grid, Q, LATTICE_NM)
    expected = -torch.einsum("c,czyx->zyx", Q.float() * strain, grid.points_nm()[0])
    inner = (slice(14, 27),) * 3
    assert expected[inner].max() > 0.2
    assert torch.allclose(object_[inner].angle(), expected[inner], atol=0.03)


def test_atoms_beyond_the_array_are_refused() -> None:
    with pytest.raises(ValueError, match=r"fill 1\.\d\d of the array"):
        far_field_on(cube_of_atoms(8.0), cubic_grid(12, 0.5), Q)
