"""Networks between preprocessing and phase retrieval: run where they are switched on, and told where they cannot."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service import compose
from service.errors import SettingsError
from service.pipeline import run
from service.records import Reconstruction, Volume
from service.repair import Repair
from service.results.nexus import read_result, write_result
from service.results.picture import write_picture
from service.settings import EngineSettings, PhasingSettings, RepairSettings, Settings
from tests.helpers.results import make_volume

SETTINGS = Settings(
    phasing=PhasingSettings(starts=1, keep=1, recipe="20*ER", size=24),
    repair=RepairSettings(denoise=True),
    engine=EngineSettings(precision="fp32"),
)


@pytest.fixture(scope="module")
def volume() -> Volume:
    return make_volume(24)


@pytest.fixture(scope="module")
def result(volume: Volume) -> Reconstruction:
    return run(volume, SETTINGS, repair=compose.repair())


def counted(made: list[tuple[int, ...]]) -> Repair:
    """Return a repair that notes the shape of each engine that it makes."""

    def make(settings: EngineSettings, name: str, shape: tuple[int, ...]) -> object:
        made.append(shape)
        return compose.trained_engine(settings, name, shape)

    return Repair(make)  # type: ignore[arg-type]


def test_the_denoised_counts_stand_beside_the_measured_ones(result: Reconstruction, volume: Volume) -> None:
    assert result.denoised is not None
    assert result.denoised.shape == result.object_.shape
    assert result.denoised.min() >= 0.0
    seen = volume.mask
    error = np.abs(np.log1p(result.denoised[seen]) - np.log1p(volume.counts[seen])).mean()
    assert 0.0 < error < 0.5
    assert result.recipe["denoiser"]["network"] == "denoise"
    assert result.recipe["denoiser"]["backend"] == "torch"


def test_what_is_inverted_and_judged_stays_measured(result: Reconstruction, volume: Volume) -> None:
    plain = run(volume, SETTINGS)
    np.testing.assert_array_equal(plain.object_, result.object_)
    np.testing.assert_equal(dataclasses.asdict(plain.figures), dataclasses.asdict(result.figures))
    assert plain.denoised is None
    assert "denoiser" not in plain.recipe


def test_it_is_in_file_and_picture(result: Reconstruction, volume: Volume, tmp_path: Path) -> None:
    back = read_result(write_result(result, volume, SETTINGS, tmp_path))
    assert back.denoised is not None
    assert result.denoised is not None
    np.testing.assert_array_equal(back.denoised, result.denoised)
    assert back.recipe["denoiser"] == result.recipe["denoiser"]
    without = write_picture(dataclasses.replace(result, denoised=None), volume, tmp_path / "without.png")
    assert write_picture(result, volume, tmp_path / "with.png").stat().st_size > without.stat().st_size


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
        run(volume, SETTINGS.model_copy(update={"engine": engine(tmp_path)}), repair=compose.repair())
