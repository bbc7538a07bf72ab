"""Far fields against direct sums, and what is done to intensities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.simulate.crystals import random_wulff
from models.simulate.diffraction import (
    far_field,
    far_field_of_frames,
    intensity,
    partially_coherent,
    scaled_to_flux,
    scaled_to_peak,
)
from models.simulate.displacement import strained
from models.simulate.draws import seeded
from models.simulate.grid import Grid, random_frame, reciprocal_basis


def noise(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.complex64, generator=seeded(seed))


def test_far_field_is_the_direct_sum_over_the_laboratory_frame() -> None:
    shape = (24, 28, 32)
    frame = random_frame(seeded(0), 1)
    grid = Grid(basis_nm=torch.linalg.inv(frame.steps).mT * 4.0, shape=shape)
    object_ = noise((1, *shape))
    points = grid.points_nm()[0].double()
    psi = far_field(object_)[0]
    for index in [(12, 14, 16), (3, 20, 9), (23, 0, 31)]:
        steps = torch.tensor(index) - torch.tensor([12, 14, 16])
        q = reciprocal_basis(grid)[0].double() @ steps.double()
        direct = (object_[0] * torch.exp(-1j * torch.einsum("c,czyx->zyx", q, points))).sum()
        assert complex(psi[index]) == pytest.approx(complex(direct), rel=1e-3, abs=0.2)


@settings(max_examples=20, deadline=None)
@given(shape=st.tuples(*[st.integers(3, 9)] * 3), finer=st.integers(1, 3), seed=st.integers(0, 99))
def test_parseval_and_finer_sampling(shape: tuple[int, int, int], finer: int, seed: int) -> None:
    object_ = noise(shape, seed)
    psi, fine = far_field(object_), far_field(object_, finer)
    power = float(intensity(object_).sum())
    assert float(intensity(psi).sum()) == pytest.approx(power * psi.numel(), rel=1e-4)
    assert float(intensity(fine).sum()) == pytest.approx(power * fine.numel(), rel=1e-4)
    assert torch.allclose(fine[::finer, ::finer, ::finer], psi, atol=1e-3)
    reference = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(object_.numpy())))
    assert np.allclose(psi.numpy(), reference, atol=1e-3)


@settings(max_examples=10, deadline=None)
@given(shape=st.tuples(*[st.integers(3, 9)] * 3))
def test_frames_without_jitter_are_the_far_field(shape: tuple[int, int, int]) -> None:
    object_ = noise((2, *shape))
    assert torch.allclose(far_field_of_frames(object_, torch.zeros(2, shape[0])), far_field(object_), atol=1e-3)


def test_a_frame_taken_a_step_late_is_the_next_one() -> None:
    object_ = noise((1, 8, 9, 10))
    late = far_field_of_frames(object_, torch.ones(1, 8))
    assert torch.allclose(late[:, :-1], far_field(object_)[:, 1:], atol=1e-3)


def test_the_phase_of_the_form_factor_turns_with_a_shift_of_the_crystal() -> None:
    object_ = torch.zeros((8, 8, 8), dtype=torch.complex64)
    object_[4, 4, 5] = 1.0  # one voxel along x: psi = exp(-i q)
    turned = np.exp(-2j * np.pi * (np.arange(8) - 4) / 8)
    assert np.allclose(far_field(object_)[0, 0].numpy(), turned, atol=1e-6)


def test_friedel_symmetry_holds_without_strain_only() -> None:
    grid = Grid(basis_nm=torch.eye(3).flip(-1)[None], shape=(32, 32, 32))
    filling = random_wulff(seeded(4), torch.tensor([9.0])).filling(grid)
    differences = []
    for span in (0.0, 3.0):
        object_ = strained(seeded(4), filling, grid, torch.tensor([9.0]), torch.tensor([span]))
        inner = intensity(far_field(object_))[0, 1:, 1:, 1:]
        differences.append(float((inner - inner.flip((0, 1, 2))).abs().sum() / inner.sum()))
    assert differences[0] < 1e-5
    assert differences[1] > 0.1


def test_partial_coherence_adds_its_variance_and_keeps_the_flux() -> None:
    index = torch.arange(32.0) - 16
    hump = torch.exp(-index.square() / 18.0)
    hump = hump[:, None, None] * hump[:, None] * hump
    widths = torch.tensor([[2.0, 3.0, 4.0], [4.0, 2.0, 3.0]])
    blurred = partially_coherent(hump.expand(2, -1, -1, -1), widths)
    assert torch.allclose(blurred.sum((1, 2, 3)), hump.sum().expand(2), rtol=1e-3)
    for n in range(2):
        for axis in range(3):
            line = blurred[n].sum(dim=[a for a in range(3) if a != axis])
            variance = float((line * index.square()).sum() / line.sum())
            assert variance == pytest.approx(9.0 + (float(widths[n, axis]) / 2.3548) ** 2, rel=0.02)


def test_patterns_are_scaled_to_flux_or_peak() -> None:
    pattern = intensity(noise((2, 6, 6, 6)))
    assert torch.allclose(scaled_to_flux(pattern, torch.tensor([1e4, 1e6])).sum((1, 2, 3)), torch.tensor([1e4, 1e6]))
    peaks = scaled_to_peak(pattern, torch.tensor([5.0, 7.0]), finer=2)
    assert torch.allclose(peaks[:, ::2, ::2, ::2].amax((1, 2, 3)), torch.tensor([5.0, 7.0]))
    with pytest.raises(ValueError, match="scatters nothing"):
        scaled_to_flux(torch.zeros(1, 4, 4, 4), torch.ones(1))
