"""Recorded scans in HDF5: every layout, and every way in which a file can be another than expected."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from service.adapters.scans.hdf5 import is_hdf5, open_hdf5
from service.errors import SourceError
from tests.helpers import recordings


def test_nexus_gives_the_frames_and_the_facts_in_our_units(tmp_path: Path) -> None:
    scan = open_hdf5(recordings.write_nexus(tmp_path / "scan.h5"))

    np.testing.assert_array_equal(scan.read(0, recordings.FRAMES), recordings.counts())
    np.testing.assert_array_equal(scan.read(2, 4), recordings.counts()[2:4])
    assert scan.shape == (recordings.ROWS, recordings.COLUMNS)
    assert scan.dtype == "uint16"
    assert scan.rocking_axis == "theta"
    np.testing.assert_allclose(scan.rocking_deg, recordings.ANGLES)
    assert scan.positions == pytest.approx({"delta": 32.0, "gamma": 12.0, "chi": 90.0, "phi": -5.0})
    assert scan.user_data == {
        "instrument": "34-ID-C",
        "rocking_axis": "theta",
        "positions": scan.positions,
        "energy_kev": pytest.approx(9.0),
        "distance_m": pytest.approx(0.5),
        "roi": [2, 8, 3, 12],
        "sample": "Au",
        "title": "a scan",
    }
    assert scan.header == pytest.approx(
        {
            "incident_energy": 9000.0,
            "pixel_size_x": 55e-6,
            "pixel_size_y": 55e-6,
            "beam_center_x": 10.0,
            "beam_center_y": 12.5,
            "count_time": 0.25,
        }
    )
    np.testing.assert_array_equal(scan.monitor, np.arange(1, 8))
    np.testing.assert_array_equal(scan.transmission, np.full(7, 0.5))
    scan.close()


def test_dark_and_white_field_of_the_full_chip_are_cut_to_the_roi(tmp_path: Path) -> None:
    scan = open_hdf5(recordings.write_nexus(tmp_path / "scan.h5"))

    assert scan.dark is not None
    assert scan.flat is not None
    assert scan.mask is not None
    np.testing.assert_array_equal(scan.dark, np.arange(400).reshape(20, 20)[2:8, 3:12])
    assert scan.flat[0, 0] == 1.0
    assert scan.flat[1, 1] == 0.0
    assert not scan.mask[1, 1]
    assert scan.mask.sum() == scan.mask.size - 1
    scan.close()


def test_lima_file_names_its_beamline_and_has_no_angles(tmp_path: Path) -> None:
    scan = open_hdf5(recordings.write_lima(tmp_path / "mpx1x4_0000.h5"))

    np.testing.assert_array_equal(scan.read(0, 7), recordings.counts("uint32"))
    assert scan.user_data == {"instrument": "ID01"}
    assert scan.header == pytest.approx({"pixel_size_x": 55e-6, "pixel_size_y": 55e-6, "count_time": 0.1})
    assert scan.rocking_axis == ""
    assert scan.rocking_deg.size == 0
    assert scan.mask is None
    scan.close()


def test_lima_data_may_be_in_the_measurement_alone(tmp_path: Path) -> None:
    path = recordings.write_lima(tmp_path / "lima.h5", missing=("entry_0000/measurement/data", "entry_0000/ESRF-ID01"))
    with h5py.File(path, "a") as file:
        file["entry_0000/measurement/data"] = recordings.counts("uint32")

    with_close = open_hdf5(path)

    assert with_close.number_of_images == recordings.FRAMES
    assert with_close.user_data == {}
    with_close.close()


def test_cxi_is_in_si_units_and_its_mask_keeps_remarks_good(tmp_path: Path) -> None:
    scan = open_hdf5(recordings.write_cxi(tmp_path / "scan.cxi"))

    np.testing.assert_array_equal(scan.read(0, 7), recordings.counts("int32"))
    assert scan.dtype == "int32"
    assert scan.user_data["energy_kev"] == pytest.approx(8.0)
    assert scan.user_data["distance_m"] == 1.0
    assert scan.user_data["sample"] == "Pt"
    assert scan.rocking_axis == "omega"
    assert scan.mask is not None
    assert not scan.mask[0, 0]
    assert scan.mask[1, 1]
    scan.close()


@pytest.mark.parametrize("prefix", ["", "PtNP_"])
def test_bliss_master_reads_through_virtual_datasets(tmp_path: Path, prefix: str) -> None:
    scan = open_hdf5(recordings.write_bliss(tmp_path, prefix), "3.1")

    np.testing.assert_array_equal(scan.read(0, 7), recordings.counts("uint32"))
    assert scan.scan == f"{prefix}3.1"
    assert scan.rocking_axis == "eta"
    np.testing.assert_allclose(scan.rocking_deg, recordings.ANGLES)
    assert scan.positions == pytest.approx({"phi": 1.5, "nu": 0.5, "delta": 33.00003, "mu": 0.0})
    assert scan.user_data["instrument"] == "ID01"
    assert scan.user_data["energy_kev"] == 9.0
    assert scan.user_data["sample"] == "PtNP"
    assert scan.header["beam_center_x"] == 270.5
    assert scan.header["beam_center_y"] == 260.25
    np.testing.assert_array_equal(scan.monitor, np.full(7, 7.0))
    np.testing.assert_array_equal(scan.transmission, np.full(7, 0.1))
    scan.close()


def test_bliss_scan_without_angles_in_positioners_takes_the_measured_ones(tmp_path: Path) -> None:
    master = recordings.write_bliss(tmp_path)
    with h5py.File(master, "a") as file:
        del file["3.1/instrument/positioners/eta"]
        file["3.1/instrument/positioners_start/eta"] = 10.0
        file["3.1/measurement/eta"] = recordings.ANGLES

    scan = open_hdf5(master, "3.1")

    np.testing.assert_allclose(scan.rocking_deg, recordings.ANGLES)
    scan.close()


def test_absent_scan_is_told_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"sample\.h5: no scan 4\.1, .*: 1\.1, 3\.1, 10\.1; give it as --scan"):
        open_hdf5(recordings.write_bliss(tmp_path), "4.1")


def test_scan_without_images_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no images in /1\.1/measurement"):
        open_hdf5(recordings.write_bliss(tmp_path))


def test_one_of_several_detectors_is_named_with_the_scan(tmp_path: Path) -> None:
    master = recordings.write_bliss(tmp_path, detectors=("mpx1x4", "eiger2M"))

    with pytest.raises(SourceError, match=r"eiger2M, mpx1x4 in /3\.1/measurement, .* --scan 3\.1/DETECTOR"):
        open_hdf5(master, "3.1")
    scan = open_hdf5(master, "3.1/eiger2M")
    assert scan.number_of_images == recordings.FRAMES
    scan.close()


def test_two_samples_with_the_same_scan_number_are_not_guessed(tmp_path: Path) -> None:
    master = recordings.write_bliss(tmp_path, "one_")
    with h5py.File(master, "a") as file:
        file.copy("one_3.1", "two_3.1")

    with pytest.raises(SourceError, match=r"2 scans match 3\.1.*one_3\.1.*two_3\.1"):
        open_hdf5(master, "3.1")


def test_missing_raw_file_is_named_and_never_read_as_zeros(tmp_path: Path) -> None:
    master = recordings.write_bliss(tmp_path)
    (tmp_path / "scan3.1" / "mpx1x4_0001.h5").unlink()

    with pytest.raises(SourceError, match=r"points to scan3\.1/mpx1x4_0001\.h5, which is not there; copy the raw"):
        open_hdf5(master, "3.1")


def test_scan_behind_an_external_link_that_is_broken_says_so(tmp_path: Path) -> None:
    master = tmp_path / "dataset.h5"
    with h5py.File(master, "w") as file:
        file["5.1"] = h5py.ExternalLink("gone.h5", "/5.1")

    with pytest.raises(SourceError, match=r"dataset\.h5: 5\.1 is a link to gone\.h5, which is not there"):
        open_hdf5(master)


def test_master_of_links_finds_the_raw_files_beside_the_linked_file(tmp_path: Path) -> None:
    (tmp_path / "dataset_0001").mkdir()
    recordings.write_bliss(tmp_path / "dataset_0001")
    master = tmp_path / "sample.h5"
    with h5py.File(master, "w") as file:
        file["dataset_0001_3.1"] = h5py.ExternalLink("dataset_0001/sample.h5", "/3.1")

    scan = open_hdf5(master, "3.1")

    np.testing.assert_array_equal(scan.read(0, 7), recordings.counts("uint32"))
    scan.close()


def test_wrong_number_of_angles_quotes_both_numbers(tmp_path: Path) -> None:
    path = recordings.write_nexus(tmp_path / "scan.h5", angles=np.linspace(0, 1, 5))

    with pytest.raises(SourceError, match=r"scan\.h5: 5 values of theta for 7 frames, one each expected"):
        open_hdf5(path)


def test_no_angles_opens_and_leaves_the_rocking_axis_empty(tmp_path: Path) -> None:
    scan = open_hdf5(recordings.write_nexus(tmp_path / "scan.h5", angles=None))

    assert scan.rocking_axis == ""
    assert "rocking_axis" not in scan.user_data
    scan.close()


def test_file_without_detector_data_says_what_was_looked_for(tmp_path: Path) -> None:
    path = tmp_path / "empty.h5"
    with h5py.File(path, "w") as file:
        file["entry/title"] = "nothing"

    with pytest.raises(SourceError, match=r"no detector data in /entry, one of instrument/detector/data"):
        open_hdf5(path)


def test_file_without_groups_says_so(tmp_path: Path) -> None:
    path = tmp_path / "bare.h5"
    with h5py.File(path, "w") as file:
        file["counts"] = recordings.counts()

    with pytest.raises(SourceError, match="no group in it"):
        open_hdf5(path)


def test_default_signal_of_nexus_is_found(tmp_path: Path) -> None:
    path = tmp_path / "signal.nxs"
    with h5py.File(path, "w") as file:
        plot = file.create_group("raw/plot")
        plot.attrs["signal"] = "frames"
        plot["frames"] = recordings.counts("int16")
        file["raw/other"] = 1.0

    scan = open_hdf5(path, "raw")

    np.testing.assert_array_equal(scan.read(0, 7), recordings.counts("int32"))
    scan.close()


def test_series_that_a_detector_cut_into_files_is_one(tmp_path: Path) -> None:
    scan = open_hdf5(recordings.write_dectris(tmp_path))

    np.testing.assert_array_equal(scan.read(0, 7), recordings.counts("uint32"))
    np.testing.assert_array_equal(scan.read(3, 5), recordings.counts("uint32")[3:5])
    np.testing.assert_array_equal(scan.read(5, 6), recordings.counts("uint32")[5:6])
    assert scan.user_data["energy_kev"] == pytest.approx(10.0)
    assert scan.user_data["distance_m"] == 1.83
    assert scan.rocking_axis == "omega"
    assert scan.mask is not None
    assert scan.mask.sum() == 6 * 9 - 6
    scan.close()


def test_missing_part_of_a_series_is_named(tmp_path: Path) -> None:
    master = recordings.write_dectris(tmp_path)
    (tmp_path / "eiger_data_000002.h5").unlink()

    with pytest.raises(SourceError, match=r"data_000002 is a link to eiger_data_000002\.h5, which is not there"):
        open_hdf5(master)


def test_parts_of_another_shape_are_refused(tmp_path: Path) -> None:
    master = recordings.write_dectris(tmp_path)
    with h5py.File(tmp_path / "eiger_data_000002.h5", "w") as raw:
        raw["entry/data/data"] = np.zeros((3, 2, 2), np.uint32)

    with pytest.raises(SourceError, match=r"has frames of \(2, 2\) uint32, \(6, 9\) uint32 as in"):
        open_hdf5(master)


def test_frame_of_an_impossible_size_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "entry/instrument/detector/data", shape=(1, 100_000, 100_000), dtype="u2", chunks=(1, 100, 100)
        )

    with pytest.raises(SourceError, match=r"frames of \(100000, 100000\) pixels, at most 1 GB a frame"):
        open_hdf5(path)


def test_master_that_another_process_still_writes_is_read(tmp_path: Path) -> None:
    path = recordings.write_nexus(tmp_path / "scan.h5")
    hold = f"import h5py; file = h5py.File({str(path)!r}, 'a'); print('open', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"open\n"

        scan = open_hdf5(path)

        np.testing.assert_array_equal(scan.read(0, 1), recordings.counts()[:1])
        scan.close()
        writer.communicate(b"\n")


def test_entry_is_chosen_by_name_or_by_the_default(tmp_path: Path) -> None:
    path = recordings.write_nexus(tmp_path / "scan.h5")
    with h5py.File(path, "a") as file:
        file.copy("entry", "another")

    first, chosen = open_hdf5(path), open_hdf5(path, "another")

    assert (first.scan, chosen.scan) == ("entry", "another")
    first.close()
    chosen.close()


@pytest.mark.parametrize("shape", [(4, 2, 6, 9), (54,)])
def test_data_of_another_shape_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "odd.h5"
    with h5py.File(path, "w") as file:
        file["entry/instrument/detector/data"] = np.zeros(shape, np.uint16)

    with pytest.raises(SourceError, match=r"has shape .*, \(frames, rows, columns\) expected"):
        open_hdf5(path)


@pytest.mark.parametrize(("shape", "frames"), [((6, 9), 1), ((7, 1, 6, 9), 7)])
def test_one_image_and_frames_of_one_channel_are_frames(tmp_path: Path, shape: tuple[int, ...], frames: int) -> None:
    path = tmp_path / "frames.h5"
    data = recordings.counts()[:frames].reshape(shape)
    with h5py.File(path, "w") as file:
        file["entry/instrument/detector/data"] = data

    scan = open_hdf5(path)

    assert scan.number_of_images == frames
    np.testing.assert_array_equal(scan.read(0, frames), data.reshape(frames, 6, 9))
    scan.close()


def test_no_frames_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.h5"
    with h5py.File(path, "w") as file:
        file["entry/instrument/detector/data"] = np.zeros((0, 6, 9), np.uint16)

    with pytest.raises(SourceError, match="no frames in it"):
        open_hdf5(path)


def test_pixels_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = recordings.write_nexus(tmp_path / "scan.h5", data=recordings.counts("complex64"))

    with pytest.raises(SourceError, match="pixels of type complex64, counts expected"):
        open_hdf5(path)


def test_flat_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = recordings.write_nexus(tmp_path / "scan.h5")
    with h5py.File(path, "a") as file:
        del file["entry/instrument/detector/roi"]

    with pytest.raises(SourceError, match=r"flat field of shape \(20, 20\), that of the frames \(6, 9\) or a roi"):
        open_hdf5(path)


def test_damaged_chunk_is_an_error_of_one_line(tmp_path: Path) -> None:
    path = recordings.write_nexus(tmp_path / "scan.h5")
    with h5py.File(path) as file:
        start = file["entry/instrument/detector/data"].id.get_chunk_info(3).byte_offset
    content = bytearray(path.read_bytes())
    content[start : start + 16] = b"\xff" * 16
    path.write_bytes(content)

    scan = open_hdf5(path)

    scan.read(0, 3)
    with pytest.raises(SourceError, match=r"^[^\n]*scan\.h5: not readable as HDF5[^\n]*$"):
        scan.read(3, 4)
    scan.close()


def test_truncated_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    path = recordings.write_nexus(tmp_path / "scan.h5")
    path.write_bytes(path.read_bytes()[:2000])

    assert is_hdf5(path)
    with pytest.raises(SourceError, match=r"^[^\n]*scan\.h5: not readable as HDF5[^\n]*$"):
        open_hdf5(path)


def test_region_of_a_chip_without_beam_centre_takes_the_middle_of_the_chip(tmp_path: Path) -> None:
    path = tmp_path / "region.h5"
    with h5py.File(path, "w") as file:
        detector = file.create_group("entry/instrument/detector")
        detector["data"] = np.ones((3, 8, 6), np.int32)
        detector["dark"] = np.zeros((20, 30), np.int32)
        detector["roi"] = [4, 12, 10, 16]
    scan = open_hdf5(path, "")
    scan.close()
    assert (scan.header["beam_center_y"], scan.header["beam_center_x"]) == (19 / 2 - 4, 29 / 2 - 10)
