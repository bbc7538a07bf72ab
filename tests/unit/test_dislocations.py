"""Displacement of defects against circuits around them, equilibrium, each other; phases against -Q.u."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from models.simulate.crystals import Polyhedra, SmoothSurfaces, random_wulff
from models.simulate.diffraction import far_field, intensity
from models.simulate.dislocations import POISSON_RATIO, circle, dislocation_loop, dissociated, straight_dislocation
from models.simulate.displacement import (
    phase_of,
    radial_basis_field,
    smooth_field,
    spanning,
    strained,
    surface_relaxation,
)
from models.simulate.draws import directions, seeded, unit
from models.simulate.fcc import line_of_character, shockley_partials, slip_systems, standing
from models.simulate.grains import beyond_plane, grain_cells, random_grains
from models.simulate.grid import Grid

SPHERE = math.sqrt(4 * math.pi)  # the first harmonic of a sphere of radius 1
X, Y, Z = torch.eye(3)[:, None].unbind(0)
ORIGIN = torch.zeros(1, 3)


def grid_of(edge: int, voxel_nm: float = 1.0, batch: int = 1) -> Grid:
    return Grid(basis_nm=voxel_nm * torch.eye(3).flip(-1).expand(batch, 3, 3), shape=(edge,) * 3)


def gradient(u: torch.Tensor, voxel_nm: float) -> torch.Tensor:
    """du_i / dr_j, (3, 3, z, y, x), rows i and columns j as laboratory x, y, z."""
    return torch.stack([torch.gradient(u, spacing=voxel_nm, dim=axis)[0] for axis in (-1, -2, -3)], 1)


def circuit(u: torch.Tensor) -> torch.Tensor:
    """What u gains around the z axis, right-handed, on the middle frame; the jump at the cut left out."""
    edge = u.shape[-1]
    angle = torch.linspace(-np.pi + 0.3, np.pi - 0.3, 400)
    row, column = (edge // 2 + 0.35 * edge * f for f in (angle.sin(), angle.cos()))
    plane = u[:, edge // 2]
    values = plane[:, row.round().long(), column.round().long()]
    return (values[:, -1] - values[:, 0]) * 2 * np.pi / (2 * np.pi - 0.6)


@pytest.mark.parametrize("burgers", [Z, X, Y, (X + 2 * Z) / 5**0.5], ids=["screw", "edge", "climb", "mixed"])
def test_the_displacement_gains_the_burgers_vector_once_around(burgers: torch.Tensor) -> None:
    # The periodic parts of u are the same on both ends of the circuit only if these lie at the same angle: they do
    # not, by 0.6 rad, so compare across the cut itself.
    grid = grid_of(65)
    u = straight_dislocation(grid.points_nm(), Z, burgers, torch.tensor([[0.0, 0.01, 0.0]]), Y)[0]
    above, below = u[:, 32, 33, 5], u[:, 32, 32, 5]
    assert torch.allclose(above - below, burgers[0], atol=0.06)
    elsewhere = u[:, 32, 33, 60] - u[:, 32, 32, 60]
    assert elsewhere.abs().max() < 0.06


def test_a_straight_dislocation_is_in_equilibrium() -> None:
    """Divergence of Hooke's stress vanishes: (1 - 2 nu) lap u + grad div u = 0, away from line and cut."""
    grid = grid_of(65, 0.5)
    u = straight_dislocation(grid.points_nm(), Z, (2 * X + Y + 3 * Z) / 14**0.5, ORIGIN + 0.1, Y)[0].double()
    first = gradient(u, 0.5)
    divergence = first.diagonal(dim1=0, dim2=1).sum(-1)
    laplacian = torch.stack([gradient(first[i], 0.5).diagonal(dim1=0, dim2=1).sum(-1) for i in range(3)])
    rise = gradient(divergence[None], 0.5)[0]
    residual = (1 - 2 * POISSON_RATIO) * laplacian + rise
    away = (slice(None), slice(4, -4), slice(4, -4), slice(50, -4))  # x > 0: no cut, no core
    assert residual[away].abs().max() < 0.05 * rise[away].abs().max()


def test_the_screw_winds_and_the_edge_compresses_the_side_of_its_half_plane() -> None:
    grid = grid_of(33)
    screw = straight_dislocation(grid.points_nm(), Z, Z, ORIGIN + 0.01, Y)[0]
    x, y = grid.points_nm()[0, :2]
    assert torch.allclose(screw[2], torch.atan2(y - 0.01, x - 0.01) / (2 * np.pi), atol=1e-5)
    edge = straight_dislocation(grid.points_nm(), Z, X, ORIGIN + 0.01, Y)[0]
    squeezed = gradient(edge, 1.0).diagonal(dim1=0, dim2=1).sum(-1)[16]
    assert squeezed[24, 20:28].max() < 0.0  # above the glide plane, where the extra half plane is
    assert squeezed[8, 20:28].min() > 0.0


def test_free_points_are_displaced_as_voxels_are() -> None:
    grid = grid_of(9)
    points = grid.points_nm()
    corners = circle(ORIGIN + 0.01, Y, torch.tensor([3.0]))
    for displaced in (
        lambda places: straight_dislocation(places, Z, X, ORIGIN + 0.01, Y),
        lambda places: dislocation_loop(places, corners, Y),
    ):
        assert torch.equal(displaced(points).flatten(2), displaced(points.flatten(2)))


def test_two_partials_far_away_are_one_dislocation() -> None:
    normals, steps = slip_systems()
    n, b = normals[:1], steps[:1]
    line = line_of_character(n, b, torch.tensor([0.7]))
    whole = straight_dislocation(grid_of(33).points_nm(), line, b, ORIGIN + 0.01, n)
    split = dissociated(grid_of(33).points_nm(), line, shockley_partials(n, b), ORIGIN + 0.01, n, torch.tensor([0.5]))
    height = (grid_of(33).points_nm()[0] * n[0, :, None, None, None]).sum(0).abs()
    assert (whole - split)[0, :, height > 6].abs().max() < 0.02
    assert (whole - split).abs().max() > 0.1  # within the ribbon


def test_a_large_loop_is_near_its_edge_a_straight_dislocation() -> None:
    """A square 400 nm wide in the plane y = 0; near the middle of one edge, up to a shift of the whole."""
    grid = grid_of(17)
    corners = torch.tensor([[[0.0, 0, -400], [0, 0, 400], [-800, 0, 400], [-800, 0, -400]]]) + 0.013
    for burgers in (X, Y, Z, unit(X + Y + Z)):
        loop = dislocation_loop(grid.points_nm(), corners, burgers)[0]
        straight = straight_dislocation(grid.points_nm(), Z, burgers, ORIGIN + 0.013, Y)[0]
        difference = loop - straight
        difference = difference - difference[:, 8, 3, 12, None, None, None]
        assert difference[:, :, :, 9:].abs().max() < 0.02, burgers  # x > 0: no cut of either


def test_across_the_area_of_a_loop_the_displacement_jumps_by_the_burgers_vector() -> None:
    corners = circle(ORIGIN + 0.01, Y, torch.tensor([10.0]), corners=12)
    u = dislocation_loop(grid_of(33).points_nm(), corners, Y)[0]
    jump = u[:, 16, 17, 16] - u[:, 16, 16, 16]
    assert jump[1].abs() == pytest.approx(1.0, abs=0.1)
    assert jump[[0, 2]].abs().max() < 0.03
    assert (u[:, 16, 17, 31] - u[:, 16, 16, 31]).abs().max() < 0.06
    assert u[:, 0, 0, 0].abs().max() < 0.03


def test_fcc_partials_add_up_and_lie_in_the_plane() -> None:
    normals, steps = slip_systems()
    assert len(normals) == 24
    assert (normals * steps).sum(-1).abs().max() < 1e-6
    pairs = shockley_partials(normals, steps)
    assert torch.allclose(pairs.sum(1), steps, atol=1e-6)
    assert torch.allclose(pairs.norm(dim=-1), torch.full((24, 2), 6**-0.5), atol=1e-6)
    assert (pairs @ normals[..., None]).abs().max() < 1e-6
    assert torch.allclose((pairs * 6).round(), pairs * 6, atol=1e-5)  # a/6<112>


def test_a_crystal_stands_with_its_reflection_along_q() -> None:
    generator = seeded(0)
    q, reflection = directions(generator, 6), directions(generator, 6)
    turn = standing(reflection, q, torch.linspace(0, 6, 6))
    assert torch.allclose((turn @ reflection[..., None]).squeeze(-1), q, atol=1e-5)
    assert torch.allclose(torch.linalg.det(turn), torch.ones(6), atol=1e-5)


# Phases


def test_a_uniform_strain_moves_the_pattern_by_minus_its_share_of_q() -> None:
    """u = e r: Q shrinks by e, so that the pattern lies at -e Q, and the phase is -Q.u in sign and size."""
    edge, voxel_nm, strain = 48, 2.0, 1.5e-3
    grid = grid_of(edge, voxel_nm)
    q = torch.tensor([[20.0, -10.0, 15.0]])
    filling = random_wulff(seeded(0), torch.tensor([16.0])).filling(grid)
    phase = phase_of(strain * grid.points_nm(), q)
    pattern = intensity(far_field(torch.polar(filling, phase)))[0]
    z, y, x = (n * (2 * np.pi / (edge * voxel_nm)) for n in grid.indices())
    total = pattern.sum()
    found = torch.stack(
        [(pattern.sum((0, 1)) * x).sum(), (pattern.sum((0, 2)) * y).sum(), (pattern.sum((1, 2)) * z).sum()]
    )
    assert torch.allclose(found / total, -strain * q[0], atol=0.05 * strain * float(q.norm()))


def test_a_centred_screw_with_g_b_of_one_is_dark_on_its_axis() -> None:
    grid = grid_of(64, 1.0)
    cylinder = SmoothSurfaces(coefficients_nm=torch.tensor([[14.0 * SPHERE] + [0.0] * 3]))
    u = straight_dislocation(grid.points_nm(), Z, 0.3 * Z, ORIGIN + 1e-3, Y)
    object_ = torch.polar(cylinder.filling(grid), phase_of(u, 2 * np.pi / 0.3 * Z))
    pattern = intensity(far_field(object_))[0]
    assert pattern[:, 32, 32].max() < 0.01 * pattern.max()


def test_a_defect_with_g_b_of_zero_shows_nothing() -> None:
    u = straight_dislocation(grid_of(32).points_nm(), Z, Z, ORIGIN + 0.01, Y)
    assert phase_of(u, 9.0 * X).abs().max() < 1e-5


def test_smooth_fields_are_normal_and_correlated_over_their_length() -> None:
    grid = grid_of(40, 1.0, batch=40)
    field = smooth_field(seeded(0), grid, torch.full((40,), 6.0))
    assert field.square().mean() == pytest.approx(1.0, abs=0.1)
    moved = (field[..., 6:] * field[..., :-6]).mean()
    assert moved == pytest.approx(np.exp(-0.5), abs=0.08)


def test_a_smooth_field_is_the_sum_of_plane_waves() -> None:
    """The product of matrices against cosines summed one by one."""
    grid = Grid(basis_nm=torch.randn((1, 3, 3), generator=seeded(5)), shape=(7, 8, 9))
    field = smooth_field(seeded(2), grid, torch.tensor([4.0]))
    generator = seeded(2)
    vectors = torch.randn((1, 24, 3), generator=generator) / 4.0
    start = 2 * np.pi * torch.rand((1, 24, 1), generator=generator)
    waves = torch.cos(grid.project(vectors) + start[..., None, None])
    assert torch.allclose(field, waves.sum(1) * (2 / 24) ** 0.5, atol=1e-4)


def test_phases_span_what_is_asked_and_have_no_mean() -> None:
    generator, grid = seeded(1), grid_of(32, batch=2)
    filling = random_wulff(generator, torch.tensor([9.0, 11.0])).filling(grid)
    inside = filling > 0.5
    for field in (
        smooth_field(generator, grid, torch.ones(2) * 9),
        radial_basis_field(generator, grid, torch.ones(2) * 9),
    ):
        phase = spanning(field, inside, torch.tensor([1.0, 12.0]))
        for n, span in enumerate((1.0, 12.0)):
            values = phase[n][inside[n]]
            assert float(values.max() - values.min()) == pytest.approx(span, rel=1e-3)
            assert abs(float(values.mean())) < 1e-3 * span
    object_ = strained(generator, filling, grid, torch.full((2,), 9.0), torch.tensor([1.0, 2.0]))
    assert torch.allclose(object_.abs(), filling, atol=1e-5)
    with pytest.raises(ValueError, match="fills no voxel"):
        spanning(field, inside & False, torch.ones(2))


def test_surfaces_relax_inwards_and_the_middle_stays() -> None:
    grid = grid_of(41)
    box = Polyhedra(normals=torch.cat([torch.eye(3), -torch.eye(3)])[None], distances_nm=torch.full((1, 6), 16.0))
    ball = SmoothSurfaces(coefficients_nm=torch.tensor([[16.0 * SPHERE, 0, 0, 0]]))
    for shape in (box, ball):
        u = surface_relaxation(shape, grid, torch.tensor([0.1]), torch.tensor([2.0]))[0]
        assert u[0, 20, 20, 36] == pytest.approx(-0.1, abs=0.005)
        assert u[0, 20, 20, 34] == pytest.approx(-0.1 * np.exp(-1), abs=0.005)
        assert u[:, 20, 20, 20].abs().max() < 1e-3


# Grains and planes


def test_grains_are_cells_and_the_first_diffracts() -> None:
    generator, grid = seeded(0), grid_of(32, batch=8)
    lit, phase = random_grains(generator, torch.full((8,), 10.0), grid)
    assert set(lit.unique().tolist()) <= {0.0, 1.0}
    assert torch.all(lit.sum((1, 2, 3)) > 0)
    assert torch.isfinite(phase).all()
    centres = torch.tensor([[[-5.0, 0, 0], [5.0, 0, 0]]])
    cells = grain_cells(centres, grid_of(16))[0]
    assert torch.all(cells[:, :, :8] == 0)
    assert torch.all(cells[:, :, 9:] == 1)


def test_beyond_a_plane() -> None:
    beyond = beyond_plane(X, torch.tensor([2.0]), grid_of(16))[0]
    assert torch.allclose(beyond[3, 4, 8:13], torch.tensor([0.0, 0.0, 0.5, 1.0, 1.0]))
