"""Skewed grids onto cubes: shapes keep their size, place, hand and phase."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.bcdi.geometry import direct_basis, momentum_transfer, reciprocal_basis, sample_rotation
from models.bcdi.resample import along_crystal_axes, along_q, remove_mean_ramp, to_crystal, to_lab
from tests.helpers.scans import SCAN54_PEAK, SCAN54_SHAPE, scan54

SHAPE = (40, 44, 48)


def skewed() -> np.ndarray:
    basis = direct_basis(reciprocal_basis(scan54(), SCAN54_PEAK, SCAN54_SHAPE), SHAPE)
    return basis * 0.5


def ellipsoid(basis_nm: np.ndarray, half_axes_nm: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Laboratory places (z, y, x, 3) from the array's centre, and an ellipsoid on the axes x, y, z."""
    places = (np.moveaxis(np.indices(SHAPE), 0, -1) - np.array(SHAPE) // 2) @ basis_nm.T
    return places, np.sum((places / half_axes_nm) ** 2, axis=-1) < 1


def half_lengths(support: np.ndarray, voxel_nm: float) -> np.ndarray:
    """Half the extent along x, y, z in nm."""
    return (np.ptp(np.argwhere(support), axis=0)[::-1] + 1) * voxel_nm / 2


def test_an_ellipsoid_comes_out_straight_and_true() -> None:
    basis, half_axes = skewed(), (170.0, 130.0, 220.0)
    _, support = ellipsoid(basis, half_axes)
    object_lab, support_lab, voxel_nm = to_lab(support.astype(np.complex64), support, basis)
    assert voxel_nm == pytest.approx(np.linalg.norm(basis, axis=0).min())
    np.testing.assert_allclose(half_lengths(support_lab, voxel_nm), half_axes, atol=1.5 * voxel_nm)
    volume = np.count_nonzero(support) * abs(np.linalg.det(basis))
    assert np.count_nonzero(support_lab) * voxel_nm**3 == pytest.approx(volume, rel=0.02)
    assert object_lab.dtype == np.complex64
    assert support_lab.dtype == np.bool_
    np.testing.assert_allclose(np.argwhere(support_lab).mean(axis=0), (np.array(support_lab.shape) - 1) / 2, atol=0.1)


def test_a_field_keeps_its_directions() -> None:
    """A phase quadratic in laboratory x, y and z, each of its own strength, comes out as it went in."""
    basis = skewed()
    places, support = ellipsoid(basis, (170.0, 130.0, 220.0))
    strengths = np.array([1.2, -0.8, 0.5]) / 150.0**2
    phase = places**2 @ strengths
    object_lab, support_lab, voxel_nm = to_lab(
        (support * np.exp(1j * phase)).astype(np.complex64), support, basis, 12.0
    )
    middle = basis @ (np.argwhere(support).mean(axis=0) - np.array(SHAPE) // 2)
    at = (np.argwhere(support_lab) - (np.array(support_lab.shape) - 1) / 2)[:, ::-1] * voxel_nm + middle
    off = np.angle(object_lab[support_lab] * np.exp(-1j * (at**2 @ strengths)))
    plane = np.column_stack([at, np.ones(len(at))])
    assert np.std(off - plane @ np.linalg.lstsq(plane, off)[0]) < 0.05


def test_ramp_and_offset_are_taken_off_whatever_their_size() -> None:
    _, support = ellipsoid(skewed(), (170.0, 130.0, 220.0))
    z, y, x = np.indices(SHAPE)
    object_ = (support * np.exp(1j * (1.9 * z - 2.6 * y + 0.4 * x + 1.0))).astype(np.complex64)
    flat = remove_mean_ramp(object_, support)
    np.testing.assert_allclose(flat[support], 1.0, atol=1e-3)
    np.testing.assert_allclose(np.abs(flat), np.abs(object_), atol=1e-6)


def test_steep_ramps_do_not_dim_the_object() -> None:
    basis = skewed()
    _, support = ellipsoid(basis, (170.0, 130.0, 220.0))
    ramp = np.exp(2.5j * np.indices(SHAPE)[0])
    object_lab, support_lab, _ = to_lab((support * ramp).astype(np.complex64), support, basis)
    inner = support_lab & (np.abs(object_lab) > 0.98)
    assert inner.sum() > 0.7 * support_lab.sum()


def test_crystal_frame_has_q_along_z() -> None:
    basis, q = skewed(), momentum_transfer(scan54(), SCAN54_PEAK)
    places, _ = ellipsoid(basis, (1.0, 1.0, 1.0))
    turn = along_q(q)
    np.testing.assert_allclose(turn @ q, [0.0, 0.0, np.linalg.norm(q)], atol=1e-12)
    support = np.sum((places @ turn.T / (100.0, 100.0, 190.0)) ** 2, axis=-1) < 1
    _, support_crystal, voxel_nm = to_crystal(support.astype(np.complex64), support, basis, turn)
    np.testing.assert_allclose(half_lengths(support_crystal, voxel_nm), (100.0, 100.0, 190.0), atol=1.5 * voxel_nm)


@given(st.tuples(*[st.floats(-3, 3) for _ in range(3)]).filter(lambda v: np.linalg.norm(v) > 1e-2))
@example((0.0, 9.771607351280534e-163, -0.5))
def test_along_q_is_a_rotation(q) -> None:
    turn = along_q(q)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(turn) == pytest.approx(1.0)
    np.testing.assert_allclose(turn @ q, [0, 0, np.linalg.norm(q)], atol=1e-9)


def test_along_q_knows_the_beam_and_its_opposite() -> None:
    np.testing.assert_allclose(along_q([0, 0, 2.0]), np.eye(3), atol=1e-12)
    np.testing.assert_allclose(along_q([0, 0, -2.0]) @ [0, 0, -1], [0, 0, 1], atol=1e-12)


def test_crystal_axes_follow_the_orientation() -> None:
    """A cubic crystal set so that (1, -1, 0) lies along laboratory x and (1, 1, 1) along y at zero angles."""
    x, y = np.array([1, -1, 0]) / np.sqrt(2), np.array([1, 1, 1]) / np.sqrt(3)
    turn = np.array([x, y, np.cross(x, y)])
    ub = turn * 2 * np.pi / 4.08
    sample = sample_rotation(scan54(), 98.0)
    found = along_crystal_axes(ub, sample, (1, -1, 0), (1, 1, 1))
    np.testing.assert_allclose(found @ sample @ ub @ [1, 1, 1], [0, 2 * np.pi / 4.08 * np.sqrt(3), 0], atol=1e-12)
    np.testing.assert_allclose(found, sample.T, atol=1e-12)
    with pytest.raises(ValueError, match="parallel or zero"):
        along_crystal_axes(ub, sample, (1, 1, 1), (2, 2, 2))


def test_impossible_input_is_refused() -> None:
    basis = skewed()
    empty = np.zeros(SHAPE, dtype=bool)
    full = np.ones(SHAPE, dtype=bool)
    object_ = np.ones(SHAPE, dtype=np.complex64)
    for arguments, message in (
        ((object_, empty, basis), "support is empty"),
        ((object_, full[1:], basis), "volumes of one shape"),
        ((object_, full, basis, 0.0), "voxel_nm must be positive"),
        ((object_, full, basis, float("nan")), "voxel_nm must be positive"),
        ((object_, full, basis, 0.05), "give a larger voxel_nm"),
    ):
        with pytest.raises(ValueError, match=message):
            to_lab(*arguments)
    for q in ([0, 0, 0], [1, 2], [np.nan, 0, 1]):
        with pytest.raises(ValueError, match="Q must be three numbers"):
            along_q(q)
