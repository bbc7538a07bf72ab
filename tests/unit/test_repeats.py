"""Repeated scans of one crystal: what is summed, what goes along with a shift, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from models.bcdi.combine import shifted
from service.commands.reconstruct import reconstruct_file
from service.commands.repeats import sum_scans
from service.commands.report import JsonReport
from service.errors import DataError, GeometryError
from service.records import Accounting, Volume
from service.results.nexus import read_result
from service.settings import DetectorSettings, PhasingSettings, Settings
from tests.helpers.results import make_crystal, make_volume, write_scan

EDGE = 24
QUICK = PhasingSettings(starts=1, recipe="10*ER+20*HIO+10*ER", size=EDGE)


def expected_counts() -> np.ndarray:
    object_, _, _ = make_crystal(EDGE)
    intensity = np.abs(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(object_)))) ** 2
    return 1e5 * intensity / intensity.max()


def repeat(name: str, seed: int, shift: tuple[int, int, int] = (0, 0, 0), **changes: Any) -> Volume:
    """A scan whose crystal moved by `shift` voxels on the detector; a dark of a tenth of a count a column."""
    dark = np.tile(0.1 * np.arange(EDGE, dtype=np.float32), (EDGE, 1))
    counts = np.random.default_rng(seed).poisson(shifted(expected_counts(), shift) + dark).astype(np.float32)
    fields = {"counts": counts, "mask": np.ones(counts.shape, bool), "dark": dark, "series_unique_id": name}
    return make_volume(EDGE, **fields | changes)


def test_counts_masks_and_darks_move_along() -> None:
    second = repeat("b", 2, (1, 0, -2))
    second.mask[5, 6, 7] = False
    summed = sum_scans([repeat("a", 1), second], Settings())
    volume = summed.volume
    assert volume.series_unique_id.startswith("a_and_1_more_")
    assert sum_scans([repeat("a", 1), repeat("c", 2)], Settings()).volume.series_unique_id != volume.series_unique_id
    assert volume.metadata["summed"] == ["a", "b"]
    assert volume.accounting == Accounting(sent=48, received=48, missed=0, rejected=0, duplicates=2)
    assert "2 of 2 scans summed, shifted by [(0, 0, 0), (-1, 0, 2)]" in summed.notes[0]
    assert "correlations with the first 1.0" in summed.notes[0]
    assert volume.scale.shape == volume.counts.shape
    assert not volume.mask[4, 6, 9]  # the other scan's bad voxel
    assert not volume.mask[-1].any()  # the other scan did not reach it
    assert not volume.mask[:, :, :2].any()
    assert volume.dark is not None
    np.testing.assert_allclose(volume.dark[:, 2:], np.tile(0.1 * (2 * np.arange(2, EDGE) - 2), (EDGE, 1)), rtol=1e-5)
    rate = (2 * expected_counts() + volume.dark)[volume.mask]
    assert np.sum((volume.counts[volume.mask] - rate) ** 2 / np.maximum(rate, 0.1)) / len(rate) < 1.5


def test_flat_field_goes_into_the_scale_and_planes_of_the_settings_are_used_once(tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", np.tile(np.where(np.arange(EDGE) < 4, 0.5, 1.0), (EDGE, 1)))
    np.save(tmp_path / "dark.npy", np.full((EDGE, EDGE), 0.25))
    mask = np.ones((EDGE, EDGE), bool)
    mask[3, 5] = False
    np.save(tmp_path / "mask.npy", mask)
    detector = DetectorSettings(
        flat=tmp_path / "flat.npy", dark=tmp_path / "dark.npy", mask=tmp_path / "mask.npy", saturation_counts=6e4
    )
    summed = sum_scans([repeat("a", 1), repeat("b", 2)], Settings(detector=detector))
    assert summed.settings.detector == DetectorSettings()
    assert summed.volume.flat is None
    assert summed.volume.dark == pytest.approx(0.5)
    np.testing.assert_allclose(summed.volume.scale[12, 12, :6], [0.5, 0.5, 0.5, 0.5, 1.0, 1.0])
    assert not summed.volume.mask[:, 3, 5].any()
    assert not summed.volume.mask[expected_counts() > 6.1e4].any()
    assert [warning.split(":")[:2] for warning in summed.warnings] == [
        ["a", " saturated voxels masked"],
        ["b", " saturated voxels masked"],
    ]


def with_geometry(**changes: Any) -> Volume:
    volume = repeat("b", 2)
    return dataclasses.replace(volume, geometry=dataclasses.replace(volume.geometry, **changes))


GEOMETRY = make_volume(EDGE).geometry


@pytest.mark.parametrize(
    ("other", "kind", "said"),
    [
        (make_volume(20, series_unique_id="b"), DataError, "20 x 20 x 20, expected 24 x 24 x 24"),
        (with_geometry(energy_kev=9.01), GeometryError, "energy_kev is 9.01, expected 9.0"),
        (with_geometry(beam_center_px=(3.0, 4.0)), GeometryError, "beam_center_px"),
        (with_geometry(instrument="ID01"), GeometryError, "instrument is 'ID01'"),
        (
            with_geometry(angles_deg={**GEOMETRY.angles_deg, "delta": 32.2}),
            GeometryError,
            "delta stands at 32.2 deg, expected 32.174",
        ),
        (with_geometry(rocking_deg=GEOMETRY.rocking_deg + 0.1), GeometryError, "theta is up to 0.1 deg off"),
    ],
)
def test_what_does_not_repeat_the_first_is_refused(other: Volume, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=f"^b does not repeat a: .*{said}") as caught:
        sum_scans([repeat("a", 1), other], Settings())
    assert "\n" not in str(caught.value)


def test_scans_of_another_exposure_are_refused() -> None:
    """Their scales are known within each scan only: a voxel that one of them masks would count for too much."""
    brighter = repeat("b", 2)
    brighter = dataclasses.replace(brighter, counts=np.float32(10.0) * brighter.counts)
    with pytest.raises(DataError, match=r"b counts \d+(\.\d+)? times as much as a: sum only scans of one exposure"):
        sum_scans([repeat("a", 1), brighter], Settings())


def test_a_flat_field_without_light_is_told() -> None:
    flat = np.zeros((EDGE, EDGE), np.float32)
    with pytest.raises(DataError, match="no pixel above zero"):
        sum_scans([repeat("a", 1, flat=flat), repeat("b", 2)], Settings())
    with pytest.raises(DataError, match=r"dark has shape \(3, 3\)"):
        sum_scans([repeat("a", 1, dark=np.zeros((3, 3), np.float32)), repeat("b", 2)], Settings())


def test_files_are_summed_before_they_are_inverted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    paths = [write_scan(tmp_path / f"{name}.h5") for name in ("a", "b")]
    settings = Settings(phasing=QUICK, out=tmp_path / "out")
    reconstruct_file(paths[0], "", None, settings, JsonReport(), paths[1:])
    record = json.loads(capsys.readouterr().out)
    assert record["notes"][0].startswith("2 of 2 scans summed")
    assert record["accounting"]["received"] == 2 * EDGE
    assert record["figures"]["flux_counts"] == pytest.approx(2 * make_volume(EDGE).counts.sum(), rel=1e-3)
    result = read_result(Path(record["path"]))
    assert result.notes[0] == record["notes"][0]
    with h5py.File(record["path"]) as file:
        scale = file["entry_1/image_2/scale"]
        assert scale.shape == file["entry_1/image_2/data"].shape
