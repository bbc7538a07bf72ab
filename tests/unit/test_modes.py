"""Alignment recovers what was done to an object; modes are those of a singular value decomposition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from models.bcdi.modes import align, correlation, mode_decomposition, nearest_hand, twin
from tests.helpers.patterns import strained_crystal, transform

EDGE = 32


def smooth(seed: int = 0) -> np.ndarray:
    """A crystal without sharp facets, so that a shift by part of a voxel does not ring."""
    object_ = strained_crystal(EDGE, seed)
    return ndimage.gaussian_filter(object_, 1.0).astype(np.complex64)


def inverted(object_: np.ndarray) -> np.ndarray:
    """conj(object(-r)) about index n // 2, voxel by voxel."""
    index = np.ix_(*((2 * (n // 2) - np.arange(n)) % n for n in object_.shape))
    return object_[index].conj()


def moved(object_: np.ndarray, shift: tuple, ramp: tuple, phase: float) -> np.ndarray:
    field = ndimage.fourier_shift(np.fft.fftn(object_), shift)
    out = np.fft.ifftn(field) * np.exp(1j * phase)
    for axis, cycles in enumerate(ramp):
        n = object_.shape[axis]
        out = out * np.exp(2j * np.pi * cycles * np.arange(n) / n).reshape([-1 if a == axis else 1 for a in range(3)])
    return out.astype(np.complex64)


def unlike(seed: int) -> np.ndarray:
    """Random values in a box: nothing in common with any other."""
    rng = np.random.default_rng(seed)
    out = np.zeros((EDGE,) * 3, dtype=np.complex64)
    out[11:21, 11:21, 11:21] = rng.normal(size=(10, 10, 10)) + 1j * rng.normal(size=(10, 10, 10))
    return out


@pytest.mark.parametrize("shape", [(8, 10, 12), (7, 9, 11), (7, 8, 9)])
def test_twin_is_the_conjugate_inversion_and_its_own_inverse(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    object_ = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    np.testing.assert_array_equal(twin(object_), inverted(object_))
    np.testing.assert_array_equal(twin(twin(object_)), object_)
    np.testing.assert_allclose(np.abs(transform(twin(object_))), np.abs(transform(object_)), rtol=1e-4)


parts = st.tuples(*[st.floats(-0.5, 0.5)] * 3)


# Making a failure smaller would take minutes, and a smaller move tells no more.
@settings(max_examples=15, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate))
@given(st.tuples(*[st.floats(-6.0, 6.0)] * 3), parts, st.floats(-3.1, 3.1), st.booleans())
def test_alignment_undoes_shift_ramp_phase_and_hand(shift: tuple, ramp: tuple, phase: float, other: bool) -> None:
    reference = smooth()
    changed = moved(twin(reference) if other else reference, shift, ramp, phase)
    aligned = align(changed, reference)
    assert aligned.twin is other
    assert aligned.correlation > 0.9995
    assert np.abs(aligned.object_ - reference).max() < 0.03 * np.abs(reference).max()
    if not other:
        np.testing.assert_allclose(aligned.shift, np.negative(shift), atol=0.05)
        np.testing.assert_allclose(aligned.ramp, np.negative(ramp), atol=0.05)


def test_objects_wrapped_around_the_edge_are_aligned() -> None:
    reference = smooth()
    aligned = align(np.roll(reference, (15, -14, 16), (0, 1, 2)), reference)
    assert aligned.correlation > 0.999
    np.testing.assert_allclose(aligned.object_, reference, atol=0.02)


def test_objects_that_fill_the_array_are_aligned() -> None:
    rng = np.random.default_rng(0)
    reference = (rng.normal(size=(9, 10, 11)) + 1j * rng.normal(size=(9, 10, 11))).astype(np.complex64)
    aligned = align(np.roll(reference, (1, -2, 3), (0, 1, 2)) * np.complex64(1j), reference)
    np.testing.assert_allclose(aligned.object_, reference, atol=1e-3)


def test_alignment_keeps_the_amplitudes_of_the_moved_object() -> None:
    aligned = align(3.0 * smooth(), smooth())
    assert np.linalg.norm(aligned.object_) == pytest.approx(3.0 * np.linalg.norm(smooth()), rel=1e-4)
    assert aligned.correlation == pytest.approx(1.0, abs=1e-5)
    assert aligned.object_.dtype == np.complex64


def test_twins_correlate_fully_and_strangers_do_not() -> None:
    assert correlation(smooth(), twin(smooth())) == pytest.approx(1.0, abs=1e-4)
    assert correlation(unlike(1), unlike(2)) < 0.3
    assert correlation(smooth(), unlike(2)) < 0.5


def test_nearest_hand_turns_the_twin_and_nothing_else() -> None:
    object_ = smooth()
    turned, was_turned = nearest_hand(twin(object_), object_)
    assert was_turned
    np.testing.assert_array_equal(turned, object_)
    same, was_turned = nearest_hand(object_, object_)
    assert not was_turned
    assert same is object_


@pytest.mark.parametrize("previous", [None, np.ones((4, 4, 4), dtype=np.complex64)])
def test_without_a_previous_one_of_its_shape_an_object_keeps_its_hand(previous: np.ndarray | None) -> None:
    object_ = smooth()
    assert nearest_hand(object_, previous) == (object_, False)


@pytest.mark.parametrize(
    ("object_", "message"),
    [
        (np.ones((4, 4, 5), dtype=np.complex64), r"differ in shape: \(4, 4, 5\) and \(4, 4, 4\)"),
        (np.zeros((4, 4, 4), dtype=np.complex64), "norm 0.0"),
        (np.full((4, 4, 4), np.nan, dtype=np.complex64), "norm nan"),
        (np.full((4, 4, 4), np.inf, dtype=np.complex64), "norm"),
    ],
)
def test_what_cannot_be_compared_is_refused(object_: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        align(object_, np.ones((4, 4, 4), dtype=np.complex64))
    assert "\n" not in str(raised.value)


def test_one_object_in_many_phases_is_one_mode() -> None:
    object_ = smooth()
    phases = np.exp(1j * np.array([0.0, 1.0, 2.0, -3.0]))[:, None, None, None]
    mode, weights = mode_decomposition((object_ * phases).astype(np.complex64))
    np.testing.assert_allclose(weights, [1.0, 0.0, 0.0, 0.0], atol=1e-5)
    np.testing.assert_allclose(mode, object_, atol=1e-4)
    assert mode.dtype == np.complex64
    assert weights.dtype == np.float32


def test_objects_with_nothing_in_common_share_no_mode() -> None:
    boxes = np.zeros((4, 8, 8, 8), dtype=np.complex64)
    for index, box in enumerate(boxes):
        box[2 * index : 2 * index + 2] = 1.0
    _, weights = mode_decomposition(boxes)
    np.testing.assert_allclose(weights, 0.25, atol=1e-5)


def test_modes_are_singular_vectors() -> None:
    rng = np.random.default_rng(3)
    objects = smooth()[None] * np.array([1.0, 0.8, 1.3])[:, None, None, None]
    objects = (objects + 0.2 * (rng.normal(size=objects.shape) + 1j * rng.normal(size=objects.shape))).astype(
        np.complex64
    )
    mode, weights = mode_decomposition(objects)
    _, singular, vectors = np.linalg.svd(objects.reshape(3, -1), full_matrices=False)
    np.testing.assert_allclose(weights, singular**2 / np.sum(singular**2), rtol=1e-4)
    norm = np.linalg.norm(mode)
    assert abs(np.vdot(vectors[0], mode.ravel())) == pytest.approx(norm, rel=1e-4)
    assert norm**2 == pytest.approx(np.mean([np.linalg.norm(one) ** 2 for one in objects]), rel=1e-4)
    assert np.angle(np.vdot(mode, objects[0])) == pytest.approx(0.0, abs=1e-4)


def test_a_single_object_is_its_own_mode() -> None:
    mode, weights = mode_decomposition(smooth()[None])
    np.testing.assert_allclose(mode, smooth(), atol=1e-5)
    np.testing.assert_array_equal(weights, [1.0])
