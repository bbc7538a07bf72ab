"""Networks between preprocessing and phase retrieval: run where they are switched on, and told where they cannot."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service import compose
from service.engines import Engines
from service.errors import SettingsError
from service.pipeline import run
from service.records import Reconstruction, Volume
from service.repair import Repair
from service.results.nexus import read_result, write_result
from service.results.picture import write_picture
from service.results.slices import before_and_after
from service.settings import EngineSettings, PhasingSettings, RepairSettings, Settings
from tests.helpers.patterns import gaps
from tests.helpers.results import make_volume

DENOISING = RepairSettings(denoise=True)
INPAINTING = RepairSettings(inpaint=True, guided=False)
SETTINGS = Settings(
    phasing=PhasingSettings(starts=1, keep=1, recipe="20*ER", size=24),
    repair=DENOISING,
    engine=EngineSettings(precision="fp32"),
)


def repairing(wanted: RepairSettings) -> Settings:
    return SETTINGS.model_copy(update={"repair": wanted})


@pytest.fixture(scope="module")
def volume() -> Volume:
    return make_volume(24)


@pytest.fixture(scope="module")
def result(volume: Volume) -> Reconstruction:
    return run(volume, SETTINGS, repair=compose.runners().repair)


def counted(made: list[tuple[int, ...]]) -> Repair:
    """Return a repair that notes the shape of each engine that it makes."""

    def make(settings: EngineSettings, name: str, shape: tuple[int, ...], at_once: int) -> object:
        made.append(shape)
        return compose.trained_engine(settings, name, shape, at_once)

    return Repair(Engines(make))  # type: ignore[arg-type]


def test_the_denoised_counts_stand_beside_the_measured_ones(result: Reconstruction, volume: Volume) -> None:
    assert result.repaired is not None
    denoised = result.repaired.denoised
    assert denoised is not None
    assert denoised.shape == result.object_.shape
    assert denoised.min() >= 0.0
    seen = volume.mask
    error = np.abs(np.log1p(denoised[seen]) - np.log1p(volume.counts[seen])).mean()
    assert 0.0 < error < 0.5
    assert result.figures.denoised_counts == denoised.sum(dtype=np.float64)
    assert result.recipe["networks"]["denoise"]["backend"] == "torch"
    assert result.latencies_s["denoise"] > 0.0


def test_what_is_inverted_and_judged_stays_measured(result: Reconstruction, volume: Volume) -> None:
    plain = run(volume, SETTINGS)
    np.testing.assert_array_equal(plain.object_, result.object_)
    judged = dataclasses.replace(result.figures, denoised_counts=0.0)
    np.testing.assert_equal(dataclasses.asdict(plain.figures), dataclasses.asdict(judged))
    assert plain.repaired is None
    assert "networks" not in plain.recipe


@pytest.fixture(scope="module")
def gapped(volume: Volume) -> Volume:
    return dataclasses.replace(volume, mask=volume.mask & gaps((24, 24, 24)))


@pytest.fixture(scope="module")
def filled(gapped: Volume) -> Reconstruction:
    return run(gapped, repairing(INPAINTING), repair=compose.runners().repair)


def test_gaps_are_filled_beside_the_measured_counts_and_left_free(filled: Reconstruction, gapped: Volume) -> None:
    assert filled.repaired is not None
    assert filled.repaired.filled is not None
    assert filled.repaired.filled_std is not None
    np.testing.assert_array_equal(filled.repaired.filled[gapped.mask], gapped.counts[gapped.mask])
    np.testing.assert_array_equal(filled.repaired.filled_std > 0, ~gapped.mask)
    assert filled.figures.filled_voxels == np.count_nonzero(~gapped.mask)
    assert filled.figures.filled_counts == filled.repaired.filled[~gapped.mask].sum(dtype=np.float64)
    assert filled.latencies_s["inpaint"] > 0.0
    assert any("filled by a network, left free" in note for note in filled.notes)
    plain = run(gapped, SETTINGS)
    np.testing.assert_array_equal(plain.object_, filled.object_)


def test_filled_voxels_are_used_where_the_settings_say_so_and_nothing_speaks_against_them(
    filled: Reconstruction, gapped: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    using = INPAINTING.model_copy(update={"use_filled": True})
    monkeypatch.setattr("service.repair.trial", lambda *_: float("nan"))
    monkeypatch.setattr("service.repair.MOST_UNSURE", 10.0)
    used = run(gapped, repairing(using), repair=compose.runners().repair)
    assert np.abs(used.object_ - filled.object_).max() > 0.0
    assert used.recipe["filled_voxels_used"]
    assert any("to be used as far as they are sure" in note for note in used.notes)
    monkeypatch.setattr("service.repair.trial", lambda *_: 36.0)
    doubted = run(gapped, repairing(using), repair=compose.runners().repair)
    np.testing.assert_array_equal(doubted.object_, filled.object_)
    assert "filled voxels are doubtful, so they are left free in phase retrieval" in doubted.notes


def test_without_a_gap_nothing_is_filled_and_that_is_said(volume: Volume) -> None:
    whole = dataclasses.replace(volume, mask=np.ones_like(volume.mask))
    found = run(whole, repairing(INPAINTING), repair=compose.runners().repair)
    assert found.figures.filled_voxels == 0
    assert "no gap between seen voxels to fill" in found.notes


def test_both_networks_are_shown_as_one(gapped: Volume) -> None:
    both = INPAINTING.model_copy(update={"denoise": True})
    found = run(gapped, repairing(both), repair=compose.runners().repair)
    assert found.repaired is not None
    shown, filled, denoised = found.repaired.shown, found.repaired.filled, found.repaired.denoised
    assert shown is not None and filled is not None and denoised is not None  # noqa: PT018
    np.testing.assert_array_equal(shown[~gapped.mask], filled[~gapped.mask])
    np.testing.assert_array_equal(shown[gapped.mask], denoised[gapped.mask])
    assert list(found.recipe["networks"]) == ["inpaint", "denoise"]
    frames = before_and_after(found.repaired)
    assert np.isnan(frames["measured"]).any()
    assert np.isfinite(frames["repaired"]).all()
    assert frames["measured"].shape == frames["repaired"].shape == (24, 24)
    assert before_and_after(None) == {}


def test_what_a_network_gets_wrong_is_a_doubt_that_the_result_tells(
    gapped: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.repair.trial", lambda *_: 36.0)
    found = run(gapped, repairing(INPAINTING), repair=compose.runners().repair)
    said = "inpainting: counts beside the gap are missed by 6.0 sigma"
    assert said in found.figures.repair_doubt
    assert any(said in warning for warning in found.warnings)
    assert found.figures.doubt not in ("", said) or said not in found.figures.doubt
    patient = INPAINTING.model_copy(update={"doubt_above": 7.0})
    assert said not in run(gapped, repairing(patient), repair=compose.runners().repair).figures.repair_doubt


def test_they_are_in_file_and_picture(gapped: Volume, tmp_path: Path) -> None:
    both = repairing(INPAINTING.model_copy(update={"denoise": True}))
    found = run(gapped, both, repair=compose.runners().repair)
    back = read_result(write_result(found, gapped, both, tmp_path))
    assert found.repaired is not None
    written = dataclasses.replace(found.repaired, measured=None)  # the measured counts lie in the file as such
    np.testing.assert_equal(dataclasses.asdict(back)["repaired"], dataclasses.asdict(written))
    assert back.recipe["networks"] == found.recipe["networks"]
    without = write_picture(dataclasses.replace(found, repaired=None), gapped, tmp_path / "without.png")
    assert write_picture(found, gapped, tmp_path / "with.png").stat().st_size > without.stat().st_size


def test_the_engine_is_kept_until_shape_or_settings_change() -> None:
    made: list[tuple[int, ...]] = []
    repair = counted(made)
    for _ in range(2):
        run(make_volume(24), SETTINGS, repair=repair)
    assert made == [(2, 24, 24, 24)]
    smaller = SETTINGS.model_copy(update={"phasing": SETTINGS.phasing.model_copy(update={"size": 16})})
    run(make_volume(24), smaller, repair=repair)
    other = smaller.model_copy(update={"engine": EngineSettings(precision="fp32", largest_batch=2)})
    run(make_volume(24), other, repair=repair)
    assert made == [(2, 24, 24, 24), (2, 16, 16, 16), (2, 16, 16, 16)]
    run(make_volume(24), other.model_copy(update={"repair": RepairSettings()}), repair=repair)
    assert len(made) == 3


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (lambda folder: EngineSettings(networks=folder), "no trained network is called 'denoise', there is none in"),
        (lambda _: EngineSettings(precision="fp16"), "engine: this cpu does not compute in fp16"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(
    engine: Callable[[Path], EngineSettings], said: str, volume: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.engine.precision._cpu_flags", set)
    with pytest.raises(SettingsError, match=said):
        run(volume, SETTINGS.model_copy(update={"engine": engine(tmp_path)}), repair=compose.runners().repair)
