"""Repeated scans: aligned by whole voxels, summed without losing Poisson, strangers left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from models.bcdi.combine import combine_scans, shifted

SHAPE = (24, 32, 36)


@dataclass(frozen=True)
class FakeScan:
    counts: np.ndarray
    mask: np.ndarray
    scale: np.ndarray


def crystal(size: tuple[int, int, int] = (6, 7, 8)) -> np.ndarray:
    """Expected counts of a small random block, its peak at the centre."""
    small = np.zeros(SHAPE, dtype=complex)
    small[tuple(slice(edge) for edge in size)] = np.random.default_rng(0).uniform(0.5, 1.0, size)
    intensity = np.abs(np.fft.fftshift(np.fft.fftn(small))) ** 2
    return 2e3 * intensity / intensity.max()


def scan(expected: np.ndarray, seed: int, shift: tuple[int, int, int] = (0, 0, 0), scale: float = 1.0) -> FakeScan:
    counts = np.random.default_rng(seed).poisson(scale * shifted(expected, shift) + 0.01).astype(np.float32)
    return FakeScan(counts, np.ones(SHAPE, dtype=bool), np.full(SHAPE[0], scale, dtype=np.float32))


def test_shifts_are_found_and_counts_add_up_as_one_longer_exposure() -> None:
    expected = crystal()
    moves = [(0, 0, 0), (2, -3, 4), (-1, 5, 0)]
    combined = combine_scans([scan(expected, seed, move) for seed, move in enumerate(moves)])
    assert combined.shifts == ((0, 0, 0), (-2, 3, -4), (1, -5, 0))
    assert combined.used == (True, True, True)
    inner = (slice(4, -4), slice(6, -6), slice(6, -6))
    assert np.allclose(combined.scale[inner], 1.0)
    rate = 3 * expected[inner]
    deviation = (combined.counts[inner] - rate)[rate > 5] / np.sqrt(rate[rate > 5])
    # Poisson: the variance is the mean.
    assert np.var(deviation) == pytest.approx(1.0, abs=0.15)
    assert np.array_equal(combined.counts, np.round(combined.counts))
    assert "3 of 3 scans summed" in combined.notes[0]


def test_exposure_is_counted_per_voxel() -> None:
    expected = crystal()
    first, second = scan(expected, 1, scale=1.5), scan(expected, 2, scale=0.5)
    first.mask[:, :, 30] = False
    second.mask[:, 3] = False
    first.mask[:, 3] = False
    combined = combine_scans([first, second])
    assert combined.scale[5, 10, 10] == pytest.approx(1.0)
    assert combined.scale[5, 10, 30] == pytest.approx(0.25)
    assert not combined.mask[:, 3].any()
    assert combined.mask[:, 4:].all()
    assert not combined.counts[:, 3].any()


def test_hot_pixels_do_not_hold_the_scans_where_they_are() -> None:
    expected = crystal()
    scans = [scan(expected, 1), scan(expected, 2, (1, 2, 3))]
    for one in scans:
        one.counts[:, 5, 6] = 5e4
        one.counts[:, 28, 30] = 2e4
    combined = combine_scans(scans)
    assert combined.shifts[1] == (-1, -2, -3)
    assert combined.counts[:, 5, 6].max() < 1e3
    assert combined.mask[3, 5, 6]  # the shifted scan saw this voxel
    assert combined.scale[3, 5, 6] == pytest.approx(0.5)


def test_another_crystal_is_left_out_and_told() -> None:
    combined = combine_scans([scan(crystal(), 1), scan(crystal((12, 3, 16)), 2), scan(crystal(), 3)])
    assert combined.used == (True, False, True)
    assert combined.notes[1].startswith("scan 1 left out: correlates 0.")


@pytest.mark.parametrize("exposure", [0.01, 1.0])
def test_a_short_exposure_is_not_refused_for_its_noise(exposure: float) -> None:
    combined = combine_scans([scan(crystal(), 1, scale=exposure), scan(crystal(), 2, (1, 0, 2), scale=exposure)])
    assert combined.shifts[1] == (-1, 0, -2)
    assert combined.correlations[1] == pytest.approx(1.0, abs=0.05)


def test_scans_without_common_voxels_or_without_structure_do_not_correlate() -> None:
    first, dark = scan(crystal(), 1), scan(crystal(), 2)
    dark.mask[:] = False
    assert combine_scans([first, dark]).correlations[1] == 0.0
    even = FakeScan(np.ones(SHAPE, dtype=np.float32), first.mask, first.scale)
    assert combine_scans([first, even]).correlations[1] == 0.0


def test_what_cannot_be_summed_is_refused() -> None:
    with pytest.raises(ValueError, match="no scans"):
        combine_scans([])
    one = scan(crystal(), 1)
    other = FakeScan(one.counts[:-1], one.mask[:-1], one.scale[:-1])
    with pytest.raises(ValueError, match="differ in shape"):
        combine_scans([one, other])
