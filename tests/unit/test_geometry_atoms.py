"""Q, voxels and the sign of the phase against a direct sum over atoms, each pixel and angle by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from models.bcdi.geometry import Geometry, momentum_transfer, reciprocal_basis, sample_rotation
from tests.helpers.scans import scan54


def explicit_q(geometry: Geometry, frame: int, row: float, column: float) -> np.ndarray:
    """k_out - k_in in the frame of the unturned 34-ID-C sample: scipy's rotations, one pixel at a time."""
    arm = Rotation.from_euler("y", geometry.angles_deg["delta"], degrees=True) * Rotation.from_euler(
        "x", -geometry.angles_deg["gamma"], degrees=True
    )
    center_row, center_column = geometry.beam_center_px
    height, width = geometry.pixel_size_m
    pixel = np.array([width * (column - center_column), -height * (row - center_row), geometry.distance_m])
    out = arm.apply(pixel / np.linalg.norm(pixel))
    sample = (
        Rotation.from_euler("y", geometry.rocking_deg[frame], degrees=True)
        * Rotation.from_euler("z", -geometry.angles_deg["chi"], degrees=True)
        * Rotation.from_euler("y", geometry.angles_deg["phi"], degrees=True)
    )
    k = 2 * np.pi * geometry.energy_kev / 12.398419843320026
    return sample.inv().apply(k * (out - [0.0, 0.0, 1.0]))


def lattice_scan() -> tuple[Geometry, tuple[int, int, int], tuple[int, int, int]]:
    """scan54 with coarser steps, so that a few hundred point atoms fill the volume with fringes."""
    peak, shape = (8, 9, 7), (17, 18, 16)
    coarse = replace(
        scan54(),
        pixel_size_m=(165e-6, 165e-6),
        beam_center_px=(54.0, 51.0),
        rocking_deg=0.2 + 0.04 * (np.arange(shape[0]) - peak[0]),
    )
    return coarse, peak, shape


def atoms(q_sample: np.ndarray) -> np.ndarray:
    """Nine cubed points (n, 3) in angstrom, about 100 nm across, lopsided, on planes of spacing 2 pi / |Q| times 50."""
    along = q_sample / np.linalg.norm(q_sample)
    one = np.cross(along, [0.3, -0.5, 0.8])
    one /= np.linalg.norm(one)
    steps = np.column_stack([one, np.cross(along, one), along]) * (50 * 2 * np.pi / np.linalg.norm(q_sample))
    numbers = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return (numbers[numbers @ [1, 2, 1] < 5] * [1, 1.3, 1]) @ steps.T


def direct_sum(geometry: Geometry, shape: tuple[int, int, int], places: np.ndarray) -> np.ndarray:
    """Intensity [z, y, x] of point atoms: |sum exp(-i Q.r)|^2, each Q from its own angle and pixel."""
    pattern = np.empty(shape)
    for index in np.ndindex(*shape):
        pattern[index] = abs(np.exp(-1j * (places @ explicit_q(geometry, *index))).sum()) ** 2
    return pattern


def by_basis(geometry: Geometry, peak, shape, places: np.ndarray, displacement: np.ndarray, sign: float) -> np.ndarray:
    """The same with our linear map: |sum exp(i phase) exp(-i q.r)|^2, phase = sign Q.u."""
    basis = reciprocal_basis(geometry, peak, shape)
    turn = sample_rotation(geometry, peak[0])
    q = momentum_transfer(geometry, peak)
    density = np.exp(1j * sign * (displacement @ turn.T) @ q)
    steps = np.moveaxis(np.indices(shape), 0, -1) - peak
    return np.abs(np.exp(-1j * (steps @ basis.T) @ (places @ turn.T).T) @ density) ** 2


def test_lattice_of_atoms_peaks_where_the_geometry_says() -> None:
    geometry, peak, shape = lattice_scan()
    places = atoms(explicit_q(geometry, *peak))
    pattern = direct_sum(geometry, shape, places)
    assert np.unravel_index(pattern.argmax(), shape) == peak
    model = by_basis(geometry, peak, shape, places, np.zeros_like(places), -1.0)
    assert np.corrcoef(pattern.ravel(), model.ravel())[0, 1] > 0.9999


def test_strained_lattice_has_phase_minus_q_dot_u() -> None:
    geometry, peak, shape = lattice_scan()
    q = explicit_q(geometry, *peak)
    places = atoms(q)
    away = np.sum((places - [150.0, -100.0, 200.0]) ** 2, axis=1)
    displacement = 0.8 * np.exp(-away / (2 * 250.0**2))[:, None] * q / np.linalg.norm(q)
    pattern = direct_sum(geometry, shape, places + displacement)
    right, wrong = (
        np.corrcoef(pattern.ravel(), by_basis(geometry, peak, shape, places, displacement, sign).ravel())[0, 1]
        for sign in (-1.0, 1.0)
    )
    assert right > 0.999
    assert wrong < 0.98


def test_strained_lattice_moves_to_smaller_q() -> None:
    """Uniform strain and a rigid turn shift the peak by -strain Q and by rotation x Q, as our voxels count it."""
    geometry, peak, shape = lattice_scan()
    q = explicit_q(geometry, *peak)
    strain, turn = 1e-3, np.array([4e-4, -8e-4, 6e-4])
    places = atoms(q)
    moved = places * (1 + strain) + np.cross(turn, places)
    pattern = direct_sum(geometry, shape, moved)
    heavy = pattern**2
    found = np.array([np.sum(axis * heavy) for axis in np.indices(shape)]) / heavy.sum()
    expected_q = sample_rotation(geometry, peak[0]) @ (-strain * q + np.cross(turn, q))
    expected = np.linalg.solve(reciprocal_basis(geometry, peak, shape), expected_q)
    assert np.linalg.norm(expected) > 1.0
    np.testing.assert_allclose(found - peak, expected, atol=0.1)
