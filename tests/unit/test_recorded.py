"""Opening a recorded scan of whatever kind, and what every kind has in common."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.adapters.scans.recorded import open_scan
from service.adapters.scans.scan import Facts, as_counts, build_scan
from service.adapters.scans.units import degrees_factor, kev, metres
from service.errors import SourceError
from tests.helpers import recordings


class ArrayFrames:
    """Frames in memory."""

    chunk = 1

    def __init__(self, data: np.ndarray[Any, Any]) -> None:
        self._data = data
        self.count, self.dtype = len(data), str(data.dtype)
        self.shape = (data.shape[1], data.shape[2])

    def read(self, start: int, stop: int) -> np.ndarray[Any, Any]:
        return self._data[start:stop]

    def close(self) -> None:
        pass


def build(facts: Facts, frames: int = 4) -> Any:
    return build_scan(Path("scan.h5"), "", ArrayFrames(np.zeros((frames, 2, 3), np.uint16)), facts)


@pytest.mark.parametrize("name", ["scan.h5", "scan.dat", "scan"])
def test_hdf5_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    scan = open_scan(recordings.write_nexus(tmp_path / name))

    assert scan.number_of_images == recordings.FRAMES
    scan.close()


def test_folder_of_images_opens(tmp_path: Path) -> None:
    assert open_scan(recordings.write_images(tmp_path)).number_of_images == 12


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file or folder; give a recorded scan"),
        (b"", "an empty file, a recorded scan expected; copy it again"),
        (b"# a text file of some other kind\n", "not HDF5 and not a folder of images; give one of them"),
    ],
)
def test_other_things_are_refused_in_one_line(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "scan.h5"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(SourceError) as caught:
        open_scan(path)

    assert str(caught.value) == f"{path}: {said}"


def test_the_real_scan_is_read_whole(shared_data: Path) -> None:
    scan = open_scan(shared_data / "bcdi" / "scan54.h5")

    counts = scan.read(0, scan.number_of_images)
    assert counts.shape == (201, 256, 256)
    assert counts.max() == 165_297
    assert counts.sum() == pytest.approx(4.6e7, rel=0.01)
    assert scan.user_data["instrument"] == "34-ID-C"
    assert scan.rocking_axis == "theta"
    assert scan.rocking_deg[[0, -1]] == pytest.approx([-0.28, 0.72], abs=1e-3)
    assert np.diff(scan.rocking_deg) == pytest.approx(0.005, abs=1e-4)
    assert scan.positions["delta"] == 32.174
    assert scan.dark is not None
    assert scan.flat is not None
    assert scan.dark.shape == scan.flat.shape == scan.shape
    scan.close()


def test_axis_that_only_jitters_stood_still() -> None:
    angles, jitter = np.linspace(0, 1, 4), np.array([5.0, 5.0005, 5.0, 5.0])

    scan = build(Facts(axes={"th": angles, "phi": jitter}))

    assert scan.rocking_axis == "theta"
    assert set(scan.moving) == {"theta"}
    assert scan.positions == {"phi": pytest.approx(5.000125)}


def test_axis_that_the_file_names_goes_before_a_wider_one() -> None:
    axes = {"eta": np.linspace(0, 1, 4), "delta": np.linspace(0, 2, 4)}

    assert build(Facts(axes=axes, rocking_axis="eta")).rocking_axis == "eta"
    assert build(Facts(axes=axes)).rocking_axis == "delta"
    assert build(Facts(axes=axes, rocking_axis="phi")).rocking_axis == "delta"
    assert set(build(Facts(axes=axes)).moving) == {"eta", "delta"}


def test_angles_that_are_no_numbers_are_passed_on_for_the_pipeline_to_refuse() -> None:
    scan = build(Facts(axes={"theta": np.array([0.0, math.nan, 0.2, 0.3]), "chi": np.array([math.nan])}))

    assert scan.rocking_axis == "theta"
    assert math.isnan(scan.rocking_deg[1])
    assert math.isnan(scan.positions["chi"])


def test_middle_of_the_chip_is_said_to_be_assumed() -> None:
    chip, region = np.ones((20, 30), bool), (4, 6, 7, 10)

    assumed = build(Facts(mask=chip, roi=region))
    told = build(Facts(mask=chip, roi=region, beam_center_px=(1.0, 2.0)))

    assert (assumed.header["beam_center_y"], assumed.header["beam_center_x"]) == (5.5, 7.5)
    assert assumed.user_data["beam_center_assumed"] is True
    assert (told.header["beam_center_y"], told.header["beam_center_x"]) == (1.0, 2.0)
    assert "beam_center_assumed" not in told.user_data


def test_monitor_of_another_length_is_refused() -> None:
    with pytest.raises(SourceError, match="3 values of monitor for 4 frames"):
        build(Facts(monitor=np.ones(3)))


def test_mask_and_dead_pixels_of_the_flat_are_joined() -> None:
    mask, flat = np.ones((2, 3), bool), np.full((2, 3), 2.0)
    mask[0, 0], flat[1, 1] = False, 0.0

    scan = build(Facts(mask=mask, flat=flat))

    assert [tuple(pixel) for pixel in np.argwhere(~scan.mask)] == [(0, 0), (1, 1)]
    assert scan.flat.max() == 1.0
    assert build(Facts(mask=mask, flat=np.zeros((2, 3)))).flat is None


def test_fractions_of_counts_are_refused_and_missing_ones_are_zero() -> None:
    with pytest.raises(SourceError, match="pixels with fractions, whole counts expected"):
        as_counts(np.array([1.5]), "int32", "scan.h5")
    np.testing.assert_array_equal(as_counts(np.array([2.0, math.nan]), "int32", "scan.h5"), [2, 0])


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=9))
def test_wide_integers_are_clipped_never_wrapped(values: list[int]) -> None:
    counts = as_counts(np.array(values, np.int64), "int32", "scan.h5")

    assert counts.dtype == np.int32
    assert counts.tolist() == [min(max(value, -(2**31)), 2**31 - 1) for value in values]


def test_big_endian_counts_keep_their_value() -> None:
    counts = as_counts(np.array([1, 258], ">u2"), "uint16", "scan.h5")

    assert counts.dtype.str == "<u2"
    assert counts.tolist() == [1, 258]


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [(9.0, "keV", 9.0), (9000, "eV", 9.0), (9000, "", 9.0), (9.0, "", 9.0), (9000 * 1.602176634e-19, "", 9.0)],
)
def test_energies_come_in_any_unit(value: float, unit: str, expected: float) -> None:
    assert kev(value, unit) == pytest.approx(expected)


def test_lengths_and_angles_come_in_any_unit() -> None:
    assert metres(500, "mm") == pytest.approx(0.5)
    assert metres(0.5) == 0.5
    assert degrees_factor("rad") == pytest.approx(180 / math.pi)
    assert degrees_factor("mm") is None
