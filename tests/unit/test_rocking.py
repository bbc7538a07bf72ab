"""What the detector sees when motors stand elsewhere, against rotations of SciPy's and by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from models.bcdi.geometry import Geometry, momentum_transfer, reciprocal_basis
from models.simulate.rocking import pattern_shift, sample_frame
from tests.helpers.patterns import rocking_geometry

SHAPE = (24, 28, 32)
CENTRE = (12, 14, 16)


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
    reference = rocking_geometry(SHAPE)
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
    reference = rocking_geometry(SHAPE)
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
