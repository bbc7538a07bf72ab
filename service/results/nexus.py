"""One NeXus and CXI file per series: what silx, H5Web and cdiutils open without being told how.

/entry_1                       NXentry; its default plot is the central slice
  image_1  data_1              CXI: object [z, y, x] in the detector-conjugate frame, with its support
  image_2  data_2              CXI: the measured counts [rocking, row, column] of the crop, with the bad pixels
  image_3  data_3              CXI: the same counts denoised, where a network was asked
  image_4  data_4              CXI: the same counts, gaps filled by a network, with the standard deviations there
  amplitude phase displacement strain support object_lab    NXdata on the orthogonal laboratory grid
  central_slice prtf rocking_curve                           NXdata, plots
  geometry_1 instrument_1 sample_1 process_1 result_1        how, with what, and how well
"""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from models.bcdi.geometry import Geometry
from models.defects.report import DefectReport
from service.errors import SourceError
from service.records import Accounting, Figures, Reconstruction, Repaired, Volume
from service.results.durable import result_name
from service.results.nexus_values import get, new_group, put, write_file
from service.results.slices import central_slices, fields_of, measured_window
from service.results.summary import defects_record
from service.settings import Settings

CXI_VERSION = 160
CXI_PIXEL_INVALID = 1  # CXI's mask is a bit field: 0 is a good pixel
JOULE_PER_KEV = 1.602176634e-16
PACKAGES = ("braggloop", "numpy", "scipy", "torch", "h5py", "scikit-image")
LABORATORY = ("z", "y", "x")
UNITS = {"amplitude": "1", "phase": "rad", "strain": "1", "displacement": "nm", "support": "1"}


def result_path(volume: Volume, folder: Path, run: int = 1) -> Path:
    """Return where the result of a series lies in `folder`, of its first inversion or of a later `run`."""
    title = str(volume.metadata.get("title", ""))
    name = result_name(volume.series_id, volume.series_unique_id, title)
    return folder / f"{name}{f'_run{run}' if run > 1 else ''}.h5"


def write_result(
    reconstruction: Reconstruction, volume: Volume, settings: Settings, folder: Path, run: int = 1
) -> Path:
    """Write one series' file into `folder` and return its path; a former file of the same series and run is replaced.

    The file appears under its name only when it is whole and on the disk. Raises ResultError when it cannot be written.
    """
    path = result_path(volume, folder, run)
    write_file(path, lambda file: _write(file, reconstruction, volume, settings))
    return path


def read_result(path: Path) -> Reconstruction:
    """Read a file of `write_result`; raise SourceError where it is not one."""
    try:
        with h5py.File(path) as file:
            return _read(file["entry_1"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise SourceError(f"{path} is not a Braggloop result: {error}") from error


def _write(file: h5py.File, reconstruction: Reconstruction, volume: Volume, settings: Settings) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    file.attrs.update(NX_class="NXroot", default="entry_1", creator="braggloop", file_time=now)
    put(file, "cxi_version", CXI_VERSION)
    entry = new_group(file, "entry_1", "NXentry", default="central_slice")
    put(entry, "title", str(volume.metadata.get("title") or reconstruction.series_unique_id))
    put(entry, "entry_identifier", reconstruction.series_unique_id)
    put(entry, "series_id", reconstruction.series_id)
    for name, time in _times(volume.metadata).items():
        put(entry, name, time)
    _write_how(entry, reconstruction, volume, settings, now)
    _write_object(entry, reconstruction)
    _write_measured(entry, reconstruction, volume)
    _write_laboratory(entry, reconstruction)
    if reconstruction.defects is not None:
        put(entry, "defects", _defects(reconstruction.defects, reconstruction.crystal_rotation))
    _write_plots(entry, reconstruction, volume)


def _times(metadata: Mapping[str, Any]) -> dict[str, str]:
    """When the series began and ended, ISO 8601; empty where its sender told no date that can be read."""
    try:
        began = datetime.fromisoformat(metadata["arm_date"])
        lasted = {"end_time": timedelta(seconds=metadata["ended_s"])} if "ended_s" in metadata else {}
        return {name: (began + after).isoformat() for name, after in ({"start_time": timedelta()} | lasted).items()}
    except (KeyError, TypeError, ValueError, OverflowError):
        return {}


def _write_how(entry: h5py.Group, result: Reconstruction, volume: Volume, settings: Settings, now: str) -> None:
    process = new_group(entry, "process_1", "NXprocess")
    put(process, "program", "braggloop")
    put(process, "version", version("braggloop"))
    put(process, "date", now)
    put(process, "recipe", result.recipe)
    put(process, "crop", result.crop)
    put(process, "latencies_s", result.latencies_s, units="s")
    put(process, "notes", list(result.notes))
    put(process, "warnings", list(result.warnings))
    put(process, "settings", settings.model_dump_json())
    put(process, "versions", {"python": platform.python_version()} | {name: version(name) for name in PACKAGES})
    results = new_group(entry, "result_1", "NXcollection")
    for name, value in _fields(result.figures).items():
        put(results, name, value, units="1" if name.startswith("strain_") else None)
    put(results, "accounting", _fields(result.accounting), units="frames")
    geometry = new_group(entry, "geometry_1", "NXcollection")
    put(geometry, "name", result.geometry.instrument)
    put(geometry, "scan", _fields(result.geometry))
    put(geometry, "basis_nm", result.basis_nm)
    put(geometry, "voxel_nm", result.voxel_nm)
    put(geometry, "q_lab", result.q_lab, units="1/angstrom")
    put(geometry, "crystal_rotation", result.crystal_rotation, units="1")
    put(geometry, "sample_rotation", result.sample_rotation, units="1")
    _write_instrument(entry, result.geometry)
    sample = new_group(entry, "sample_1", "NXsample")
    put(sample, "name", str(volume.metadata.get("sample", "")))
    put(sample, "metadata", json.dumps(dict(volume.metadata), default=str))


def _write_instrument(entry: h5py.Group, geometry: Geometry) -> None:
    instrument = new_group(entry, "instrument_1", "NXinstrument")
    put(instrument, "name", geometry.instrument)
    detector = new_group(instrument, "detector_1", "NXdetector")
    put(detector, "distance", geometry.distance_m, units="m")
    put(detector, "y_pixel_size", geometry.pixel_size_m[0], units="m")
    put(detector, "x_pixel_size", geometry.pixel_size_m[1], units="m")
    put(new_group(instrument, "monochromator_1", "NXmonochromator"), "energy", geometry.energy_kev, units="keV")
    source = new_group(instrument, "source_1", "NXsource")
    put(source, "energy", geometry.energy_kev * JOULE_PER_KEV, units="J")  # CXI: of a photon


def _write_object(entry: h5py.Group, result: Reconstruction) -> None:
    image = new_group(entry, "image_1", "NXdata", signal="data", interpretation="image")
    put(image, "title", "object, detector-conjugate frame [z, y, x]")
    put(image, "data", result.object_)
    put(image, "support", result.support.astype(np.uint8))
    put(image, "data_space", "real")
    put(image, "data_type", "electron density")
    put(image, "is_fft_shifted", 0)
    edges_m = np.linalg.norm(result.basis_nm, axis=0) * result.object_.shape * 1e-9
    put(image, "image_size", edges_m[::-1], units="m")  # CXI counts x, y, z
    image["process_1"] = h5py.SoftLink("/entry_1/process_1")
    image["source_1"] = h5py.SoftLink("/entry_1/instrument_1/source_1")
    data = new_group(entry, "data_1", "NXdata", signal="data", interpretation="image")
    data["data"] = h5py.SoftLink("/entry_1/image_1/data")


def _write_measured(entry: h5py.Group, result: Reconstruction, volume: Volume) -> None:
    window = measured_window(result, volume)
    image = _counts(entry, 2, "measured counts of the crop", volume.counts[window])
    put(image, "mask", np.where(volume.mask[window], 0, CXI_PIXEL_INVALID).astype(np.uint32))
    put(image, "scale", volume.scale[window[: volume.scale.ndim]])
    image["detector_1"] = h5py.SoftLink("/entry_1/instrument_1/detector_1")
    repaired = result.repaired or Repaired()
    if repaired.denoised is not None:
        denoised = _counts(entry, 3, "expected counts of the crop by a network, for the eye", repaired.denoised)
        put(denoised, "data_errors", repaired.denoised_std, units="counts")
    if repaired.filled is not None:
        filled = _counts(entry, 4, "counts of the crop, gaps filled by a network", repaired.filled)
        put(filled, "data_errors", repaired.filled_std, units="counts")


def _counts(entry: h5py.Group, number: int, title: str, counts: NDArray[np.float32]) -> h5py.Group:
    """CXI's image of this number, a diffraction pattern, and the data group that points to it."""
    image = new_group(entry, f"image_{number}", "NXdata", signal="data", interpretation="image")
    put(image, "title", f"{title} [rocking, row, column]")
    put(image, "data", counts, units="counts")
    put(image, "data_space", "diffraction")
    put(image, "data_type", "intensity")
    put(image, "is_fft_shifted", 0)
    data = new_group(entry, f"data_{number}", "NXdata", signal="data", interpretation="image")
    data["data"] = h5py.SoftLink(f"/entry_1/image_{number}/data")
    return image


def _write_laboratory(entry: h5py.Group, result: Reconstruction) -> None:
    volumes: dict[str, NDArray[Any]] = {
        **fields_of(result),
        "displacement": result.displacement_nm,
        "support": result.support_lab.astype(np.uint8),
        "object_lab": result.object_lab,
    }
    for name, values in volumes.items():
        _plot(entry, name, {"data": values}, _axes_nm(result), {"data": UNITS[name]} if name in UNITS else {})
    entry["het_strain"] = h5py.SoftLink("/entry_1/strain")  # cdiutils' word for it


def _defects(found: DefectReport, crystal_rotation: NDArray[np.float64]) -> Mapping[str, Any]:
    told = defects_record(found, crystal_rotation)
    lines = {f"line_{number}": line for number, line in enumerate(told["lines"], 1)}
    return told | {"lines": lines}


def _write_plots(entry: h5py.Group, result: Reconstruction, volume: Volume) -> None:
    axes = _axes_nm(result)
    slices = central_slices(result)
    plot = _plot(
        entry, "central_slice", {name: slices[name] for name in ("strain", "amplitude", "phase")}, axes[1:], UNITS
    )
    plot.attrs["title"] = "strain, central slice across the beam"
    curve = volume.rocking_curve
    rocking = ("angle", np.asarray(volume.geometry.rocking_deg), "deg")
    _plot(entry, "rocking_curve", {"counts": curve}, [rocking], {"counts": "counts"})
    _plot(entry, "prtf", {"data": result.prtf}, [("q", result.prtf_q, "1/angstrom")], {"data": "1"})


Axis = tuple[str, NDArray[Any], str]


def _plot(
    entry: h5py.Group, name: str, signals: dict[str, NDArray[Any]], axes: list[Axis], units: Mapping[str, str]
) -> h5py.Group:
    """NXdata whose first signal is the plot; the others can be chosen."""
    signal, *others = signals
    group = new_group(entry, name, "NXdata", signal=signal, axes=[axis for axis, _, _ in axes])
    if others:
        group.attrs["auxiliary_signals"] = others
    if len(axes) > 1:
        group.attrs["interpretation"] = "image"
    for key, values in signals.items():
        put(group, key, values, units.get(key))
    for index, (axis, values, unit) in enumerate(axes):
        put(group, axis, values, unit)
        group.attrs[f"{axis}_indices"] = index
    return group


def _axes_nm(result: Reconstruction) -> list[Axis]:
    shape = result.object_lab.shape
    return [(name, (np.arange(n) - n // 2) * result.voxel_nm, "nm") for name, n in zip(LABORATORY, shape, strict=True)]


def _read(entry: h5py.Group) -> Reconstruction:
    process, geometry = get(entry["process_1"]), get(entry["geometry_1"])
    results = get(entry["result_1"])
    accounting = Accounting(**results.pop("accounting"))
    return Reconstruction(
        series_id=get(entry["series_id"]),
        series_unique_id=get(entry["entry_identifier"]),
        object_=entry["image_1/data"][()],
        support=entry["image_1/support"][()].astype(bool),
        object_lab=entry["object_lab/data"][()],
        support_lab=entry["support/data"][()].astype(bool),
        displacement_nm=entry["displacement/data"][()],
        strain=entry["strain/data"][()],
        voxel_nm=geometry["voxel_nm"],
        basis_nm=geometry["basis_nm"],
        q_lab=geometry["q_lab"],
        crystal_rotation=geometry["crystal_rotation"],
        sample_rotation=geometry["sample_rotation"],
        prtf=entry["prtf/data"][()],
        prtf_q=entry["prtf/q"][()],
        figures=Figures(**results),
        crop=process["crop"],
        recipe=process["recipe"],
        geometry=Geometry(**geometry["scan"]),
        accounting=accounting,
        latencies_s=process["latencies_s"],
        notes=process["notes"],
        warnings=process["warnings"],
        repaired=_read_repaired(entry),
    )


def _read_repaired(entry: h5py.Group) -> Repaired | None:
    places = {
        "denoised": "image_3/data",
        "denoised_std": "image_3/data_errors",
        "filled": "image_4/data",
        "filled_std": "image_4/data_errors",
    }
    found = {name: entry[place][()] for name, place in places.items() if place in entry}
    return Repaired(**found) if found else None


def _fields(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
