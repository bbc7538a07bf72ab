"""The pipeline against an object that is known: figures, hand, errors by kind, and what it says on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.bcdi.geometry import sample_rotation
from models.bcdi.modes import correlation, twin
from models.bcdi.phasing import Phased
from models.bcdi.wound import likely_lines, wound
from models.defects.vortices import vortices
from service import figures, pipeline, search
from service.errors import DataError, GeometryError, SeriesError, SettingsError, SourceError
from service.pipeline import NETWORKS, STAGES, Former, run
from service.records import Accounting, Reconstruction, Volume
from service.results.nexus import read_result, write_result
from service.results.slices import bulk_of
from service.settings import DefectsSettings, DetectorSettings, PhasingSettings, Settings
from tests.helpers.patterns import bright, gaps, poisson, strained_crystal, transform
from tests.helpers.results import make_crystal, make_geometry, make_volume

EDGE = 32
MEASURED_STAGES = [name for name in STAGES if name not in NETWORKS]
QUICK = Settings(phasing=PhasingSettings(starts=2, keep=2, recipe="30*ER+120*HIO+30*ER", size=EDGE))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def volume() -> Volume:
    return bright_volume()


@pytest.fixture(scope="module")
def result(volume: Volume) -> Reconstruction:
    return run(volume, QUICK)


def bright_volume(**changes: Any) -> Volume:
    object_, _, _ = make_crystal(EDGE)
    intensity = np.abs(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(object_)))) ** 2
    counts = np.random.default_rng(1).poisson(1e6 * intensity / intensity.max()).astype(np.float32)
    return make_volume(EDGE, **({"counts": counts, "mask": np.ones(counts.shape, bool)} | changes))


def test_object_is_recovered(result: Reconstruction) -> None:
    truth, _, _ = make_crystal(EDGE)
    assert correlation(truth, result.object_) > 0.95
    assert result.figures.chi < 0.02
    assert not result.figures.hand_chosen


def test_record_is_consistent(result: Reconstruction, volume: Volume) -> None:
    shape = result.object_lab.shape
    assert result.object_.shape == result.support.shape == (EDGE, EDGE, EDGE)
    assert result.support_lab.shape == result.strain.shape == result.displacement_nm.shape == shape
    assert result.object_.dtype == result.object_lab.dtype == np.complex64
    assert result.strain.dtype == result.prtf.dtype == np.float32
    assert np.isnan(result.strain[~result.support_lab]).all()
    assert list(result.latencies_s) == MEASURED_STAGES
    assert result.crop["start"] == (0, 0, 0)
    assert result.recipe["asked"] == QUICK.phasing.recipe
    assert result.figures.flux_counts == volume.counts.sum(dtype=np.float64)
    assert result.figures.peak_counts == volume.counts.max()
    assert 0.0 < result.figures.chi2 < 100.0


def test_rotations_lead_to_the_crystal_and_from_the_sample(result: Reconstruction, volume: Volume) -> None:
    length = np.linalg.norm(result.q_lab)
    np.testing.assert_allclose(result.crystal_rotation @ result.q_lab, [0.0, 0.0, length], atol=1e-12)
    attitude = sample_rotation(volume.geometry, result.crop["peak_index"][0])
    np.testing.assert_allclose(result.sample_rotation, attitude)
    for rotation in (result.crystal_rotation, result.sample_rotation):
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)


def test_beam_centre_that_nobody_measured_is_a_warning(result: Reconstruction) -> None:
    assert not any("beam centre" in warning for warning in result.warnings)
    geometry = dataclasses.replace(make_geometry(EDGE), beam_center_assumed=True)
    (said,) = (one for one in run(bright_volume(geometry=geometry), QUICK).warnings if "beam centre" in one)
    assert "1.4 %" in said
    assert "geometry.beam_center_px" in said


def test_dark_is_no_signal_to_the_transfer() -> None:
    """Two dark counts a voxel, more than the crystal's own far out: taken as signal they gave 0.5 at the edge."""
    intensity = np.abs(transform(make_crystal(EDGE)[0])) ** 2
    dark = np.full((EDGE, EDGE), 2.0, dtype=np.float32)
    found = run(bright_volume(counts=poisson(1e4 * intensity / intensity.max() + 2.0), dark=dark), QUICK)
    assert np.isfinite(found.prtf).all()
    assert found.prtf.min() > 0.8


def test_volume_of_the_support_is_the_same_in_both_frames(result: Reconstruction) -> None:
    lab_nm3 = result.support_lab.sum() * result.voxel_nm**3
    assert result.figures.support_volume_nm3 == pytest.approx(lab_nm3, rel=0.15)


def test_strain_figures_leave_the_surface_out(result: Reconstruction) -> None:
    bulk = bulk_of(result.object_lab, result.support_lab)
    known = result.strain[bulk & np.isfinite(result.strain)]
    assert result.figures.strain_max == pytest.approx(float(known.max()))
    assert bulk.sum() < result.support_lab.sum()


def test_q_is_braggs_for_the_scattering_angle(result: Reconstruction) -> None:
    """|Q| = 2 k sin(theta), with the angle between the beams from delta and gamma by spherical trigonometry."""
    geometry = make_geometry(EDGE)
    delta, gamma = np.deg2rad([geometry.angles_deg["delta"], geometry.angles_deg["gamma"]])
    two_theta = np.arccos(np.cos(delta) * np.cos(gamma))
    expected = 4 * np.pi * 9.0 / 12.39842 * np.sin(two_theta / 2)
    assert np.linalg.norm(result.q_lab) == pytest.approx(expected, rel=1e-3)


def test_same_seed_gives_the_same_object(volume: Volume, result: Reconstruction) -> None:
    again = run(volume, QUICK)
    assert np.array_equal(again.object_, result.object_)
    assert np.array_equal(again.strain, result.strain, equal_nan=True)


def test_result_takes_the_hand_of_the_one_before(volume: Volume, result: Reconstruction) -> None:
    other_hand = twin(result.object_)
    for previous in (result.object_, other_hand):
        chosen = run(volume, QUICK, previous=former(result, previous))
        assert chosen.figures.hand_chosen
        kept, turned = overlap(chosen.object_, previous), overlap(twin(chosen.object_), previous)
        assert kept > turned
        assert np.all(chosen.support[np.abs(chosen.object_) > 0.5 * np.abs(chosen.object_).max()])


def former(result: Reconstruction, object_: np.ndarray, **changes: np.ndarray) -> Former:
    return dataclasses.replace(Former.of(result), object_=object_, **changes)


def test_hand_is_free_where_the_one_before_shows_something_else(volume: Volume, result: Reconstruction) -> None:
    other = twin(result.object_)
    for stranger in (
        former(result, other, basis_nm=result.basis_nm * np.array([1.0, 1.0, 1.2])),  # another step or distance
        former(result, other, q_lab=result.q_lab[::-1].copy()),  # another reflection
    ):
        chosen = run(volume, QUICK, previous=stranger)
        assert not chosen.figures.hand_chosen
        np.testing.assert_array_equal(chosen.object_, result.object_)


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Largest correlation over shifts of whole voxels, without turning."""
    cross = np.fft.ifftn(np.fft.fftn(first) * np.fft.fftn(second).conj())
    return float(np.abs(cross).max() / np.linalg.norm(first) / np.linalg.norm(second))


def test_hand_is_compared_over_crops_of_other_sizes(volume: Volume, result: Reconstruction) -> None:
    smaller = QUICK.model_copy(update={"phasing": QUICK.phasing.model_copy(update={"size": 24})})
    hands = []
    for previous in (result.object_, twin(result.object_)):
        chosen = run(volume, smaller, previous=former(result, previous))
        assert chosen.object_.shape == (24, 24, 24)
        hands.append(chosen.object_)
    assert not np.array_equal(hands[0], hands[1])


def test_progress_only_grows_and_names_every_stage(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    inverting = search.phase_retrieval

    def telling(*arguments: Any, progress: Callable[[float], None], **options: Any) -> Phased:
        for share in (0.2, 0.5, 1.0):
            progress(share)
        return inverting(*arguments, **options)

    monkeypatch.setattr(search, "phase_retrieval", telling)
    told: list[tuple[str, float]] = []
    run(volume, QUICK, progress=lambda stage, share: told.append((stage, share)))
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert 0.0 <= shares[0] <= shares[-1] <= 1.0
    assert {stage for stage, _ in told} == {*MEASURED_STAGES}
    assert sum(stage == "phase" for stage, _ in told) == 4


def test_start_is_where_every_start_sets_out(volume: Volume, result: Reconstruction) -> None:
    """From the object itself a few iterations find it again; from random numbers they would not."""
    short = QUICK.model_copy(update={"phasing": QUICK.phasing.model_copy(update={"recipe": "5*ER"})})
    from_object = run(volume, short, start=result.object_)
    from_random = run(volume, short)
    assert overlap(from_object.object_, result.object_) > 0.97
    assert from_object.figures.chi < 0.5 * from_random.figures.chi


def test_streamed_and_stored_are_equal(volume: Volume, result: Reconstruction, tmp_path: Path) -> None:
    back = read_result(write_result(result, volume, QUICK, tmp_path))
    assert np.array_equal(back.object_, result.object_)
    assert back.figures == result.figures


def test_missing_frames_are_a_warning() -> None:
    accounting = Accounting(sent=EDGE, received=EDGE - 2, missed=1, rejected=1, duplicates=0)
    mask = np.ones((EDGE, EDGE, EDGE), dtype=bool)
    mask[:2] = False
    metadata = {"first_rejection": "first rejected: image 1: monitor is -1.0"}
    warnings = run(bright_volume(accounting=accounting, mask=mask, metadata=metadata), QUICK).warnings
    assert warnings[0] == "incomplete: 30 of 32 frames, 1 missed, 1 rejected; first rejected: image 1: monitor is -1.0"


def test_saturation_that_the_detector_told_is_a_warning(volume: Volume) -> None:
    peak = volume.counts > 0.5 * volume.counts.max()
    told = dataclasses.replace(
        volume,
        counts=np.where(peak, np.float32(0), volume.counts),
        mask=~peak,
        received=np.ones(EDGE, bool),
        working=np.ones((EDGE, EDGE), bool),
    )
    warnings = "; ".join(run(told, QUICK).warnings)
    assert f"saturated voxels masked: {np.count_nonzero(peak)};" in warnings
    assert "the peak itself is saturated" in warnings


JUDGED = Settings(phasing=PhasingSettings(starts=4, keep=3, size=EDGE))
STREAK = np.where(np.arange(EDGE) == EDGE // 2, 30.0, 0.05) * np.ones((EDGE, EDGE, 1))
SINGLE = np.zeros((EDGE, EDGE, EDGE), dtype=np.float32)
SINGLE[14, 15, 16] = 1.0


def crystal_behind_gaps(peak_counts: float, seed: int) -> Volume:
    """A strained crystal's counts, with a hundredth of a count of background in every voxel."""
    intensity = np.abs(transform(bright(strained_crystal(EDGE, seed), peak_counts))) ** 2
    mask = gaps((EDGE, EDGE, EDGE))
    return bright_volume(counts=poisson(intensity + 0.01, seed) * mask, mask=mask)


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize("peak_counts", [100.0, 1e4, 1e7])
def test_a_crystal_that_is_found_is_not_doubted(peak_counts: float, seed: int) -> None:
    found = run(crystal_behind_gaps(peak_counts, seed), JUDGED)
    assert correlation(strained_crystal(EDGE, seed), found.object_) > 0.8
    assert found.figures.doubt == ""


@pytest.mark.parametrize(
    "volume",
    [
        *(bright_volume(counts=poisson(np.full(SINGLE.shape, rate))) for rate in (0.01, 1.0, 100.0)),
        bright_volume(counts=SINGLE),
        bright_volume(counts=poisson(STREAK)),
        crystal_behind_gaps(3.0, 3),
    ],
    ids=["dim noise", "noise", "bright noise", "single count", "streak", "weak crystal"],
)
def test_what_shows_no_crystal_is_doubted(volume: Volume, tmp_path: Path) -> None:
    result = run(volume, JUDGED)
    assert result.figures.doubt
    assert result.warnings[0] == result.figures.doubt
    assert read_result(write_result(result, volume, JUDGED, tmp_path)).figures.doubt == result.figures.doubt


EMPTY = np.zeros((EDGE, EDGE, EDGE), dtype=np.float32)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"counts": EMPTY}, "zero counts"),
        ({"mask": EMPTY.astype(bool)}, "all voxels are masked"),
        ({"counts": EMPTY[:1], "mask": EMPTY[:1] == 0, "scale": np.ones(1, np.float32)}, "expected at least 4"),
        ({"counts": EMPTY[:, :3], "mask": EMPTY[:, :3] == 0}, "x 3 x .* expected at least 4"),
        ({"counts": np.full_like(EMPTY, np.nan)}, "masked"),
        ({"scale": np.zeros(EDGE, np.float32)}, "exposed"),
    ],
)
def test_nothing_to_invert_is_a_data_error(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        run(bright_volume(**changes), QUICK)
    assert str(caught.value).startswith("preprocess: ")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_device_that_is_not_there_is_a_wrong_setting() -> None:
    with pytest.raises(SettingsError, match=r"phasing\.device is cuda"):
        run(bright_volume(), Settings(phasing=PhasingSettings(device="cuda")))


def test_geometry_that_cannot_be_is_a_geometry_error() -> None:
    flat = make_geometry(EDGE)
    still = type(flat)(**{name: getattr(flat, name) for name in flat.__slots__} | {"rocking_deg": np.zeros(EDGE)})
    with pytest.raises(GeometryError):
        run(bright_volume(geometry=still), QUICK)


@pytest.mark.parametrize("error", [MemoryError("64 GiB"), torch.OutOfMemoryError("CUDA out of memory")])
def test_too_little_memory_says_what_to_set(error: Exception, volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(search, "phase_retrieval", greedy)
    with pytest.raises(DataError, match=r"phasing\.size"):
        run(volume, QUICK)


def test_errors_of_our_own_pass_as_they_are(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*_: object, **__: object) -> None:
        raise SeriesError("as it is")

    monkeypatch.setattr(search, "phase_retrieval", refusing)
    with pytest.raises(SeriesError, match=r"^as it is$"):
        run(volume, QUICK)


def test_strain_of_a_sheet_is_refused() -> None:
    with pytest.raises(ValueError, match="thinner"):
        figures._strain(np.full(3, np.nan, np.float32))


def test_planes_of_the_settings_are_used(volume: Volume, tmp_path: Path) -> None:
    mask = np.ones((EDGE, EDGE), dtype=np.uint8)
    mask[3] = 0
    np.save(tmp_path / "mask.npy", mask)
    np.save(tmp_path / "dark.npy", np.zeros((EDGE, EDGE)))
    np.save(tmp_path / "flat.npy", np.ones((EDGE, EDGE)))
    planes = DetectorSettings(
        mask=tmp_path / "mask.npy", dark=tmp_path / "dark.npy", flat=tmp_path / "flat.npy", region=(1, 32, 0, 32)
    )
    notes = " ".join(run(volume, QUICK.model_copy(update={"detector": planes})).notes)
    assert "6.3% of the crop's voxels are masked" in notes
    wrong = DetectorSettings(mask=tmp_path / "absent.npy")
    with pytest.raises(SourceError, match=r"absent\.npy"):
        run(volume, QUICK.model_copy(update={"detector": wrong}))


def test_scan_that_ends_on_its_peak_is_doubtful() -> None:
    whole = bright_volume()
    received = np.arange(EDGE) <= EDGE // 2
    cut = {"received": received, "mask": whole.mask & received[:, None, None]}
    result = run(bright_volume(**cut, counts=whole.counts * received[:, None, None]), QUICK)
    assert "brightest at the edge of what came (frame 16 of 0 to 16)" in result.figures.doubt
    assert result.warnings[0] == result.figures.doubt


BOTH_WAYS = Settings(phasing=PhasingSettings(starts=4, keep=3, size=EDGE, one_density=True))


def test_one_density_is_tried_where_the_settings_want_it() -> None:
    volume = crystal_behind_gaps(1e5, 3)
    found, free = run(volume, BOTH_WAYS), run(volume, JUDGED)
    assert found.figures.free_log_likelihood <= free.figures.free_log_likelihood
    assert correlation(strained_crystal(EDGE, 3), found.object_) > 0.9
    assert found.figures.doubt == ""


@pytest.mark.parametrize("counts", [poisson(np.full(SINGLE.shape, 1.0)), poisson(STREAK)], ids=["noise", "streak"])
def test_what_shows_no_crystal_is_doubted_both_ways(counts: np.ndarray) -> None:
    assert run(bright_volume(counts=counts), BOTH_WAYS).figures.doubt


def test_who_asks_for_defects_has_lines_of_two_turns_searched_for() -> None:
    usual = Settings(phasing=PhasingSettings(starts=2, keep=1, size=EDGE))
    _, basis_nm, q_lab = pipeline.crop_of(bright_volume(), usual)
    shape = np.abs(make_crystal(EDGE)[0]).astype(np.float32)
    (screw,) = wound(shape, likely_lines(basis_nm, q_lab)[:1])
    truth = bright(screw, 1e4)
    counted = bright_volume(counts=poisson(np.abs(transform(truth)) ** 2))
    plain, asked = (
        run(counted, usual.model_copy(update={"defects": DefectsSettings(classify=classify)}))
        for classify in (False, True)
    )
    assert [vortices(one.object_)[0].turns for one in (plain, asked)] == [1, 2]  # of the longest line
    assert asked.figures.free_log_likelihood < 0.8 * plain.figures.free_log_likelihood
    assert any("winds twice" in note for note in asked.notes)
    assert not any("winds" in note for note in plain.notes)
