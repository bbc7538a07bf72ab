"""What the worker does with a volume: pipeline, file, picture, and the hand of the next one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from service.errors import DataError
from service.results.nexus import read_result
from service.settings import Settings, load_settings
from service.worker import inversion
from service.worker.inversion import Inversion
from tests.helpers.results import make_volume


def quick(folder: Path) -> Settings:
    return load_settings(None, {"out": str(folder), "phasing": {"recipe": "20*ER", "starts": 2, "keep": 1}}, {})


def test_result_lies_on_the_disk_and_the_next_takes_its_hand(tmp_path: Path) -> None:
    invert = Inversion()
    volume = make_volume(32)
    first = invert(volume, quick(tmp_path))
    np.testing.assert_equal(asdict(read_result(first.path).figures), asdict(first.figures))  # one start: NaN
    assert first.picture is not None
    assert not first.picture.exists()
    first.draw()
    assert first.picture.exists()
    assert set(first.slices) == {"amplitude", "phase", "strain", "displacement", "measured"}
    assert first.latencies_s["write"] > 0
    assert not first.figures.hand_chosen
    assert invert(volume, quick(tmp_path)).figures.hand_chosen
    assert not first.picture.exists(), "that of the former result"


def test_files_are_named_so_that_a_client_elsewhere_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    product = Inversion()(make_volume(32), quick(Path("results")))
    assert product.path.parent == tmp_path.resolve() / "results"
    assert product.picture == product.path.with_suffix(".png")


def test_hand_is_never_that_of_a_doubtful_result(tmp_path: Path) -> None:
    invert, volume, settings = Inversion(), make_volume(32), quick(tmp_path)
    noise = make_volume(32, counts=np.random.default_rng(0).poisson(1.0, (32, 32, 32)).astype(np.float32))
    doubtful = invert(noise, settings)
    assert doubtful.figures.doubt
    restarted = Inversion(doubtful.path)
    for one in (restarted, invert):
        assert not one(volume, settings).figures.hand_chosen, "nothing but noise came before"
    invert(noise, settings)
    assert invert(volume, settings).figures.hand_chosen, "the crystal before the noise"


def test_hand_outlives_the_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    volume = make_volume(32)
    first = Inversion()(volume, quick(tmp_path))
    assert Inversion(first.path)(volume, quick(tmp_path)).figures.hand_chosen
    assert not Inversion(tmp_path / "gone.h5")(volume, quick(tmp_path)).figures.hand_chosen
    assert "gone.h5" in caplog.text


def test_result_stands_without_its_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_font(*_: object) -> Path:
        raise ValueError("no font")

    monkeypatch.setattr(inversion, "write_picture", no_font)
    product = Inversion()(make_volume(32), quick(tmp_path))
    product.draw()
    assert product.picture is not None
    assert not product.picture.exists()
    assert product.path.exists()
    assert "no font" in caplog.text


def test_nothing_to_invert_leaves_nothing(tmp_path: Path) -> None:
    volume = make_volume(32, counts=np.zeros((32, 32, 32), np.float32))
    with pytest.raises(DataError):
        Inversion()(volume, quick(tmp_path))
    assert list(tmp_path.iterdir()) == []
