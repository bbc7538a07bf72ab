"""The result file: read back as written, opened by the tools that people use, never half there."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from silx.io.nxdata import NXdata, get_default

from models.files import written_whole
from service.errors import ResultError, SourceError
from service.results.durable import result_name, safe_name
from service.results.nexus import read_result, write_result
from service.settings import Settings
from tests.helpers.results import make_reconstruction, make_volume

ROOT = Path(__file__).resolve().parents[2]
NAME = "00007_rocking-scan_" + result_name(0, "scan-0007", "x").rsplit("_", 1)[1] + ".h5"


def same(first: object, second: object) -> bool:
    if isinstance(first, np.ndarray):
        return bool(np.array_equal(first, np.asarray(second), equal_nan=first.dtype.kind in "fc"))
    if dataclasses.is_dataclass(first):
        return all(same(getattr(first, f.name), getattr(second, f.name)) for f in dataclasses.fields(first))
    return first == second


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return write_result(make_reconstruction(), make_volume(), Settings(), tmp_path)


def test_reading_gives_back_what_was_written(written: Path) -> None:
    reconstruction = make_reconstruction()
    back = read_result(written)
    for field in dataclasses.fields(reconstruction):
        assert same(getattr(reconstruction, field.name), getattr(back, field.name)), field.name


def test_name_tells_the_series_and_nothing_else_is_left(written: Path) -> None:
    assert written.name == NAME
    assert os.listdir(written.parent) == [written.name]


def test_default_plot_is_found_from_the_root(written: Path) -> None:
    with h5py.File(written) as file:
        entry = file[file.attrs["default"]]
        plot = entry[entry.attrs["default"]]
        assert entry.attrs["NX_class"] == "NXentry"
        assert plot.attrs["NX_class"] == "NXdata"
        signal_ = plot[plot.attrs["signal"]]
        assert signal_.shape == tuple(len(plot[axis]) for axis in plot.attrs["axes"])
        assert np.isfinite(signal_[()]).any()


def test_silx_finds_every_plot(written: Path) -> None:
    with h5py.File(written) as file:
        default = get_default(file)
        assert default is not None
        assert default.axes_names == ["y (nm)", "x (nm)"]
        plots = [node for node in file["entry_1"].values() if node.attrs.get("NX_class") == "NXdata"]
        assert len(plots) == 14
        for plot in plots:
            assert NXdata(plot).is_valid, (plot.name, NXdata(plot).issues)


def test_measured_counts_and_bad_pixels_are_kept(written: Path) -> None:
    volume = make_volume()
    with h5py.File(written) as file:
        image = file["entry_1/image_2"]
        assert np.array_equal(image["data"][()], volume.counts)
        assert np.array_equal(image["mask"][()] == 0, volume.mask)
        assert np.array_equal(file["entry_1/data_1/data"][()], make_reconstruction().object_)


def test_units_and_versions_are_told(written: Path) -> None:
    with h5py.File(written) as file:
        entry = file["entry_1"]
        assert entry["result_1/resolution_nm"].attrs["units"] == "nm"
        assert entry["geometry_1/q_lab"].attrs["units"] == "1/angstrom"
        assert entry["geometry_1/scan/energy_kev"].attrs["units"] == "keV"
        assert entry["process_1/versions/numpy"].asstr()[()] == np.__version__
        for name in ("strain/data", "amplitude/data", "prtf/data", "central_slice/strain", "result_1/strain_rms"):
            assert entry[name].attrs["units"] == "1", name
        assert entry["central_slice/phase"].attrs["units"] == "rad"


def test_image_size_is_the_edges_of_the_skewed_box_in_the_order_of_cxi(tmp_path: Path) -> None:
    """Columns of the basis go with z, y, x of the array: 30, 10 and 5 nm long; CXI wants x, y, z in m."""
    basis_nm = np.array([[18.0, 0.0, 4.0], [0.0, 10.0, 0.0], [24.0, 0.0, -3.0]])
    object_ = np.ones((8, 20, 10), dtype=np.complex64)
    crop = {"start": (0, 0, 0), "stop": (8, 20, 10), "binning": (1, 1, 1)}
    result = make_reconstruction(basis_nm=basis_nm, object_=object_, support=np.ones(object_.shape, bool), crop=crop)
    with h5py.File(write_result(result, make_volume(), Settings(), tmp_path)) as file:
        size = file["entry_1/image_1/image_size"]
        np.testing.assert_allclose(size[()], [50e-9, 200e-9, 240e-9])
        assert size.attrs["units"] == "m"


@pytest.mark.parametrize(
    ("metadata", "began", "ended"),
    [
        (
            {"arm_date": "2024-05-06T07:08:09+02:00", "ended_s": 61.5},
            "2024-05-06T07:08:09+02:00",
            "2024-05-06T07:09:10.500000+02:00",
        ),
        ({"arm_date": "2024-05-06T07:08:09Z"}, "2024-05-06T07:08:09+00:00", None),
        ({"arm_date": "yesterday"}, None, None),
        ({"arm_date": 7, "ended_s": 1.0}, None, None),
        ({"arm_date": "2024-05-06T07:08:09Z", "ended_s": 1e300}, None, None),
        ({"ended_s": 1.0}, None, None),
    ],
)
def test_times_are_those_of_the_series_where_they_are_known(
    metadata: dict[str, object], began: str | None, ended: str | None, tmp_path: Path
) -> None:
    with h5py.File(write_result(make_reconstruction(), make_volume(metadata=metadata), Settings(), tmp_path)) as file:
        entry = file["entry_1"]
        times = [entry[name].asstr()[()] if name in entry else None for name in ("start_time", "end_time")]
    assert times == [began, ended]


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/abs", "..", "", "a\0b", "näme", "x" * 500, "\ud800", "a/b", "CON "]
)
def test_hostile_names_stay_in_the_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    metadata = {"title": name, name: {"deep": [1, "two", None]}}
    reconstruction = make_reconstruction(series_unique_id=name, recipe={name: name, ".": 1})
    path = write_result(reconstruction, make_volume(metadata=metadata), Settings(), folder)
    assert path.parent == folder
    assert os.listdir(folder) == [path.name]
    assert os.listdir(tmp_path) == ["results"]
    assert read_result(path).series_id == 7


@given(st.text(), st.text())
def test_safe_names_are_plain_and_apart(first: str, second: str) -> None:
    one, other = safe_name(first), safe_name(second)
    assert one
    assert len(one) < 80
    assert not set(one) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
    assert one not in (".", "..")
    assert (one == other) == (first == second)


def test_names_sort_by_series() -> None:
    assert sorted([result_name(12, "b"), result_name(9, "c")]) == ["00009_c", "00012_b"]


def test_series_of_one_title_have_files_of_their_own() -> None:
    assert result_name(1, "a", "Au 111") != result_name(1, "b", "Au 111")
    assert result_name(1, "a", "Au 111").startswith("00001_Au-111_")


def test_failure_leaves_the_former_file(written: Path) -> None:
    before = written.read_bytes()

    def write_half() -> None:
        with written_whole(written) as partial:
            partial.write_bytes(b"half")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        write_half()
    assert written.read_bytes() == before
    assert os.listdir(written.parent) == [written.name]


def test_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultError, match="--out"):
        write_result(make_reconstruction(), make_volume(), Settings(), tmp_path / "file")


@pytest.mark.parametrize("content", [b"", b"not HDF5 at all"])
def test_foreign_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="not a Braggloop result"):
        read_result(path)


def test_hdf5_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_group("entry_1")
    with pytest.raises(SourceError, match="not a Braggloop result"):
        read_result(path)


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from service.results.nexus import write_result
from service.errors import ResultError
from service.settings import Settings
from tests.helpers.results import make_reconstruction, make_volume
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
former = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, former[1]))
for attempt in range(2):
    try:
        write_result(make_reconstruction(), make_volume(), Settings(), Path(sys.argv[1]))
    except ResultError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, former)
"""


def test_full_disk_costs_the_result_and_not_the_process(tmp_path: Path) -> None:
    """The limit on the size of a file stands for a full disk; without it the second attempt succeeds."""
    line = [sys.executable, "-W", "error", "-c", FULL_DISK, str(tmp_path)]
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "free space" in ended.stdout
    assert os.listdir(tmp_path) == [NAME]


WRITER = """
import sys
from pathlib import Path
from service.results.nexus import write_result
from service.settings import Settings
from tests.helpers.results import make_reconstruction, make_volume
result, volume = make_reconstruction(), make_volume()
print("ready", flush=True)
while True:
    write_result(result, volume, Settings(), Path(sys.argv[1]))
"""


def test_killed_writer_leaves_no_half_file(tmp_path: Path) -> None:
    for pause_s in (0.05, 0.11, 0.17):
        child = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], cwd=ROOT, stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(pause_s)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        for path in tmp_path.glob("*.h5"):
            assert read_result(path).series_id == 7
    write_result(make_reconstruction(), make_volume(), Settings(), tmp_path)
    assert os.listdir(tmp_path) == [NAME]
