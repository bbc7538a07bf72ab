"""Small recorded scans, one writer for each layout that the readers know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fabio
import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

FRAMES, ROWS, COLUMNS = 7, 6, 9
ANGLES = np.linspace(10.0, 10.6, FRAMES)


def counts(dtype: str = "uint16", frames: int = FRAMES) -> NDArray[Any]:
    """Counts [frame, row, column] that differ everywhere."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 200, (frames, ROWS, COLUMNS)).astype(dtype)


def bitshuffled(group: h5py.Group, name: str, data: NDArray[Any]) -> h5py.Dataset:
    """A dataset as detectors write it: one frame a chunk, bitshuffle and LZ4."""
    chunks = (1, *data.shape[1:])
    return group.create_dataset(name, data=data, chunks=chunks, **hdf5plugin.Bitshuffle(cname="lz4"))


def with_unit(group: h5py.Group, name: str, value: Any, unit: str = "") -> None:
    group[name] = value
    if unit:
        group[name].attrs["units"] = unit


def write_nexus(path: Path, data: NDArray[Any] | None = None, angles: NDArray[np.float64] | None = ANGLES) -> Path:
    """Generic NeXus: entry/instrument/detector, entry/positioners, full-chip dark and white field with a roi."""
    with h5py.File(path, "w") as file:
        file.attrs["default"] = "entry"
        entry = file.create_group("entry")
        detector = entry.create_group("instrument/detector")
        entry["instrument"].attrs["NX_class"], detector.attrs["NX_class"] = "NXinstrument", "NXdetector"
        bitshuffled(detector, "data", counts() if data is None else data)
        detector["dark"] = np.arange(400, dtype=np.int32).reshape(20, 20)
        white = np.full((20, 20), 1000.0, np.float32)
        white[3, 4] = 0
        detector["whitefield"], detector["roi"] = white, [2, 2 + ROWS, 3, 3 + COLUMNS]
        with_unit(detector, "distance", 500.0, "mm")
        with_unit(detector, "x_pixel_size", 55.0, "um")
        with_unit(detector, "y_pixel_size", 55e-6, "m")
        with_unit(detector, "beam_center_x", 550.0, "um")
        detector["beam_center_y"] = 12.5
        with_unit(entry, "instrument/monochromator/energy", 9000.0, "eV")
        positioners = entry.create_group("positioners")
        positioners.attrs["scan_axis"] = "theta"
        if angles is not None:
            with_unit(positioners, "theta", angles, "deg")
        with_unit(positioners, "delta", np.deg2rad(32.0), "rad")
        with_unit(positioners, "gamma", 12.0, "deg")
        with_unit(positioners, "chi", 90.0, "deg")
        with_unit(positioners, "phi", -5.0, "deg")
        with_unit(positioners, "samx", 1.0, "mm")
        positioners["count_time"], positioners["monitor"] = 0.25, np.arange(1.0, FRAMES + 1)
        positioners["transmission"] = 0.5
        entry["sample/name"], entry["title"] = "Au", "a scan"
    return path


def write_lima(path: Path, missing: tuple[str, ...] = ()) -> Path:
    """NeXus as LImA saves it, with the instrument's group named after the beamline."""
    with h5py.File(path, "w") as file:
        camera = file.create_group("entry_0000/ESRF-ID01/mpx1x4")
        bitshuffled(camera, "data", counts("uint32"))
        camera.parent.attrs["NX_class"], camera.attrs["NX_class"] = "NXinstrument", "NXdetector"
        camera["acquisition/exposure_time"] = 0.1
        camera["detector_information/pixel_size/xsize"] = 55e-6
        camera["detector_information/pixel_size/ysize"] = 55e-6
        file["entry_0000/measurement/data"] = h5py.SoftLink("/entry_0000/ESRF-ID01/mpx1x4/data")
        for name in missing:
            del file[name]
    return path


def write_cxi(path: Path) -> Path:
    """CXI 1.6: SI units, energy in joule, a mask whose high bits are remarks."""
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        detector = file.create_group("entry_1/instrument_1/detector_1")
        detector["data"] = counts("float32")
        detector["distance"], detector["x_pixel_size"], detector["y_pixel_size"] = 1.0, 75e-6, 75e-6
        mask = np.zeros((ROWS, COLUMNS), np.uint32)
        mask[0, 0], mask[1, 1] = 4, 0x10000
        detector["mask"] = mask
        file["entry_1/instrument_1/source_1/energy"] = 8000 * 1.602176634e-19
        with_unit(file, "entry_1/sample_1/geometry_1/omega", ANGLES, "degree")
        file["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")
        file["entry_1/sample_1/name"] = "Pt"
    return path


def write_dectris(folder: Path) -> Path:
    """A master of DECTRIS' file writer with its series in two files."""
    master = folder / "eiger_master.h5"
    with h5py.File(master, "w") as file:
        for part, span in ((1, slice(0, 4)), (2, slice(4, FRAMES))):
            with h5py.File(folder / f"eiger_data_{part:06d}.h5", "w") as raw:
                raw["entry/data/data"] = counts("uint32")[span]
            file[f"entry/data/data_{part:06d}"] = h5py.ExternalLink(f"eiger_data_{part:06d}.h5", "/entry/data/data")
        detector = file.create_group("entry/instrument/detector")
        detector["detector_distance"] = 1.83
        detector["detectorSpecific/pixel_mask"] = np.eye(ROWS, COLUMNS, dtype=np.uint32)
        with_unit(file, "entry/instrument/beam/incident_wavelength", 1.2398419843320026, "angstrom")
        with_unit(file, "entry/sample/goniometer/omega", ANGLES, "degree")
    return master


def write_bliss(folder: Path, prefix: str = "", detectors: tuple[str, ...] = ("mpx1x4",)) -> Path:
    """A Bliss master of ID01 with scans 1.1 (no images), 3.1 and 10.1, virtual datasets to two raw files each."""
    master = folder / "sample.h5"
    with h5py.File(master, "w") as file:
        file[f"{prefix}1.1/title"] = "ct 1"
        file.create_group(f"{prefix}1.1/measurement")
        for scan in ("3.1", "10.1"):
            entry = file.create_group(f"{prefix}{scan}")
            for detector in detectors:
                camera = entry.create_group(f"instrument/{detector}")
                camera.create_virtual_dataset("data", _virtual(folder, scan, detector))
                entry[f"measurement/{detector}"] = h5py.SoftLink(f"{camera.name}/data")
                camera["x_pixel_size"], camera["y_pixel_size"], camera["distance"] = 55e-6, 55e-6, 0.8
                camera["beam_center_x"], camera["beam_center_y"] = 270.5, 260.25
                camera["acq_parameters/acq_expo_time"] = 0.2
            _bliss_axes(entry)
            entry["title"] = f"ascan eta 10 10.6 {FRAMES - 1} 0.2"
            entry["sample/name"] = "PtNP"
    return master


def _bliss_axes(entry: h5py.Group) -> None:
    positioners = entry.create_group("instrument/positioners")
    with_unit(positioners, "eta", ANGLES, "deg")
    for name, value in {"phi": 1.5, "nu": 0.5, "delta": 33.0, "mu": 0.0}.items():
        with_unit(positioners, name, value, "deg")
    with_unit(positioners, "thx", 2.0, "mm")
    positioners["mononrj"] = 9.0
    measurement = entry["measurement"]
    measurement["delta"] = 33.0 + 1e-5 * np.arange(FRAMES)
    measurement["mon"], measurement["transm"] = np.full(FRAMES, 7.0), np.full(FRAMES, 0.1)


def _virtual(folder: Path, scan: str, detector: str) -> h5py.VirtualLayout:
    """Frames of a scan over two raw files of LImA, 4 and 3 of them."""
    data = counts("uint32")
    layout = h5py.VirtualLayout(data.shape, data.dtype)
    for part, (start, stop) in enumerate(((0, 4), (4, FRAMES))):
        raw = folder / f"scan{scan}" / f"{detector}_{part:04d}.h5"
        raw.parent.mkdir(exist_ok=True)
        with h5py.File(raw, "w") as file:
            bitshuffled(file.create_group("entry_0000/measurement"), "data", data[start:stop])
        name = str(raw.relative_to(folder))
        layout[start:stop] = h5py.VirtualSource(name, "entry_0000/measurement/data", (stop - start, ROWS, COLUMNS))
    return layout


def write_images(folder: Path, data: NDArray[Any] | None = None, suffix: str = "tif") -> Path:
    """One image a frame, numbered without leading zeros from 1, so that order by name is wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {"tif": fabio.tifimage.TifImage, "edf": fabio.edfimage.EdfImage}
    for number, image in enumerate(counts("int32", 12) if data is None else data, start=1):
        kinds[suffix](data=image).write(str(folder / f"img_{number}.{suffix}"))
    return folder


def write_json(folder: Path, **content: Any) -> Path:
    path = folder / "angles.json"
    path.write_text(json.dumps({"axes": {"theta": np.linspace(0, 1, 12).tolist(), "delta": 32.0}} | content))
    return path


def write_spec(path: Path, frames: int = 12) -> Path:
    """A SPEC file as 34-ID-C writes it, with scans 53 and 54."""
    points = np.linspace(-0.28, 0.72, frames)
    rows = "\n".join(f"{angle:.6f} 0.1 0.25 {100 + index}" for index, angle in enumerate(points))
    scans = "\n".join(
        f"""
#S {number}  ascan  th -0.28 0.72  {frames - 1} 0.25
#D Tue Feb 04 12:28:23 2020
#T 0.25  (Seconds)
#P0 32.174 0.22 90 -5 0 12.6346
#P1 500 9
#UIMDET 34idcTIM2:
#UIMR5  3 {COLUMNS} 2 {ROWS} 1
#N 4
#L Theta  H  Seconds  Monitor
{rows}
"""
        for number in (53, 54)
    )
    path.write_text(
        f"""#F /data/Staff20-1a.spec
#E 1580609738
#D Sat Feb 01 20:15:38 2020
#C sixc  User = cxduser
#O0 Delta  Theta  Chi  Phi  Mu  Gamma
#O1 camdist  Energy
{scans}"""
    )
    return path
