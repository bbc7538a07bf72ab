"""Finding the peak: hot pixels, cosmic rays and gaps do not fool it, a second crystal is told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bcdi.crop import Crop, bin_with, choose_crop, cut, last_good_size, next_good_size
from models.bcdi.peak import BLOCK, _coarse_map, find_peak

SHAPE = (40, 64, 72)


def peak_at(centre: tuple[float, float, float], height: float = 1e4, sigma: float = 2.0) -> np.ndarray:
    z, y, x = np.indices(SHAPE)
    square = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
    return height * np.exp(-square / (2 * sigma**2))


def draw(expected: np.ndarray, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(expected + 0.05).astype(np.float32)


def everything() -> np.ndarray:
    return np.ones(SHAPE, dtype=bool)


@pytest.mark.parametrize("frames", [5, 31, 32, 33, 34, 35, 36, 65, 67, 70])
def test_the_map_is_the_same_whatever_the_number_of_frames(frames: int) -> None:
    """Taken in slabs, of which the last may be thinner than a block."""
    counts = np.random.default_rng(frames).poisson(3.0, (frames, 9, 12)).astype(np.float32)
    mask = np.random.default_rng(1).random(counts.shape) > 0.1
    root = np.sqrt(counts * mask)
    padded = np.pad(root, [(0, -n % BLOCK) for n in root.shape])
    z, y, x = (n // BLOCK for n in padded.shape)
    means = padded.reshape(z, BLOCK, y, BLOCK, x, BLOCK).mean((1, 3, 5), dtype=np.float64)
    np.testing.assert_allclose(_coarse_map(counts, mask), means**2, rtol=1e-5)


@settings(max_examples=15, deadline=None)
@given(z=st.floats(4, 35), y=st.floats(4, 59), x=st.floats(4, 67))
def test_the_centre_is_found_to_a_fraction_of_a_voxel(z: float, y: float, x: float) -> None:
    peak = find_peak(draw(peak_at((z, y, x))), everything())
    assert np.allclose(peak.index, (z, y, x), atol=0.15)
    assert peak.others == ()


def test_single_wild_voxels_do_not_fool_it() -> None:
    counts = draw(peak_at((12, 30, 40)))
    counts[30, 10, 10] = 1e6
    counts[5, 50, 20:22] = 1e5
    assert np.allclose(find_peak(counts, everything()).index, (12, 30, 40), atol=0.1)


def test_a_gap_across_the_peak_does_not_split_or_move_it() -> None:
    mask = everything()
    mask[:, 30:33] = False
    peak = find_peak(draw(peak_at((20, 31.4, 40), sigma=3.0)) * mask, mask)
    assert np.allclose(peak.index, (20, 31.4, 40), atol=0.7)
    assert peak.others == ()


def test_a_second_crystal_is_told_with_its_place() -> None:
    counts = draw(peak_at((10, 20, 20)) + peak_at((30, 50, 60), 3e3) + peak_at((30, 20, 60), 2e2))
    peak = find_peak(counts, everything())
    assert np.allclose(peak.index, (10, 20, 20), atol=0.1)
    assert len(peak.others) == 1
    assert np.allclose(peak.others[0], (30, 50, 60), atol=2.0)


def test_a_strained_peak_that_splits_is_one_crystal() -> None:
    counts = draw(peak_at((20, 30, 32)) + peak_at((20, 30, 40), 5e3))
    assert find_peak(counts, everything()).others == ()


def test_no_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="no counts in any good voxel"):
        find_peak(np.zeros(SHAPE, dtype=np.float32), everything())
    with pytest.raises(ValueError, match="no counts in any good voxel"):
        find_peak(np.ones(SHAPE, dtype=np.float32), ~everything())


@given(st.integers(2, 600))
def test_good_sizes_bracket_and_have_small_factors(length: int) -> None:
    above, below = next_good_size(length), last_good_size(length)
    assert below <= length <= above
    for size in (above, below):
        assert size % 2 == 0
        for factor in (2, 3, 5, 7):
            while size % factor == 0:
                size //= factor
        assert size == 1


def test_the_box_holds_the_signal_and_not_the_background() -> None:
    counts = draw(peak_at((20, 31, 35), sigma=4.0))
    crop, why = choose_crop(counts, everything(), (20.2, 30.9, 35.0))
    # 99.8 % of a Gaussian lie within 3.1 sigma: 25 voxels, the next good size is 28; fewer than the volume has.
    assert crop.shape == (28, 28, 28)
    assert crop.offset == (20 - 14, 31 - 14, 35 - 14)
    assert why.startswith("crop 28 x 28 x 28: holds 9")


def test_a_fixed_size_is_obeyed_and_padded_at_the_border() -> None:
    counts = draw(peak_at((3, 60, 35)))
    crop, why = choose_crop(counts, everything(), (3.0, 60.0, 35.0), size=32)
    assert why == "crop 32 x 32 x 32 as set"
    assert crop == Crop(offset=(-13, 44, 19), shape=(32, 32, 32))
    inside, mask = cut(counts, crop, 0.0), cut(everything(), crop, False)
    assert inside[16, 16, 16] == counts[3, 60, 35]
    assert not mask[:13].any()
    assert mask[13:, :20].all()
    assert not mask[:, 20:].any()
    assert inside.sum() == counts[:19, 44:, 19:51].sum()


def test_a_box_never_outgrows_the_volume_or_the_limit() -> None:
    flat = np.ones(SHAPE, dtype=np.float32) * np.arange(1, 41, dtype=np.float32)[:, None, None]
    crop, _ = choose_crop(flat, everything(), (20.0, 32.0, 36.0), largest=32)
    assert crop.shape[0] == 32
    assert all(edge <= 32 for edge in crop.shape)


@given(
    offset=st.tuples(*[st.integers(-20, 40)] * 3),
    binning=st.tuples(*[st.integers(1, 4)] * 3),
    index=st.tuples(*[st.floats(0, 30)] * 3),
)
def test_a_crop_maps_there_and_back(
    offset: tuple[int, int, int], binning: tuple[int, int, int], index: tuple[float, float, float]
) -> None:
    crop = Crop(offset=offset, shape=(32, 32, 32), binning=binning)
    assert np.allclose(crop.to_crop(crop.to_volume(index)), index)


def test_binning_keeps_counts_and_the_peaks_place() -> None:
    counts = draw(peak_at((20, 31, 36), sigma=4.0))
    crop, _ = choose_crop(counts, everything(), (20.0, 31.0, 36.0), size=16, binning=(1, 2, 3))
    assert crop.binning == (1, 2, 3)
    box = cut(counts, crop, 0.0)
    binned = bin_with(np.sum, box, crop.binning)
    assert binned.shape == (16, 16, 16)
    assert binned.sum() == pytest.approx(box.sum())
    assert np.allclose(crop.to_crop((20.0, 31.0, 36.0)), 8.0, atol=0.5)
    assert np.array_equal(crop.to_volume((0.0, 0.0, 0.0)), np.add(crop.offset, (0.0, 0.5, 1.0)))
