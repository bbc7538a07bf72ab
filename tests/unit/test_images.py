"""Folders of images with a JSON or SPEC file of angles."""

from __future__ import annotations

from pathlib import Path

import fabio
import numpy as np
import pytest

from service.adapters.scans.images import open_images
from service.errors import SourceError
from tests.helpers import recordings


def test_tiffs_are_played_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    scan = open_images(recordings.write_images(tmp_path))

    np.testing.assert_array_equal(scan.read(0, 12), recordings.counts("int32", 12))
    np.testing.assert_array_equal(scan.read(3, 5), recordings.counts("int32", 12)[3:5])
    assert scan.dtype == "int32"
    assert scan.rocking_axis == ""
    scan.close()


def test_edfs_with_json_give_angles_and_planes(tmp_path: Path) -> None:
    folder = recordings.write_images(tmp_path, recordings.counts("uint16", 12), suffix="edf")
    dark, mask = np.full((6, 9), 3, np.int32), np.ones((6, 9), np.uint8)
    mask[2, 2] = 0
    fabio.edfimage.EdfImage(data=dark).write(str(folder / "dark.edf"))
    fabio.tifimage.TifImage(data=mask).write(str(folder / "mask.tif"))
    recordings.write_json(
        folder, rocking_axis="theta", energy_kev=9, distance_m=0.5, pixel_size_m=55e-6, beam_center_px=[3, 4],
        roi=[0, 6, 0, 9], monitor=list(range(12)), count_time_s=0.1, sample="Au", dark="dark.edf", mask="mask.tif",
    )  # fmt: skip
    (folder / "aaa.json").write_text("{}")

    scan = open_images(folder)

    assert scan.number_of_images == 12
    np.testing.assert_allclose(scan.rocking_deg, np.linspace(0, 1, 12))
    assert scan.positions == {"delta": 32.0}
    assert scan.user_data["energy_kev"] == 9.0
    assert scan.header["pixel_size_x"] == scan.header["pixel_size_y"] == 55e-6
    assert (scan.header["beam_center_y"], scan.header["beam_center_x"]) == (3.0, 4.0)
    np.testing.assert_array_equal(scan.monitor, np.arange(12))
    np.testing.assert_array_equal(scan.dark, dark)
    assert scan.mask is not None
    assert np.argwhere(~scan.mask).tolist() == [[2, 2]]


@pytest.mark.parametrize("where", [".", "..", "../.."])
def test_spec_file_is_found_beside_or_above_and_the_scan_by_the_folder(tmp_path: Path, where: str) -> None:
    folder = recordings.write_images(tmp_path / "AD34idcTIM2" / "Staff20-1a_S0054")
    recordings.write_spec((folder / where).resolve() / "Staff20-1a.spec")

    scan = open_images(folder)

    assert scan.rocking_axis == "theta"
    np.testing.assert_allclose(scan.rocking_deg, np.linspace(-0.28, 0.72, 12), atol=1e-6)
    assert scan.positions == {"delta": 32.174, "chi": 90.0, "phi": -5.0, "mu": 0.0, "gamma": 12.6346}
    assert scan.user_data["instrument"] == "34-ID-C"
    assert scan.user_data["energy_kev"] == 9.0
    assert scan.user_data["distance_m"] == 0.5
    assert scan.user_data["roi"] == [2, 2 + recordings.ROWS, 3, 3 + recordings.COLUMNS]
    assert scan.header["pixel_size_x"] == 55e-6
    np.testing.assert_array_equal(scan.monitor, np.arange(100, 112))
    np.testing.assert_array_equal(scan.count_time_s, np.full(12, 0.25))


def test_scan_of_the_spec_file_is_chosen(tmp_path: Path) -> None:
    recordings.write_spec(recordings.write_images(tmp_path / "images") / "run.spec")

    assert open_images(tmp_path / "images", "53").user_data["title"].startswith("scan 53 ascan th")
    assert open_images(tmp_path / "images", "54.1").user_data["title"].startswith("scan 54 ascan th")


def test_absent_spec_scan_lists_those_that_exist(tmp_path: Path) -> None:
    recordings.write_spec(recordings.write_images(tmp_path / "images") / "run.spec")

    with pytest.raises(SourceError, match=r"run\.spec: no scan 7, it has 53\.1 to 54\.1; give --scan N"):
        open_images(tmp_path / "images", "7")
    with pytest.raises(SourceError, match=r"run\.spec: no scan \(none given\)"):
        open_images(tmp_path / "images")


def test_spec_scan_of_another_length_quotes_both_numbers(tmp_path: Path) -> None:
    recordings.write_spec(recordings.write_images(tmp_path / "a_S0054") / "run.spec", frames=9)

    with pytest.raises(SourceError, match="9 values of theta for 12 frames"):
        open_images(tmp_path / "a_S0054")


def test_scan_asked_for_without_a_spec_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="scan 54 asked for, but no SPEC file beside the images"):
        open_images(recordings.write_images(tmp_path / "deep" / "er" / "images"), "54")


def test_two_spec_files_are_not_guessed(tmp_path: Path) -> None:
    folder = recordings.write_images(tmp_path / "images")
    recordings.write_spec(folder / "one.spec")
    recordings.write_spec(folder / "two.spec")

    with pytest.raises(SourceError, match=r"several SPEC files in .* \(one\.spec, two\.spec\), one expected"):
        open_images(folder, "54")


def test_spec_file_with_a_damaged_header_is_an_error_of_one_line(tmp_path: Path) -> None:
    folder = recordings.write_images(tmp_path / "images")
    (folder / "bad.spec").write_text("#S 54 ascan th 0 1 2 1\n#N 2\n#L a  b\n1 x\n")

    with pytest.raises(SourceError, match=r"^[^\n]*bad\.spec[^\n]*$"):
        open_images(folder, "9")


def test_folder_without_images_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no images in it, files of \.cbf, \.edf, \.tif, \.tiff expected"):
        open_images(tmp_path)


@pytest.mark.parametrize("kept", [0, 200, 400])
def test_truncated_image_is_named(tmp_path: Path, kept: int) -> None:
    path = recordings.write_images(tmp_path) / "img_5.tif"
    path.write_bytes(path.read_bytes()[:kept])
    scan = open_images(tmp_path)

    scan.read(0, 4)
    with pytest.raises(SourceError, match=r"^[^\n]*img_5\.tif: [^\n]*copy it again$"):
        scan.read(4, 5)


def test_image_that_is_no_image_is_named(tmp_path: Path) -> None:
    (recordings.write_images(tmp_path) / "img_1.tif").write_text("not a picture")

    with pytest.raises(SourceError, match=r"img_1\.tif: .*copy it again"):
        open_images(tmp_path)


def test_image_of_another_shape_quotes_both(tmp_path: Path) -> None:
    folder = recordings.write_images(tmp_path)
    fabio.tifimage.TifImage(data=np.zeros((3, 3), np.int32)).write(str(folder / "img_4.tif"))
    scan = open_images(folder)

    with pytest.raises(SourceError, match=r"img_4\.tif: image of shape \(3, 3\), \(6, 9\) as in the first"):
        scan.read(0, 12)


def test_one_file_may_hold_every_frame(tmp_path: Path) -> None:
    data = recordings.counts("uint16", 5)
    stack = fabio.edfimage.EdfImage(data=data[0])
    for image in data[1:]:
        stack.append_frame(data=image)
    stack.write(str(tmp_path / "stack.edf"))

    scan = open_images(tmp_path)

    np.testing.assert_array_equal(scan.read(0, 5), data)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"axis": 1}, "unknown axis; expected: axes, beam_center_px"),
        ({"energy_kev": "nine"}, "could not convert string to float"),
        ({"beam_center_px": [1, 2, 3]}, "too many values to unpack"),
        ({"roi": 3}, "not iterable"),
        ({"dark": "gone.tif"}, r"gone\.tif: no such image; copy it there"),
    ],
)
def test_wrong_json_is_an_error_of_one_line(tmp_path: Path, content: dict[str, object], said: str) -> None:
    recordings.write_json(recordings.write_images(tmp_path), **content)

    with pytest.raises(SourceError, match=said):
        open_images(tmp_path)


def test_json_that_is_not_json_is_named(tmp_path: Path) -> None:
    (recordings.write_images(tmp_path) / "angles.json").write_text("{")

    with pytest.raises(SourceError, match=r"angles\.json: not readable as JSON"):
        open_images(tmp_path)
