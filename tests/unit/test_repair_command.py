"""`braggloop inpaint`: files in, one file out, and one line where that cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from service.cli import app
from tests.helpers.results import write_scan

SHAPE = (20, 30, 34)


def braggloop(*arguments: object, command: str = "inpaint") -> Result:
    return CliRunner().invoke(app, [command, *map(str, arguments)])


@pytest.fixture
def counts(tmp_path: Path) -> Path:
    volume = np.random.default_rng(0).poisson(30.0, SHAPE).astype(np.float32)
    volume[:, :, 15:19] = np.nan
    np.save(tmp_path / "counts.npy", volume)
    return tmp_path / "counts.npy"


def test_an_array_is_filled_with_deviations(counts: Path, tmp_path: Path) -> None:
    out = tmp_path / "filled.h5"
    done = braggloop(counts, out, "--fast", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["filled_voxels"] == told["hidden_voxels"] == 20 * 30 * 4
    given = np.load(counts)
    with h5py.File(out) as file:
        data = file["entry_1/data_1"]
        assert data.attrs["signal"] == "data"
        filled, std = data["data"][()], data["data_errors"][()]
        np.testing.assert_array_equal(data["mask"][()].astype(bool), np.isfinite(given))
        assert file["entry_1/process_1/how/network"][()] == b"inpaint"
    seen = np.isfinite(given)
    np.testing.assert_array_equal(filled[seen], given[seen])
    assert std[~seen].min() > 0
    assert 5.0 < filled[~seen].mean() < 100.0


def test_a_dataset_a_mask_and_a_scan(counts: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        given = np.nan_to_num(np.load(counts)).astype(np.uint16)
        given[9, 9, 9] = np.iinfo(np.uint16).max  # a gap, as detectors write it
        file["some/counts"] = given
    mask = np.ones(SHAPE[1:], bool)
    mask[:, 15:19] = False
    np.save(tmp_path / "mask.npy", mask)
    out = tmp_path / "one.h5"
    done = braggloop(
        tmp_path / "plain.h5",
        out,
        "--dataset",
        "some/counts",
        "--mask",
        tmp_path / "mask.npy",
        "--adapt",
        5,
        "--fast",
    )
    assert done.exit_code == 0, done.output
    assert "2,401 of 2,401 hidden voxels" in done.stdout
    done = braggloop(write_scan(tmp_path / "scan.h5"), tmp_path / "two.nxs", "--fast")
    assert done.exit_code == 0, done.output
    assert "0 of 0 hidden voxels" in done.stdout


def test_wrong_input_is_one_line_and_writes_nothing(counts: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "line.npy", np.ones(5))
    np.save(tmp_path / "negative.npy", -np.ones((4, 4, 4)))
    np.save(tmp_path / "nothing.npy", np.full((4, 4, 4), np.nan))
    np.save(tmp_path / "mask.npy", np.ones((3, 3), bool))
    np.save(tmp_path / "empty.npy", np.ones((0, 4, 4)))
    (tmp_path / "there.h5").touch()
    out = tmp_path / "out.h5"
    for arguments, code, said in (
        ((counts, tmp_path / "out.npy"), 2, "the result is an HDF5 file; give a name that ends in .h5"),
        ((counts, tmp_path / "there.h5"), 2, "is there already; give another name"),
        ((counts, tmp_path / "no" / "out.h5"), 2, "is no folder; make it first"),
        ((tmp_path / "line.npy", out), 1, "shape (5,) of float64; counts [rocking, row, column] are expected"),
        ((tmp_path / "empty.npy", out), 1, "shape (0, 4, 4): there are no counts in it"),
        ((counts, out, "--fast", "--adapt", 1e-6), 1, "were over before the first step of adaptation"),
        ((tmp_path / "negative.npy", out), 1, "negative counts: give counts as measured"),
        ((tmp_path / "nothing.npy", out), 1, "all voxels are masked: nothing is seen"),
        ((counts, out, "--mask", tmp_path / "mask.npy"), 2, "detector.mask has shape (3, 3), frames (30, 34)"),
        (
            (write_scan(tmp_path / "scan.h5"), out, "--dataset", "not/there"),
            1,
            "a .npy file, or an HDF5 file and --dataset",
        ),
    ):
        done = braggloop(*arguments)
        assert done.exit_code == code, done.output
        assert said in " ".join(done.stderr.split())
        assert len(done.stderr.strip().splitlines()) <= 2
        assert not out.exists()


def test_what_nobody_knows_is_no_number_and_stays_a_gap_in_the_next_command(tmp_path: Path) -> None:
    counts = np.random.default_rng(1).poisson(30.0, (8, 24, 24)).astype(np.float32)
    counts[:, :, 20:] = np.nan  # nothing was seen on the other side
    counts[:, 8:11] = np.nan
    np.save(tmp_path / "counts.npy", counts)
    assert braggloop(tmp_path / "counts.npy", tmp_path / "filled.h5", "--fast").exit_code == 0
    with h5py.File(tmp_path / "filled.h5") as file:
        filled = file["entry_1/data_1/data"][()]
        unknown = np.isnan(file["entry_1/data_1/data_errors"][()])
    np.testing.assert_array_equal(np.isnan(filled), unknown)
    assert unknown[:, :, 20:].all()
    assert not unknown[:, :, :20].any()
    dataset = ("--dataset", "entry_1/data_1/data")
    done = braggloop(tmp_path / "filled.h5", tmp_path / "denoised.h5", *dataset, command="denoise")
    assert done.exit_code == 0, done.output
    with h5py.File(tmp_path / "denoised.h5") as file:
        np.testing.assert_array_equal(np.isnan(file["entry_1/data_1/data"][()]), unknown)
        np.testing.assert_array_equal(file["entry_1/data_1/mask"][()] == 0, unknown)


def test_saturated_counts_of_an_array_are_left_and_results_go_where_the_settings_say(tmp_path: Path) -> None:
    counts = np.random.default_rng(2).poisson(30.0, (8, 24, 24)).astype(np.float32)
    counts[4, 12, 12] = 5000.0
    np.save(tmp_path / "counts.npy", counts)
    (tmp_path / "lab.toml").write_text(f'out = "{tmp_path / "made"}"\n[detector]\nsaturation_counts = 1000\n')
    done = braggloop(tmp_path / "counts.npy", "filled.h5", "--fast", "--settings", tmp_path / "lab.toml")
    assert done.exit_code == 0, done.output
    with h5py.File(tmp_path / "made" / "filled.h5") as file:
        hidden = file["entry_1/data_1/mask"][()] == 0
        assert np.argwhere(hidden).tolist() == [[4, 12, 12]]
        assert np.isnan(file["entry_1/data_1/data"][4, 12, 12])


def test_fillings_that_are_guesses_are_doubted(tmp_path: Path) -> None:
    counts = np.random.default_rng(3).poisson(0.02, (8, 24, 24)).astype(np.float32)
    counts[:, :, 10:14] = np.nan
    np.save(tmp_path / "dark.npy", counts)
    done = braggloop(tmp_path / "dark.npy", tmp_path / "filled.h5", "--fast", "--json")
    assert done.exit_code == 0, done.output
    assert any("unsure" in doubt for doubt in json.loads(done.stdout.splitlines()[-1])["doubts"])
