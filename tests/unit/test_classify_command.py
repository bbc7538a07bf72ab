"""`braggloop classify` and `braggloop defects catalogue`, and defects beside a reconstruction; random weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args

import h5py
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from typer.testing import CliRunner, Result

from models import registry
from models.defects.network import build
from models.defects.report import DefectClass, DefectReport
from models.defects.vortices import Vortex
from models.defects_slice.network import build as build_slice
from service.cli import app
from service.compose import runners
from service.pipeline import run
from service.records import Volume
from service.results.nexus import read_result, write_result
from service.results.slices import central_slices, lines_nm
from service.settings import DefectName, DefectsSettings, EngineSettings, PhasingSettings, Settings
from tests.helpers.networks import write_network
from tests.helpers.patterns import poisson, transform
from tests.helpers.results import make_crystal, make_reconstruction, make_volume, write_scan

EDGE = 32


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for name, made in (("defects", build()), ("defects_slice", build_slice())):
        write_network(root, name, made, code=f"from models.{name}.network import build\n")
    for name in ("invert", "inpaint"):
        shutil.copytree(registry.ROOT / name, root / name)
    return root


@pytest.fixture
def settings(networks: Path, tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(f'[engine]\nnetworks = "{networks}"\n[defects]\nsure = 0.05\n')
    return path


def braggloop(*arguments: object, command: tuple[str, ...] = ("classify",)) -> Result:
    return CliRunner().invoke(app, [*command, *map(str, arguments)])


def counts() -> np.ndarray:
    intensity = np.abs(transform(make_crystal(EDGE)[0])) ** 2
    return poisson(1e5 * intensity / intensity.max()).astype(np.float32)


def test_an_array_and_a_frame_of_it(settings: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "volume.npy", counts())
    np.save(tmp_path / "frame.npy", counts()[EDGE // 2])
    for name in ("volume", "frame"):
        picture = tmp_path / f"{name}.png"
        done = braggloop(tmp_path / f"{name}.npy", "--settings", settings, "--picture", picture, "--json")
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout.splitlines()[-1])
        assert told["label"] in {one.value for one in DefectClass}
        assert sum(told["probabilities"].values()) == pytest.approx(1.0)
        assert told["geometry_known"] is False
        assert told["lines"] == []
        assert picture.stat().st_size > 1000


def test_a_scan_and_a_result(settings: Path, tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "scan.h5", EDGE)
    for options in (("--fast",), ("--reflection", 1, 1, 1)):
        done = braggloop(scan, "--settings", settings, *options, "--json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout.splitlines()[-1])["geometry_known"] is True
    volume = make_volume()
    path = write_result(make_reconstruction(), volume, Settings(), tmp_path)
    picture = tmp_path / "result.png"
    done = braggloop(path, "--settings", settings, "--picture", picture)
    assert done.exit_code == 0, done.output
    assert "lines" in done.output
    assert picture.exists()
    odd = braggloop(path, "--settings", settings, "--reflection", 9, 9, 9, "--fast")
    assert "which hardly any fcc metal has" in odd.output.replace("\n", " ")
    assert "--fast is not used" in odd.output


def test_what_an_array_cannot_use_is_told(settings: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "volume.npy", counts())
    done = braggloop(tmp_path / "volume.npy", "--settings", settings, "--fast", "--reflection", 1, 1, 1)
    assert done.exit_code == 0, done.output
    assert "not used for an array: --fast, reflection" in done.output.replace("\n", " ")


@pytest.mark.parametrize(("name", "words"), [("page.jpg", "name it .png"), ("there.png", "a folder is there")])
def test_a_picture_that_cannot_be_written_is_refused_first(
    name: str, words: str, settings: Path, tmp_path: Path
) -> None:
    (tmp_path / "there.png").mkdir()
    done = braggloop(tmp_path / "unread.npy", "--settings", settings, "--picture", tmp_path / name)
    assert done.exit_code == 1
    assert words in done.output.replace("\n", " ")


def test_bad_files_are_one_line(settings: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "empty.npy", np.zeros((8, 8, 8), np.float32))
    (tmp_path / "text.h5").write_text("no file of counts")
    (tmp_path / "text.npy").write_text("no array either")
    for name, words in (
        ("empty.npy", "nothing was counted"),
        ("text.h5", "text.h5"),
        ("text.npy", "no array of numbers"),
        ("missing.npy", "missing.npy"),
    ):
        done = braggloop(tmp_path / name, "--settings", settings)
        assert done.exit_code in (1, 2)
        assert words in done.output.replace("\n", "")
        assert "Traceback" not in done.output


def test_the_page_of_what_defects_look_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.commands.catalogue.SHOWN", (DefectClass.PERFECT, DefectClass.SCREW))
    page = tmp_path / "page.png"
    done = braggloop(page, "--json", command=("defects", "catalogue"))
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["shown"] == 6
    assert page.stat().st_size > 10_000
    wrong = braggloop(page, "--element", "Xx", command=("defects", "catalogue"))
    assert wrong.exit_code == 1
    assert "Xx" in wrong.output


@pytest.fixture(scope="module")
def volume() -> Volume:
    return make_volume(EDGE, counts=counts(), mask=np.ones((EDGE,) * 3, bool))


def quick(networks: Path, **defects: object) -> Settings:
    return Settings(
        phasing=PhasingSettings(starts=2, keep=2, recipe="20*ER", size=EDGE),
        engine=EngineSettings(networks=networks),
        defects=DefectsSettings.model_validate({"classify": True, **defects}),
    )


def test_defects_are_told_beside_a_reconstruction(volume: Volume, networks: Path, tmp_path: Path) -> None:
    result = run(volume, quick(networks, sure=0.0), classifier=runners().classifier)
    assert result.defects is not None
    assert result.figures.defect_class == result.defects.label.value
    assert result.figures.defect_probability == result.defects.probability
    assert result.latencies_s["classify"] > 0.0
    assert not result.figures.hold
    path = write_result(result, volume, Settings(), tmp_path)
    assert read_result(path).figures == result.figures
    with h5py.File(path) as file:
        assert file["entry_1/defects/label"].asstr()[()] == result.defects.label.value
        assert file["entry_1/defects/probabilities/screw"][()] == result.defects.probabilities[DefectClass.SCREW]
    label = result.figures.defect_class
    held = run(volume, quick(networks, sure=0.0, hold_on=(label,), hold_above=0.0), classifier=runners().classifier)
    assert held.figures.hold
    unsure = run(volume, quick(networks, sure=0.99, hold_on=("unknown",)), classifier=runners().classifier)
    assert unsure.figures.defect_class == "unknown"
    assert unsure.figures.hold


def test_settings_of_defects(networks: Path) -> None:
    assert set(get_args(DefectName)) == {one.value for one in DefectClass}
    with pytest.raises(ValidationError, match="direct beam"):
        DefectsSettings(reflection=(0, 0, 0))
    with pytest.raises(ValidationError, match="none of an fcc crystal"):
        DefectsSettings(reflection=(1, 0, 0))


def test_nothing_odd_about_a_crystal_loses_its_series(volume: Volume, networks: Path) -> None:
    class Odd:
        def __call__(self, *_: object) -> DefectReport:
            raise ZeroDivisionError("no voxel")

    result = run(volume, quick(networks), classifier=Odd())  # type: ignore[arg-type]
    assert result.defects is None
    assert any("no voxel" in warning for warning in result.warnings)


def test_an_array_off_its_middle_is_cut_about_its_peak(settings: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "off.npy", np.pad(counts(), ((0, 0), (8, 0), (0, 0))))
    done = braggloop(tmp_path / "off.npy", "--settings", settings)
    assert done.exit_code == 0, done.output
    assert "about the peak" in done.output
    np.save(tmp_path / "edge.npy", counts()[EDGE // 2 :])
    assert "at the edge" in braggloop(tmp_path / "edge.npy", "--settings", settings).output


def test_a_result_stands_without_its_classifier(volume: Volume, tmp_path: Path) -> None:
    result = run(volume, quick(tmp_path), classifier=runners().classifier)  # a folder without networks
    assert result.defects is None
    assert result.figures.defect_class == ""
    assert any("defects are not told" in warning for warning in result.warnings)
    plain = run(volume, quick(tmp_path, classify=False), classifier=runners().classifier)
    assert not any("defects" in said for said in (*plain.notes, *plain.warnings))


def test_lines_are_drawn_where_the_laboratory_grid_has_them(volume: Volume) -> None:
    """A point of a line that lies in the middle of the support lies in the middle of the laboratory grid."""
    result = run(volume, Settings(phasing=PhasingSettings(starts=2, keep=2, recipe="20*ER", size=EDGE)))
    middle = np.argwhere(result.support).mean(axis=0)
    points = np.stack([middle, middle + np.array([1.0, 0.0, 0.0])])
    line = Vortex(points=points, direction=np.array([1.0, 0.0, 0.0]), turns=1, spread=0.0, closed=False)
    told = DefectReport(
        label=DefectClass.EDGE, probabilities={DefectClass.EDGE: 1.0}, sure=0.5, lines=(line,), places=(), count=1
    )
    seen = replace(result, defects=told)
    (found,) = lines_nm(seen)
    np.testing.assert_allclose(found[0], 0.0, atol=1e-9)
    np.testing.assert_allclose(found[1], result.basis_nm[::-1, 0])  # x, y, z -> z, y, x
    live = central_slices(seen)["defect_lines"]
    assert live.shape == result.object_lab.shape[1:]
    ends = np.stack([[0.0, 0.0], found[1][1:] / result.voxel_nm]) + (np.array(live.shape) - 1) / 2
    assert {tuple(end) for end in ends.round().astype(int)} <= {tuple(place) for place in np.argwhere(live == 1.0)}
    assert np.count_nonzero(live) == max(np.ptp(ends.round(), axis=0)) + 1, "no holes, and nothing beside"
    assert "defect_lines" not in central_slices(result)
