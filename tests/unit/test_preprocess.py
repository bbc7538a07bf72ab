"""From series to what is inverted: masks, model terms, crop, and clear words where there is nothing to invert."""

from __future__ import annotations

from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  (registers the compression of the real scan)
import numpy as np
import pytest

from models.bcdi.crop import cut
from models.bcdi.geometry import Geometry, bin_geometry, crop_geometry, reciprocal_basis
from models.bcdi.preprocess import Exposure, PreprocessConfig, Preprocessed, preprocess
from models.layouts import ChipLayout

SHAPE = (36, 56, 60)
CENTRE = (18, 30, 28)


def expected(centre: tuple[float, float, float] = CENTRE, height: float = 1e4) -> np.ndarray:
    z, y, x = np.indices(SHAPE)
    square = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
    return height * np.exp(-square / (2 * 3.0**2))


def draw(rate: np.ndarray, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(rate + 0.02).astype(np.float32)


def good() -> np.ndarray:
    return np.ones(SHAPE, dtype=bool)


def run(counts: np.ndarray, config: PreprocessConfig | None = None, **given: np.ndarray) -> Preprocessed:
    return preprocess(counts, good(), config, Exposure(**given))


def words(result: Preprocessed) -> str:
    return "; ".join(result.notes + result.warnings)


def test_plain_series_is_centred_cropped_and_otherwise_untouched() -> None:
    counts = draw(expected())
    before = counts.copy()
    result = run(counts)
    assert np.array_equal(counts, before)
    assert result.counts.dtype == np.float32
    assert np.allclose(result.peak_index, CENTRE, atol=0.1)
    middle = tuple(n // 2 for n in result.counts.shape)
    assert np.allclose(result.crop.to_volume(middle), CENTRE, atol=0.5)
    assert result.counts[middle] == counts[CENTRE]
    assert result.mask.all()
    assert np.all(result.scale == 1.0)
    assert not result.background.any()
    assert np.array_equal(result.intensity, result.counts)


def test_monitor_flat_and_dark_are_terms_of_the_model_and_the_counts_stay_poisson() -> None:
    rng = np.random.default_rng(3)
    scale = rng.uniform(0.5, 1.5, SHAPE[0]).astype(np.float32)
    flat = rng.uniform(0.7, 1.3, SHAPE[1:]).astype(np.float32)
    dark = rng.uniform(0.2, 0.4, SHAPE[1:]).astype(np.float32)
    rate = expected(height=200.0) * scale[:, None, None] * flat + dark
    counts = rng.poisson(rate).astype(np.float32)
    result = run(counts, scale=scale, flat=1000.0 * flat, dark=dark)
    assert np.array_equal(result.counts, np.round(result.counts))
    truth = cut(expected(height=200.0), result.crop, 0.0)
    model = result.scale * truth * np.median(flat) + result.background
    pearson = ((result.counts - model) / np.sqrt(model))[result.mask]
    assert np.mean(pearson) == pytest.approx(0.0, abs=0.02)
    assert np.var(pearson) == pytest.approx(1.0, abs=0.03)
    assert result.intensity.min() == 0.0
    assert result.intensity.max() == pytest.approx(200.0, rel=0.25)


def test_hot_dead_and_dark_pixels_are_masked_and_counted_in_the_notes() -> None:
    counts = draw(expected())
    counts[:, 25, 25] += 500.0
    flat, dark = np.ones(SHAPE[1:], dtype=np.float32), np.zeros(SHAPE[1:], dtype=np.float32)
    flat[26, 26], dark[27, 27], dark[28, 25] = 0.001, 100.0, np.nan
    result = run(counts, flat=flat, dark=dark)
    _, y, x = result.crop.offset
    for row, column in ((25, 25), (26, 26), (27, 27), (28, 25)):
        assert not result.mask[:, row - y, column - x].any()
        assert not result.counts[:, row - y, column - x].any()
    assert np.count_nonzero(~result.mask[0]) == 4
    assert "hot pixels masked: 1" in words(result)
    assert "flat field: insensitive pixels masked: 1" in words(result)
    assert "dark: noisy pixels masked: 2, 0 counts a frame" in words(result)
    assert np.isfinite(result.background).all()


def test_a_dark_of_zeros_is_no_dark() -> None:
    assert "dark" not in words(run(draw(expected()), dark=np.zeros(SHAPE[1:], dtype=np.float32)))


def test_user_mask_region_and_chip_edges_are_masked() -> None:
    user = np.ones(SHAPE[1:], dtype=bool)
    user[31, 31] = False
    config = PreprocessConfig(
        user_mask=user, region=(10, 50, 4, 44), size=48, chips=ChipLayout(pixels=(36, 36), gap=(2, 2), enlarged=1)
    )
    result = run(draw(expected()), config)
    mask = np.ones(SHAPE[1:], dtype=bool)
    mask[:10], mask[50:], mask[:, :4], mask[:, 44:] = False, False, False, False
    mask[35:39], mask[:, 35:39], mask[31, 31] = False, False, False
    _, y, x = result.crop.offset
    assert np.array_equal(result.mask[24], mask[y : y + 48, x : x + 48])


def test_frames_of_a_maxipix_lose_their_chip_edges_unasked() -> None:
    counts = np.zeros((4, 516, 516), dtype=np.float32)
    counts[:, 249:252, 249:252] = 100.0
    result = preprocess(counts, np.ones(counts.shape, dtype=bool), PreprocessConfig(size=64))
    _, y, _ = result.crop.offset
    assert np.flatnonzero(~result.mask[32, :, 0]).tolist() == [row - y for row in range(255, 261)]


def test_frames_without_beam_and_voxels_without_a_number_are_masked() -> None:
    counts = draw(expected())
    counts[10, 30, 30], counts[11, 30, 30] = np.nan, -1.0
    scale = np.ones(SHAPE[0], dtype=np.float32)
    scale[20] = 0.0
    result = run(counts, PreprocessConfig(size=24), scale=scale)
    z, y, x = result.crop.offset
    assert not result.mask[20 - z].any()
    assert not result.mask[10 - z, 30 - y, 30 - x]
    assert not result.mask[11 - z, 30 - y, 30 - x]
    assert np.count_nonzero(~result.mask) == 24 * 24 + 2
    assert np.isfinite(result.counts).all()
    assert "frames or voxels masked, as monitor or transmission is not above zero: 1" in words(result)


def test_summed_scans_bring_a_scale_for_each_voxel() -> None:
    scale = np.ones(SHAPE, dtype=np.float32)
    scale[:, 30, 20:] = 0.5
    result = run(draw(expected()), PreprocessConfig(size=24), scale=scale)
    assert result.scale[12, 12, 12] == 0.5
    assert result.scale[12, 13, 12] == 1.0


def test_a_saturated_peak_is_masked_and_told() -> None:
    counts = np.minimum(draw(expected(height=2e4)), 4095.0)
    for config in (PreprocessConfig(), PreprocessConfig(saturation_counts=4095.0)):
        result = run(counts, config)
        assert result.counts.max() < 4095.0
        assert ", at 4095 counts or more" in words(result)
        assert "the peak itself is saturated" in words(result)
        assert np.allclose(result.peak_index, CENTRE, atol=0.5)


def test_a_saturated_pixel_far_from_the_peak_is_masked_only() -> None:
    counts = draw(expected())
    counts[5, 5, 5] = 5e4
    result = run(counts, PreprocessConfig(saturation_counts=5e4))
    assert "saturated voxels masked: 1," in words(result)
    assert "peak itself" not in words(result)
    assert "saturated" not in words(run(counts, PreprocessConfig(saturation_counts=1e6)))


def test_saturated_voxels_that_the_mask_leaves_out_are_told() -> None:
    counts = draw(expected(height=2e4))
    saturated = counts > 4095.0
    result = preprocess(np.where(saturated, 0, counts), ~saturated, exposure=Exposure(saturated=saturated))
    assert f"saturated voxels masked: {np.count_nonzero(saturated)};" in words(result) + ";"
    assert "the peak itself is saturated" in words(result)
    assert "altogether" not in words(result)
    assert np.allclose(result.peak_index, CENTRE, atol=0.5)
    assert "saturated" not in words(preprocess(counts, good(), exposure=Exposure(saturated=~good())))


def test_saturated_voxels_far_from_the_peak_or_outside_the_region_are_not_the_peak() -> None:
    saturated = ~good()
    saturated[5, 5, 5] = True
    result = preprocess(draw(expected()), ~saturated, exposure=Exposure(saturated=saturated))
    assert "saturated voxels masked: 1" in words(result)
    assert "peak itself" not in words(result)
    outside = PreprocessConfig(region=(10, 50, 4, 44))
    assert "saturated" not in words(preprocess(draw(expected()), ~saturated, outside, Exposure(saturated=saturated)))


def test_frames_that_are_saturated_altogether_are_named() -> None:
    saturated = ~good()
    saturated[[4, 18, 19]] = True
    result = preprocess(draw(expected()), ~saturated, exposure=Exposure(saturated=saturated))
    assert "frames saturated altogether: 4, 18 to 19" in words(result)
    with pytest.raises(ValueError, match="all voxels with counts are saturated"):
        preprocess(draw(expected()), ~good(), exposure=Exposure(saturated=good()))
    with pytest.raises(ValueError, match="saturated has shape"):
        preprocess(draw(expected()), good(), exposure=Exposure(saturated=good()[1:]))


def test_gaps_that_nobody_announced_are_named() -> None:
    counts = draw(expected(height=1e3))
    counts[:, 33:35], counts[:, :, 24] = 0.0, 0.0
    told = words(run(counts))
    assert "no counts in any frame amid bright neighbours: rows 33 to 34, columns 24;" in told
    known = good()
    known[:, 33:35], known[:, :, 24] = False, False
    assert "neighbours" not in words(preprocess(counts, known))


def test_a_second_crystal_is_told() -> None:
    counts = draw(expected((9, 12, 12)) + expected((27, 44, 48), 5e3))
    result = run(counts)
    assert np.allclose(result.peak_index, (9, 12, 12), atol=0.1)
    assert "2 separate peaks, several crystals" in words(result)


def test_the_geometry_follows_crop_and_binning() -> None:
    geometry = Geometry(
        instrument="34-ID-C",
        energy_kev=9.0,
        distance_m=0.5,
        pixel_size_m=(55e-6, 55e-6),
        beam_center_px=(28.0, 30.0),
        angles_deg={"delta": 32.2, "gamma": 12.6, "chi": 90.0, "phi": 0.0},
        rocking_axis="theta",
        rocking_deg=0.01 * np.arange(SHAPE[0], dtype=np.float64),
    )
    result = run(draw(expected()), PreprocessConfig(size=16, binning=(1, 2, 2)))
    crop = result.crop
    unbinned = tuple(n * b for n, b in zip(crop.shape, crop.binning, strict=True))
    cropped = bin_geometry(crop_geometry(geometry, crop.offset, unbinned), crop.binning)
    whole = reciprocal_basis(geometry, result.peak_index, SHAPE)
    inner = reciprocal_basis(cropped, crop.to_crop(result.peak_index), crop.shape)
    assert np.allclose(inner, whole * np.array(crop.binning), rtol=1e-9)
    assert result.counts.sum() == pytest.approx(draw(expected()).sum(), rel=0.05)


@pytest.mark.parametrize(
    ("counts", "mask", "config", "message"),
    [
        (np.zeros(SHAPE), good(), PreprocessConfig(), "zero counts in all good voxels"),
        (draw(expected()), ~good(), PreprocessConfig(), "all voxels are masked"),
        (draw(expected()), good(), PreprocessConfig(region=(0, 0, 0, 0)), "all voxels are masked"),
        (draw(expected())[:1], good()[:1], PreprocessConfig(), "one frame only"),
        (np.full(SHAPE, 65535.0), good(), PreprocessConfig(), "all voxels with counts are saturated"),
        (np.full(SHAPE, 9.0), good(), PreprocessConfig(saturation_counts=5), "all voxels with counts are saturated"),
        (draw(expected())[0], good()[0], PreprocessConfig(), "counts must be"),
        (draw(expected()), good()[1:], PreprocessConfig(), "mask has shape"),
        (draw(expected()), good(), PreprocessConfig(user_mask=np.ones((2, 3), dtype=bool)), "user mask has shape"),
    ],
)
def test_nothing_to_invert_is_said_in_one_line(
    counts: np.ndarray, mask: np.ndarray, config: PreprocessConfig, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        preprocess(counts.astype(np.float32), mask, config)
    assert "\n" not in str(caught.value)


def test_wrong_scales_are_refused() -> None:
    with pytest.raises(ValueError, match="scale has shape"):
        run(draw(expected()), scale=np.ones(3, dtype=np.float32))
    with pytest.raises(ValueError, match="no voxel was exposed"):
        run(draw(expected()), scale=np.zeros(SHAPE[0], dtype=np.float32))


def test_binning_that_masks_everything_is_refused() -> None:
    user = np.ones(SHAPE[1:], dtype=bool)
    user[::2] = False
    with pytest.raises(ValueError, match="no counts left in the crop"):
        run(draw(expected()), PreprocessConfig(user_mask=user, binning=(1, 2, 2), size=16))


def test_real_scan(shared_data: Path) -> None:
    with h5py.File(shared_data / "bcdi" / "scan54.h5") as file:
        detector = file["entry/instrument/detector"]
        counts = detector["data"][()].astype(np.float32)
        flat, dark = (detector[name][:256, :256].astype(np.float32) for name in ("whitefield", "dark"))
    result = preprocess(counts, np.ones(counts.shape, dtype=bool), exposure=Exposure(flat=flat, dark=dark))
    brightest = np.unravel_index(counts.argmax(), counts.shape)
    assert np.abs(np.subtract(result.peak_index, brightest)).max() < 3
    assert result.counts.max() == counts.max()
    assert result.counts.sum() > 0.97 * counts.sum()
    assert "dark: noisy pixels masked: 13" in words(result)
    assert "separate peaks" not in words(result)
    assert "neighbours" not in words(result)
    fixed = preprocess(counts, np.ones(counts.shape, dtype=bool), PreprocessConfig(size=64))
    assert fixed.counts.shape == (64, 64, 64)
    assert fixed.counts.sum() > 0.95 * counts.sum()
