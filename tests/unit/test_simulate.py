"""The training ground's physics against closed forms, direct sums and statistics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from models.bcdi.geometry import Geometry, direct_basis, momentum_transfer, reciprocal_basis
from models.simulate.crystals import (
    Polyhedron,
    SmoothField,
    crystal_object,
    fibonacci_sphere,
    grid_points,
    random_polyhedron,
    random_rotation,
    random_strain,
    random_wulff,
    scaled_to_radius,
)
from models.simulate.detector import expose, perfect_detector, random_detector
from models.simulate.diffraction import expected_counts, far_field, pattern_shift, sample_frame

SHAPE = (24, 28, 32)
CENTRE = (12, 14, 16)
NO_STRAIN = SmoothField(centres_nm=np.zeros((1, 3)), lengths_nm=np.ones(1), heights=np.zeros(1))


def geometry(shape: tuple[int, int, int] = SHAPE) -> Geometry:
    frames, rows, columns = shape
    return Geometry(
        instrument="34-ID-C",
        energy_kev=9.0,
        distance_m=0.5,
        pixel_size_m=(55e-6, 55e-6),
        beam_center_px=(rows / 2, columns / 2),
        angles_deg={"chi": 90.0, "phi": -5.0, "delta": 32.174, "gamma": 12.6346},
        rocking_axis="theta",
        rocking_deg=0.1 + 0.012 * (np.arange(frames) - frames / 2),
    )


def cube(edge_nm: float) -> Polyhedron:
    return Polyhedron(normals=np.concatenate([np.eye(3), -np.eye(3)]), distances_nm=np.full(6, edge_nm / 2))


def test_a_cube_in_the_skewed_grid_of_a_real_geometry_has_the_sinc_form_factor() -> None:
    shape, centre = (48, 56, 64), (24, 28, 32)
    q_basis = reciprocal_basis(geometry(shape), centre, shape)
    basis_nm = direct_basis(q_basis, shape)
    edge_nm = 400.0
    psi = far_field(crystal_object(cube(edge_nm), NO_STRAIN, basis_nm, shape, 0.0))
    q = 10.0 * np.einsum("ij,zyxj->zyxi", q_basis, np.stack(np.indices(shape), axis=-1) - np.array(centre))  # 1/nm
    analytic = edge_nm**3 * np.prod(np.sinc(q * edge_nm / (2 * np.pi)), axis=-1)
    density = abs(np.linalg.det(basis_nm))
    central = np.linalg.norm(q, axis=-1) < 0.06  # four fringes; beyond, the voxels of the grid show
    assert np.count_nonzero(central) > 1000
    error = np.abs(psi * density - analytic)[central] / edge_nm**3
    assert error.max() < 0.01
    assert np.corrcoef(np.abs(psi[central]), np.abs(analytic[central]))[0, 1] > 0.999


def test_a_sphere_has_the_rayleigh_form_factor() -> None:
    edge, radius = 40, 9.0
    directions = fibonacci_sphere(600)
    ball = Polyhedron(normals=directions, distances_nm=np.full(len(directions), radius))
    psi = far_field(crystal_object(ball, NO_STRAIN, np.eye(3), (edge,) * 3, 0.0))
    q = 2 * np.pi * np.arange(1, 12) / edge
    x = q * radius
    analytic = 4 / 3 * np.pi * radius**3 * 3 * (np.sin(x) - x * np.cos(x)) / x**3
    along = psi[20, 20, 21:32].real
    assert np.abs(along - analytic).max() / psi.real.max() < 0.005
    assert psi[20, 20, 20].real == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.01)


def test_far_field_is_the_direct_sum_over_the_laboratory_frame() -> None:
    rng = np.random.default_rng(0)
    q_basis = reciprocal_basis(geometry(), CENTRE, SHAPE)
    object_ = (rng.normal(size=SHAPE) + 1j * rng.normal(size=SHAPE)).astype(np.complex64)
    points_angstrom = 10.0 * grid_points(direct_basis(q_basis, SHAPE), SHAPE)
    psi = far_field(object_)
    for index in [(12, 14, 16), (3, 20, 9), (23, 0, 31)]:
        q = q_basis @ (np.array(index) - CENTRE)
        direct = np.sum(object_ * np.exp(-1j * points_angstrom @ q))
        assert psi[index] == pytest.approx(direct, rel=1e-3, abs=0.05)


@settings(max_examples=20, deadline=None)
@given(shape=st.tuples(*[st.integers(3, 9)] * 3), finer=st.integers(1, 3), seed=st.integers(0, 99))
def test_parseval_and_finer_sampling(shape: tuple[int, int, int], finer: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    object_ = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    psi, fine = far_field(object_), far_field(object_, finer)
    power = np.sum(np.abs(object_) ** 2)
    assert np.sum(np.abs(psi) ** 2) == pytest.approx(power * psi.size, rel=1e-4)
    assert np.sum(np.abs(fine) ** 2) == pytest.approx(power * fine.size, rel=1e-4)
    assert np.allclose(fine[::finer, ::finer, ::finer], psi, atol=1e-3)
    reference = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(object_)))
    assert np.allclose(psi, reference, atol=1e-3)


def friedel_difference(phase_range: float) -> float:
    rng = np.random.default_rng(4)
    crystal, strain = random_wulff(rng, 90.0), random_strain(rng, 90.0)
    intensity = np.abs(far_field(crystal_object(crystal, strain, 10.0 * np.eye(3), (32,) * 3, phase_range))) ** 2
    inner = intensity[1:, 1:, 1:]
    return float(np.abs(inner - inner[::-1, ::-1, ::-1]).sum() / inner.sum())


def test_friedel_symmetry_holds_without_strain_only() -> None:
    assert friedel_difference(0.0) < 1e-5
    assert friedel_difference(3.0) > 0.1


def test_the_phase_of_the_form_factor_turns_with_a_shift_of_the_crystal() -> None:
    object_ = np.zeros((8, 8, 8), dtype=np.complex64)
    object_[4, 4, 5] = 1.0  # one voxel along x: psi = exp(-i q)
    psi = far_field(object_)
    assert np.allclose(psi[0, 0], np.exp(-2j * np.pi * (np.arange(8) - 4) / 8), atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_random_crystals_fit_their_radius_and_are_filled(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for crystal in (random_wulff(rng, 100.0), random_polyhedron(rng, 100.0, facets=int(rng.integers(8, 20)))):
        object_ = crystal_object(crystal, random_strain(rng, 100.0), 5.0 * np.eye(3), (48,) * 3, 2.5)
        amplitude = np.abs(object_)
        inside = amplitude > 0.5
        radius = np.linalg.norm(grid_points(5.0 * np.eye(3), (48,) * 3), axis=-1)
        assert amplitude.max() == pytest.approx(1.0, abs=1e-6)
        assert 85.0 < radius[inside].max() < 104.0
        assert inside[24, 24, 24]
        assert np.count_nonzero(inside) * 125.0 > 0.1 * 4 / 3 * np.pi * 100.0**3
        phase = np.angle(object_)[inside]
        assert np.ptp(phase) == pytest.approx(2.5, rel=0.02)


def test_rotations_are_rotations() -> None:
    turn = random_rotation(np.random.default_rng(0))
    assert np.allclose(turn @ turn.T, np.eye(3))
    assert np.linalg.det(turn) == pytest.approx(1.0)


def test_crystals_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 8 facets"):
        random_polyhedron(np.random.default_rng(0), 100.0, facets=3)
    with pytest.raises(ValueError, match="open"):
        scaled_to_radius(np.eye(3), np.ones(3), 100.0)
    with pytest.raises(ValueError, match="fills no voxel"):
        crystal_object(cube(0.0), NO_STRAIN, np.eye(3), (8, 8, 8), 1.0)
    with pytest.raises(ValueError, match="scatters nothing"):
        expected_counts(np.zeros((4, 4, 4), dtype=np.complex64), 1e4)


# The pattern and the axes


def sample_matrix(theta: float, chi: float, phi: float) -> np.ndarray:
    """34-ID-C by SciPy's rotations: theta about y, chi about -z, phi about y, outermost first."""
    return (
        Rotation.from_rotvec([0, np.deg2rad(theta), 0])
        * Rotation.from_rotvec([0, 0, -np.deg2rad(chi)])
        * Rotation.from_rotvec([0, np.deg2rad(phi), 0])
    ).as_matrix()


@given(
    st.tuples(*[st.floats(-0.05, 0.05)] * 5),
)
@settings(max_examples=30, deadline=None)
def test_the_shift_finds_the_voxel_with_the_same_q_in_the_crystal(moves: tuple[float, ...]) -> None:
    reference = geometry()
    names = ("theta", "chi", "phi", "delta", "gamma")
    nominal = {"theta": 0.1, **reference.angles_deg}
    moved = {name: nominal[name] + move for name, move in zip(names, moves, strict=True)}
    shift = pattern_shift(reference, moved, CENTRE, SHAPE)
    detector = {name: moved[name] for name in ("chi", "phi", "delta", "gamma")}
    actual = Geometry(**{**{n: getattr(reference, n) for n in reference.__slots__}, "angles_deg": detector})
    here = sample_matrix(*(moved[n] for n in names[:3])).T @ momentum_transfer(actual, CENTRE, SHAPE)
    z, row, column = np.add(CENTRE, shift)
    there = sample_matrix(0.1 + 0.012 * (z - 12.0), 90.0, -5.0).T @ momentum_transfer(reference, (z, row, column))
    step = np.linalg.norm(reciprocal_basis(reference, CENTRE, SHAPE), axis=0).min()
    assert np.linalg.norm(here - there) < 0.1 * step


def test_no_move_no_shift_and_a_rocking_step_is_one_frame() -> None:
    reference = geometry()
    assert np.allclose(pattern_shift(reference, {}, CENTRE, SHAPE), 0.0, atol=1e-9)
    assert np.allclose(pattern_shift(reference, {"theta": 0.112}, CENTRE, SHAPE), (1, 0, 0), atol=1e-6)


def test_frames_are_cut_where_asked_interpolated_between_and_empty_outside() -> None:
    rng = np.random.default_rng(0)
    intensity = rng.uniform(1.0, 2.0, (8, 12, 16)).astype(np.float32)
    frame = sample_frame(intensity, 2, np.array([2.0, 0.0, 0.0]), (6, 8))
    assert np.array_equal(frame, intensity[4, ::2, ::2])
    assert np.array_equal(sample_frame(intensity, 2, np.array([2.5, 1.0, 0.5]), (5, 7)), intensity[5, 2::2, 1:15:2])
    between = sample_frame(intensity, 1, np.array([2.25, 0.0, 0.0]), (12, 16))
    assert np.allclose(between, 0.75 * intensity[2] + 0.25 * intensity[3], rtol=1e-5)
    aside = sample_frame(intensity, 1, np.array([2.0, -3.0, 4.0]), (12, 16))
    assert not aside[:3].any()
    assert not aside[:, 12:].any()
    assert np.array_equal(aside[3:, :12], intensity[2, :9, 4:])
    for far in ([-3.0, 0, 0], [9.0, 0, 0], [2.0, 40.0, 0], [2.0, -40.0, 0], [2.0, 0, 99.0]):
        assert not sample_frame(intensity, 1, np.array(far), (12, 16)).any()


# The detector


def test_counts_are_poisson_and_a_perfect_detector_only_counts() -> None:
    rate = np.full((400, 20, 20), 7.5, dtype=np.float32)
    counts = expose(np.random.default_rng(0), rate, perfect_detector((20, 20)))
    assert counts.dtype == np.uint32
    assert counts.mean() == pytest.approx(7.5, rel=0.01)
    assert counts.var() == pytest.approx(7.5, rel=0.02)


def test_faults_are_where_the_detector_says() -> None:
    rng = np.random.default_rng(0)
    detector = random_detector(
        rng, (40, 50), gap_rows=slice(10, 13), gap_columns=slice(30, 32), dead=9, hot=7, saturation_counts=300.0
    )
    counts = expose(rng, np.full((64, 40, 50), 200.0, dtype=np.float32), detector)
    assert not counts[:, 10:13].any()
    assert not counts[:, :, 30:32].any()
    assert np.count_nonzero(~detector.announced_mask) == 3 * 50 + 2 * 40 - 6 + 9
    assert np.count_nonzero(detector.announced_mask & ~detector.true_mask) == 7
    assert not counts[:, detector.dead].any()
    assert counts.max() == 300
    hot = detector.hot_counts > 0
    assert np.all(counts[:, hot].mean(axis=0) > counts[:, detector.true_mask].mean() + 3)


def test_more_faults_than_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        random_detector(np.random.default_rng(0), (4, 4), dead=10, hot=7)
