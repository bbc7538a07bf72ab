"""Faults of detectors: found where they are, never where the Bragg peak is."""

from __future__ import annotations

from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  (registers the compression of the real scan)
import numpy as np
import pytest
import torch

from models.bcdi.corrections import dark_outliers, efficiency, find_hot_pixels, saturation_level
from models.simulate.diffraction import far_field, intensity, scaled_to_peak
from tests.helpers.patterns import strained_crystal

SHAPE = (32, 40, 48)


def good(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.ones(shape, dtype=bool)


def gaussian_peak(sigma: float, *, height: float = 1e5, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    z, y, x = np.indices(shape)
    square = (z - shape[0] // 2) ** 2 + (y - shape[1] // 2 - 0.3) ** 2 + (x - shape[2] // 2 + 0.2) ** 2
    return height * np.exp(-square / (2 * sigma**2))


def draw(expected: np.ndarray, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(expected + 0.02).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.3, 0.5, 1.0, 3.0])
def test_the_bragg_peak_is_never_hot_however_sharp(sigma: float) -> None:
    assert not find_hot_pixels(draw(gaussian_peak(sigma)), good()).any()


@pytest.mark.parametrize("seed", range(5))
def test_the_bragg_peak_is_not_hot_where_the_scan_never_leaves_it(seed: int) -> None:
    edge = 40
    pattern = intensity(far_field(torch.from_numpy(strained_crystal(edge, seed))))
    frame = scaled_to_peak(pattern[None], torch.tensor([1e5]))[0, edge // 2].numpy()
    counts = draw(np.broadcast_to(frame, (16, edge, edge)))
    # At the border the simulated pattern wraps round and has edges that no optics makes.
    assert not find_hot_pixels(counts, good(counts.shape))[1:-1, 1:-1].any()


def test_hot_pixels_are_found_alone_in_pairs_at_the_border_and_under_the_peak() -> None:
    places = [(3, 4), (10, 10), (10, 11), (0, 0), (39, 20), (20, 24), (20, 28)]
    rates = np.zeros(SHAPE[1:])
    for number, place in enumerate(places):
        rates[place] = 3.0 * 4**number
    hot = find_hot_pixels(draw(gaussian_peak(1.5) + rates), good())
    assert sorted(map(tuple, np.argwhere(hot))) == sorted(places)


def test_a_cosmic_ray_is_not_hot() -> None:
    counts = draw(gaussian_peak(1.5))
    counts[3, 5, 5] = 1e6
    assert not find_hot_pixels(counts, good()).any()


def test_masked_frames_do_not_hide_hot_pixels_and_masked_pixels_are_not_hot() -> None:
    counts, mask = draw(gaussian_peak(1.5)), good()
    counts[:, 5, 5] = 100.0
    counts[:, 6, 30] = 100.0
    mask[:10] = False
    mask[:, 6, 30] = False
    assert np.argwhere(find_hot_pixels(counts, mask)).tolist() == [[5, 5]]


def test_three_frames_show_no_persistence() -> None:
    counts = np.zeros((3, 16, 16), dtype=np.float32)
    counts[:, 5, 5] = 100.0
    assert not find_hot_pixels(counts, good(counts.shape)).any()


def test_real_scan_keeps_its_peak_and_loses_only_what_was_put_in(shared_data: Path) -> None:
    """No pixel of its counts is hot: 13 that its dark marks and 190 without white field count no more than others."""
    with h5py.File(shared_data / "bcdi" / "scan54.h5") as file:
        counts = file["entry/instrument/detector/data"][()].astype(np.float32)
    assert not find_hot_pixels(counts, good(counts.shape)).any()
    rng = np.random.default_rng(1)
    place = rng.choice(counts[0].size, 130, replace=False)
    rates = np.zeros(counts[0].shape)
    rates.flat[place] = 10 ** rng.uniform(0, 5, 130)
    hot = find_hot_pixels(counts + rng.poisson(np.broadcast_to(rates, counts.shape)), good(counts.shape))
    assert np.count_nonzero(hot & (rates > 0)) >= 128
    assert not np.any(hot & (rates == 0))


def test_dark_outliers_stand_out_of_the_level_and_its_spread() -> None:
    dark = np.random.default_rng(0).normal(200.0, 4.0, (64, 64)).astype(np.float32)
    dark[5, 6] = 300.0
    assert np.argwhere(dark_outliers(dark)).tolist() == [[5, 6]]
    quiet = np.zeros((64, 64), dtype=np.float32)
    quiet[1, 2], quiet[3, 4] = 100.0, 0.5
    assert np.argwhere(dark_outliers(quiet)).tolist() == [[1, 2]]


def test_efficiency_is_relative_to_the_median_and_insensitive_pixels_are_unusable() -> None:
    flat = np.full((8, 8), 20000.0, dtype=np.float32)
    flat[0, 0], flat[1, 1], flat[2, 2], flat[3, 3] = 10000.0, 10.0, 0.0, np.nan
    relative, usable = efficiency(flat)
    assert relative[0, 0] == pytest.approx(0.5)
    assert relative[4, 4] == pytest.approx(1.0)
    assert np.argwhere(~usable).tolist() == [[1, 1], [2, 2], [3, 3]]
    assert np.all(np.isfinite(relative))
    with pytest.raises(ValueError, match="no pixel above zero"):
        efficiency(np.zeros((4, 4), dtype=np.float32))


def test_saturation_is_a_plateau_at_the_top() -> None:
    counts = draw(gaussian_peak(3.0))
    assert saturation_level(counts, good()) is None
    assert saturation_level(np.minimum(counts, 4095.0), good()) == 4095.0
    assert saturation_level(np.minimum(counts, 10.0), good()) is None  # few counts repeat by chance
    assert saturation_level(np.minimum(counts, 4095.0), counts < 4095.0) is None
