"""Shapes of simulated crystals against their analytic form factors and SciPy's harmonics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import factorial, lpmv

from models.bcdi.geometry import direct_basis, reciprocal_basis
from models.simulate.crystals import (
    CUBOCTAHEDRON_100_TO_111,
    Polyhedra,
    SmoothSurfaces,
    hollowed,
    random_polyhedra,
    random_smooth,
    random_wulff,
    scaled_to_radius,
    surface_nm,
)
from models.simulate.diffraction import far_field
from models.simulate.draws import fibonacci_sphere, rotations, seeded
from models.simulate.grid import Grid, oversampled_grid, random_frame
from models.simulate.harmonics import real_harmonics
from tests.helpers.patterns import rocking_geometry

SPHERE = math.sqrt(4 * math.pi)  # the first harmonic of a sphere of radius 1


def orthogonal(edge: int, voxel_nm: float = 1.0, batch: int = 1) -> Grid:
    return Grid(basis_nm=voxel_nm * torch.eye(3).flip(-1).expand(batch, 3, 3), shape=(edge,) * 3)


def cube(edge_nm: float) -> Polyhedra:
    return Polyhedra(
        normals=torch.cat([torch.eye(3), -torch.eye(3)])[None], distances_nm=torch.full((1, 6), edge_nm / 2)
    )


def skewed_grid(shape: tuple[int, int, int]) -> tuple[Grid, np.ndarray]:
    """A grid of a real diffractometer and its step of q, 1/angstrom."""
    q_basis = reciprocal_basis(rocking_geometry(shape), [n // 2 for n in shape], shape)
    return Grid(basis_nm=torch.from_numpy(direct_basis(q_basis, shape)).float()[None], shape=shape), q_basis


def test_a_cube_in_the_skewed_grid_of_a_real_geometry_has_the_sinc_form_factor() -> None:
    shape, edge_nm = (48, 56, 64), 400.0
    grid, q_basis = skewed_grid(shape)
    psi = far_field(cube(edge_nm).filling(grid).to(torch.complex64))[0].numpy()
    centre = np.array(shape) // 2
    q = 10.0 * np.einsum("ij,zyxj->zyxi", q_basis, np.stack(np.indices(shape), axis=-1) - centre)  # 1/nm
    analytic = edge_nm**3 * np.prod(np.sinc(q * edge_nm / (2 * np.pi)), axis=-1)
    density = float(torch.linalg.det(grid.basis_nm[0]).abs())
    central = np.linalg.norm(q, axis=-1) < 0.06  # four fringes; beyond, the voxels of the grid show
    assert np.count_nonzero(central) > 1000
    assert np.abs(psi * density - analytic)[central].max() / edge_nm**3 < 0.01
    assert np.corrcoef(np.abs(psi[central]), np.abs(analytic[central]))[0, 1] > 0.999


@pytest.mark.parametrize("smooth", [False, True])
def test_a_sphere_has_the_rayleigh_form_factor(smooth: bool) -> None:
    edge, radius = 40, 9.0
    rays = fibonacci_sphere(600)
    ball = Polyhedra(normals=rays[None], distances_nm=torch.full((1, len(rays)), radius))
    round_ = SmoothSurfaces(coefficients_nm=torch.tensor([[radius * SPHERE, 0.0, 0.0, 0.0]]))
    filling = (round_ if smooth else ball).filling(orthogonal(edge))
    psi = far_field(filling.to(torch.complex64))[0]
    x = 2 * np.pi * np.arange(1, 12) / edge * radius
    analytic = 4 / 3 * np.pi * radius**3 * 3 * (np.sin(x) - x * np.cos(x)) / x**3
    along = psi[20, 20, 21:32].real.numpy()
    assert np.abs(along - analytic).max() / float(psi.real.max()) < 0.005
    assert float(psi[20, 20, 20].real) == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_random_crystals_reach_their_radius_and_are_filled(seed: int) -> None:
    generator, radius = seeded(seed), torch.tensor([100.0, 60.0])
    grid = orthogonal(48, 5.0, batch=2)
    distance = grid.points_nm().norm(dim=1)
    drawn = (
        random_wulff(generator, radius),
        random_wulff(generator, radius, ratio=torch.full((2,), CUBOCTAHEDRON_100_TO_111)),
        random_polyhedra(generator, radius, facets=10 + seed),
    )
    for crystals in drawn:
        filling = crystals.filling(grid)
        inside = filling > 0.5
        farthest = torch.where(inside, distance, 0.0).amax((1, 2, 3))
        assert torch.all((farthest > 0.85 * radius) & (farthest < radius + 4.0))
        assert filling.min() == 0.0
        assert filling.max() == pytest.approx(1.0, abs=1e-6)
        assert torch.all(filling.sum((1, 2, 3)) * 125.0 > 0.1 * 4 / 3 * np.pi * radius**3)


def test_smooth_bodies_are_filled_to_their_surface() -> None:
    generator, radius = seeded(0), torch.full((4,), 60.0)
    bodies = random_smooth(generator, radius)
    grid = orthogonal(56, 4.0, batch=4)
    volume = bodies.filling(grid).sum((1, 2, 3)) * 64.0
    rays = fibonacci_sphere(4000).expand(4, -1, -1)
    analytic = 4 * np.pi / 3 * (bodies.reach(rays) ** 3).mean(1)
    assert torch.allclose(volume, analytic, rtol=0.01)
    assert bodies.reach(rays).std(dim=1).min() > 3.0


def test_harmonics_are_those_of_scipy() -> None:
    rays = fibonacci_sphere(50)
    x, y, z = rays.double().numpy().T
    azimuth = np.arctan2(y, x)
    ours = real_harmonics(5, rays).numpy()
    column = 0
    for n in range(6):
        for m in range(-n, n + 1):
            k = abs(m)
            norm = np.sqrt((2 * n + 1) / (4 * np.pi) * factorial(n - k) / factorial(n + k)) * (-1) ** k
            turn = 1.0 if m == 0 else np.sqrt(2.0) * (np.sin(k * azimuth) if m < 0 else np.cos(k * azimuth))
            assert np.allclose(ours[:, column], norm * lpmv(k, n, z) * turn, atol=1e-5), (n, m)
            column += 1


def test_a_hollow_crystal_has_a_void_within() -> None:
    generator = seeded(3)
    crystals = random_wulff(generator, torch.full((3,), 20.0))
    grid = orthogonal(48, batch=3)
    whole = crystals.filling(grid)
    hollow = hollowed(generator, crystals, grid, whole)
    lost = (whole - hollow).sum((1, 2, 3)) / whole.sum((1, 2, 3))
    assert torch.all((lost > 0.25**3 * 0.8) & (lost < 0.6**3 * 1.2))
    assert torch.all(hollow[whole < 0.5] == whole[whole < 0.5])


def test_the_grid_gives_each_axis_the_oversampling_asked_for() -> None:
    generator, shape = seeded(1), (64, 56, 48)
    crystals = random_wulff(generator, torch.full((3,), 80.0))
    surface = surface_nm(crystals, 3)
    wanted = torch.tensor([[2.0, 3.0, 4.0], [5.0, 2.5, 3.0], [3.0, 3.0, 3.0]])
    grid = oversampled_grid(random_frame(generator, 3), surface, wanted, shape)
    inside = crystals.filling(grid) > 0.02
    for n in range(3):
        for axis in range(3):
            others = [a for a in range(3) if a != axis]
            extent = int(inside[n].any(dim=others[1]).any(dim=others[0]).sum())
            assert shape[axis] / extent == pytest.approx(float(wanted[n, axis]), rel=0.12)


def test_rotations_are_rotations() -> None:
    turns = rotations(seeded(0), 5)
    assert torch.allclose(turns @ turns.mT, torch.eye(3).expand(5, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(turns), torch.ones(5), atol=1e-5)


def test_crystals_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 8 facets"):
        random_polyhedra(seeded(0), torch.ones(1), facets=3)
    with pytest.raises(ValueError, match="open"):
        scaled_to_radius(Polyhedra(normals=torch.eye(3)[None], distances_nm=torch.ones(1, 3)), torch.ones(1))
