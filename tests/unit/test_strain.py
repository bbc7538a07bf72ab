"""Displacement and strain: signs, sizes, wraps, and cdiutils' own numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from models.bcdi.geometry import direct_basis, momentum_transfer, reciprocal_basis
from models.bcdi.resample import to_lab
from models.bcdi.strain import displacement_and_strain, phase_gradient, remove_ramp, unwrap
from tests.helpers.scans import SCAN54_PEAK, SCAN54_SHAPE, scan54

Q = np.array([2.304994, 1.063489, -0.771719])
VOXEL_NM = 8.0


def small_crystal() -> tuple[np.ndarray, np.ndarray]:
    """The object of the golden numbers: an ellipsoid with a bump of 3 rad and a ramp."""
    z, y, x = np.indices((12, 14, 16)) - np.array([5.5, 6.5, 7.5]).reshape(3, 1, 1, 1)
    support = z**2 / 25 + y**2 / 36 + x**2 / 49 < 1
    phase = 3 * np.exp(-((z - 1) ** 2 + (y + 2) ** 2 + x**2) / 18) + 0.2 * x + 0.1 * z
    return (support * np.exp(1j * phase)).astype(np.complex64), support


def ball(radius: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Places (z, y, x, 3) as laboratory x, y, z in nm from the centre, and a ball."""
    places = (np.moveaxis(np.indices((size,) * 3), 0, -1) - size // 2)[..., ::-1] * VOXEL_NM
    return places, np.linalg.norm(places, axis=-1) < radius * VOXEL_NM


# cdiutils 0.2.1, PostProcessor's unwrapping, ramp, displacement and 'hybrid' strain on small_crystal(), PyNX's sign.
CDIUTILS_STRAIN = {
    (5, 6, 7): 0.00028989043469535464,
    (6, 4, 7): -0.0011012088475034544,
    (8, 5, 10): 0.0013891262902544044,
    (3, 9, 4): -0.000427552011803427,
    (1, 6, 8): 0.0003417061103854568,
}
CDIUTILS_STRAIN_RMS = 0.0011314356672674545


def test_strain_equals_cdiutils() -> None:
    object_, support = small_crystal()
    _, strain = displacement_and_strain(object_, support, Q, VOXEL_NM)
    for place, expected in CDIUTILS_STRAIN.items():
        assert strain[place] == pytest.approx(expected, rel=2e-5)
    assert np.nanstd(strain) == pytest.approx(CDIUTILS_STRAIN_RMS, rel=1e-5)


def test_known_swelling_has_its_sign_and_size() -> None:
    """Planes pushed apart around the centre: strain is positive there, through several wraps of -Q.u."""
    places, support = ball(20, 48)
    along = Q / np.linalg.norm(Q)
    distance = places @ along
    width = 90.0
    displacement = 0.4 * distance / width * np.exp(-(distance**2) / (2 * width**2))
    truth = 0.4 / width * (1 - distance**2 / width**2) * np.exp(-(distance**2) / (2 * width**2))
    object_ = np.exp(-1j * 10.0 * np.linalg.norm(Q) * displacement).astype(np.complex64)
    found, strain = displacement_and_strain(object_, support, Q, VOXEL_NM)
    inner = binary_erosion(support, iterations=2)
    slope, offset = np.polyfit(truth[inner], strain[inner], 1)
    assert slope == pytest.approx(1.0, abs=0.03)
    assert np.std(strain[inner] - slope * truth[inner] - offset) < 0.02 * np.std(truth[inner])
    ramp = np.column_stack([places[support], np.ones(support.sum())])
    left = displacement[support] - ramp @ np.linalg.lstsq(ramp, displacement[support])[0]
    np.testing.assert_allclose(found[support], left, atol=1e-3)


def test_uniform_strain_and_rotation_are_a_ramp_and_go() -> None:
    places, support = ball(8, 20)
    moved = 1e-4 * places + np.cross([1e-4, -3e-4, 2e-4], places)
    object_ = np.exp(-10j * moved @ Q).astype(np.complex64)
    displacement, strain = displacement_and_strain(object_, support, Q, VOXEL_NM)
    np.testing.assert_allclose(displacement[support], 0.0, atol=1e-4)
    np.testing.assert_allclose(strain[support], 0.0, atol=1e-6)


def test_noise_of_the_surface_leaves_no_offset_in_the_bulk() -> None:
    """Much of the support is surface, dim, with a phase that leans to one side: the bulk's strain keeps its mean."""
    places, support = ball(8, 24)
    bulk = binary_erosion(support)
    along = places @ (Q / np.linalg.norm(Q))
    swelling_nm = 0.02 * np.exp(-np.sum(places**2, axis=-1) / (2 * 40.0**2))
    random = np.random.default_rng(5)
    surface = 0.15 * np.exp(1j * (0.01 * along + random.normal(0.0, 0.8, along.shape)))
    crystal = np.exp(-10j * np.linalg.norm(Q) * swelling_nm)
    object_ = (support * np.where(bulk, crystal, surface)).astype(np.complex64)
    _, strain = displacement_and_strain(object_, support, Q, VOXEL_NM)
    inside = strain[binary_erosion(bulk)]  # no neighbour at the surface
    assert np.count_nonzero(bulk) < 0.75 * np.count_nonzero(support)
    assert abs(inside.mean()) < 0.1 * np.sqrt(np.mean(inside**2))


def test_outside_is_nan_and_float32() -> None:
    object_, support = small_crystal()
    for field in displacement_and_strain(object_, support, Q, VOXEL_NM):
        assert field.dtype == np.float32
        np.testing.assert_array_equal(np.isnan(field), ~support)


def test_noise_outside_the_support_changes_nothing() -> None:
    object_, support = small_crystal()
    noise = np.random.default_rng(1).normal(size=object_.shape) + 0j
    noisy = np.where(support, object_, noise).astype(np.complex64)
    for clean, other in zip(
        displacement_and_strain(object_, support, Q, VOXEL_NM),
        displacement_and_strain(noisy, support, Q, VOXEL_NM),
        strict=True,
    ):
        np.testing.assert_array_equal(clean, other)


def test_from_the_skewed_grid_to_strain() -> None:
    """The whole way in 34-ID-C's geometry: object on the skewed grid, known strain on the laboratory grid."""
    shape = (48, 48, 48)
    basis = direct_basis(reciprocal_basis(scan54(), SCAN54_PEAK, SCAN54_SHAPE), shape) * 0.4
    q = momentum_transfer(scan54(), SCAN54_PEAK)
    along, width = q / np.linalg.norm(q), 130.0
    places = (np.moveaxis(np.indices(shape), 0, -1) - 24) @ basis.T
    support = np.sum((places / (150.0, 120.0, 180.0)) ** 2, axis=-1) < 1

    def displacement(at: np.ndarray) -> np.ndarray:
        return 0.1 * np.exp(-np.sum((at - (40.0, -20.0, 30.0)) ** 2, axis=-1) / (2 * width**2))

    object_ = (support * np.exp(-10j * np.linalg.norm(q) * displacement(places))).astype(np.complex64)
    object_lab, support_lab, voxel_nm = to_lab(object_, support, basis)
    _, strain = displacement_and_strain(object_lab, support_lab, q, voxel_nm)
    assert np.count_nonzero(np.isfinite(strain)) > 0.99 * np.count_nonzero(support_lab)
    bulk = binary_erosion(support_lab)
    middle = basis @ (np.argwhere(support).mean(axis=0) - 24)
    at = (np.argwhere(bulk) - (np.array(bulk.shape) - 1) / 2)[:, ::-1] * voxel_nm + middle
    truth = displacement(at + 0.5 * along) - displacement(at - 0.5 * along)
    assert np.corrcoef(truth, strain[bulk])[0, 1] > 0.99
    assert np.polyfit(truth, strain[bulk], 1)[0] == pytest.approx(1.0, abs=0.05)


def test_dislocation_leaves_no_false_strain_on_its_sheet() -> None:
    """Around a screw dislocation the phase climbs 2 pi: no unwrapping is right, the differences are."""
    z, y, x = np.indices((6, 24, 24)) - 11.5
    support = (np.hypot(y, x) < 10) & (np.hypot(y, x) > 3)
    object_ = np.exp(1j * np.arctan2(y, x)).astype(np.complex64) * np.ones_like(z)
    _, strain = displacement_and_strain(object_, support, [0.0, 2.5, 0.0], 1.0)
    steepest = 1 / 3 / 25.0
    assert np.nanmax(np.abs(strain)) < 1.5 * steepest


def test_gradient_is_one_sided_at_the_surface_and_nan_alone() -> None:
    phase = np.full((1, 1, 6), np.nan)
    phase[0, 0, 0:3] = [0.0, 1.0, 4.0 - 2 * np.pi]
    phase[0, 0, 4] = 7.0
    np.testing.assert_allclose(phase_gradient(phase, 2)[0, 0], [1.0, 2.0, 3.0, np.nan, np.nan, np.nan])


def test_unwrap_is_the_same_every_time_and_removes_jumps() -> None:
    _, support = ball(8, 20)
    slope = 1.1 * np.indices(support.shape)[1]
    wrapped = np.angle(np.exp(1j * slope))
    first, second = unwrap(wrapped, support), unwrap(wrapped, support)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(remove_ramp(first, support, np.ones(support.shape))[support], 0.0, atol=1e-9)


def test_impossible_input_is_refused() -> None:
    object_, support = small_crystal()
    with pytest.raises(ValueError, match="support is empty"):
        displacement_and_strain(object_, np.zeros_like(support), Q, VOXEL_NM)
    for q, voxel in (([0, 0, 0], 8.0), (Q, 0.0), (Q[:2], 8.0), (Q, float("nan"))):
        with pytest.raises(ValueError, match="expected Q of three numbers"):
            displacement_and_strain(object_, support, q, voxel)
