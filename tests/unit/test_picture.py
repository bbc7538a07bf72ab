"""The picture and the words of a result, with what scans throw at them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from service.errors import ResultError
from service.results.picture import ACCENT, write_picture
from service.results.slices import central_slices, centre_of
from service.results.summary import describe_crop, figure_rows, outcome_rows, result_record
from tests.helpers.results import make_figures, make_reconstruction, make_volume

EMPTY = np.zeros((24, 24, 24), dtype=bool)
NANS = np.full((24, 24, 24), np.nan, dtype=np.float32)


def test_picture_has_dark_and_bright_parts_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = write_picture(make_reconstruction(), make_volume(), tmp_path / "result.png")
    pixels = imread(path)
    assert pixels.shape[0] > 800
    assert pixels[..., :3].std() > 0.1
    assert os.listdir(tmp_path) == ["result.png"]


@pytest.mark.parametrize(
    ("result", "volume"),
    [
        ({"support_lab": EMPTY, "strain": NANS}, {}),
        ({"object_lab": np.zeros((24, 24, 24), np.complex64)}, {"counts": np.zeros((24, 24, 24), np.float32)}),
        ({}, {"mask": EMPTY}),
        ({"crop": {"start": (-4, 2, 3), "stop": (28, 20, 27), "binning": (1, 2, 2)}}, {}),
        ({"series_unique_id": "$\\frac{a}{\x00\n" + "x" * 300}, {"metadata": {"title": "$x_", "sample": "<b>"}}),
        ({"prtf": np.full(12, np.nan, np.float32), "figures": make_figures(resolution_nm=np.nan)}, {}),
        ({"object_lab": make_reconstruction().object_lab ** 12}, {}),
        ({"notes": tuple(f"note {n} " + "word " * 40 for n in range(9))}, {}),
        ({"warnings": ("x" * 61 + "$_{" * 40 + "\x00",), "figures": make_figures(doubt="$")}, {}),
    ],
)
def test_any_result_can_be_drawn(result: dict[str, Any], volume: dict[str, Any], tmp_path: Path) -> None:
    path = write_picture(make_reconstruction(**result), make_volume(**volume), tmp_path / "result.png")
    assert path.stat().st_size > 20_000


def red(path: Path) -> int:
    """Pixels in the colour of alarm."""
    return int(np.all(np.abs(imread(path)[..., :3] - to_rgb(ACCENT)) < 0.02, axis=-1).sum())


def test_only_warnings_and_doubts_are_red(tmp_path: Path) -> None:
    remark = ("word " * 40,)
    results = {
        "notes": {"notes": remark, "warnings": ()},
        "warnings": {"notes": (), "warnings": remark},
        "doubt": {"notes": (), "warnings": remark, "figures": make_figures(doubt=remark[0])},
    }
    found = {
        name: red(write_picture(make_reconstruction(**result), make_volume(), tmp_path / f"{name}.png"))
        for name, result in results.items()
    }
    assert found["warnings"] > found["notes"] + 50
    assert found["doubt"] > found["warnings"] + 3000, "a banner"


def test_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultError, match="--out"):
        write_picture(make_reconstruction(), make_volume(), tmp_path / "file" / "result.png")


def test_central_slices_go_through_the_crystal() -> None:
    reconstruction = make_reconstruction()
    slices = central_slices(reconstruction)
    assert set(slices) == {"amplitude", "phase", "strain", "displacement"}
    assert slices["amplitude"].max() == 1.0
    assert np.isfinite(slices["strain"]).sum() == reconstruction.support_lab[12].sum()
    assert all(image.dtype == np.float32 for image in slices.values())


def test_centre_of_nothing_is_the_middle() -> None:
    assert centre_of(EMPTY) == (12, 12, 12)


def test_rows_say_units_and_crop() -> None:
    rows = dict(figure_rows(make_reconstruction()))
    assert rows["crop"] == "[0:24, 0:24, 0:24]"
    assert rows["resolution"].startswith("18.5 nm")
    assert rows["hand"].startswith("nearest")
    assert rows["frames"] == "24 of 24, 0 missed, 0 rejected"
    assert rows["doubtful"] == "no"
    assert describe_crop({"start": (0, 1, 2), "stop": (4, 5, 6), "binning": (1, 2, 2)}).endswith("binned 1×2×2")


def test_rows_of_a_doubtful_result_say_so_first() -> None:
    doubtful = make_figures(doubt="why", explained=-0.1, agreement=float("nan"), hand_chosen=False)
    rows = figure_rows(make_reconstruction(figures=doubtful))
    assert rows[0] == ("doubtful", "yes, see the warnings")
    assert dict(rows)["explained, agreement"] == "-0.10, unknown"
    assert ("warning", "the peak itself is saturated") in outcome_rows(make_reconstruction(), Path("a.h5"), None)
    assert dict(rows)["hand"] == "undetermined: this or its conjugate twin"


def test_record_is_plain_json_even_with_nan(tmp_path: Path) -> None:
    reconstruction = make_reconstruction(figures=make_figures(resolution_nm=float("nan"), chi=np.float32(0.5)))
    record = result_record(reconstruction, tmp_path / "a.h5", None)
    assert json.loads(json.dumps(record, allow_nan=False))["figures"]["resolution_nm"] is None
    assert record["q_per_angstrom"] == pytest.approx(2.668)
    assert record["picture"] is None
