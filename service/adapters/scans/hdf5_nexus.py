"""A scan in a NeXus-like entry: NeXus proper, NeXus as LImA saves it, CXI.

NeXus: https://manual.nexusformat.org/classes/base_classes/NXdetector.html; CXI: https://www.cxidb.org/cxi.html
(version 1.6, SI units, `mask` with the bits of pixel defects); LImA: `measurement/data` and one group named after the
beamline with the camera's below, `detector_information/pixel_size`, `acquisition/exposure_time`; DECTRIS' file writer:
`data/data_000001` and on, links to files of their own, metadata as in NXmx.
"""

from __future__ import annotations

import re
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from service.adapters.scans.hdf5_values import (
    angles_in,
    dataset_at,
    image_at,
    linked,
    number_at,
    numbers_at,
    text_at,
    text_value,
)
from service.adapters.scans.scan import Facts
from service.adapters.scans.units import KEV_ANGSTROM, METRES, angstroms, kev, metres
from service.errors import SourceError

DATA = ("measurement/data", "data_1/data", "image_1/data", "data/data")
PART = re.compile(r"data_\d+")
CXI_DEFECTS = 0xFFFF  # the higher bits of a CXI mask are remarks, not defects
POSITIONS = (
    "sample",
    "sample_1",
    "sample_1/geometry_1",
    "sample/goniometer",
    "sample/transformations",
    "instrument/positioners",
    "instrument_1/positioners",
    "measurement",
    "positioners",
)


def nexus_scan(entry: h5py.Group) -> tuple[list[h5py.Dataset], Facts]:
    """The detector's data of an entry, and what else the entry says. Raises SourceError where it has no data."""
    instrument = _child(entry, "NXinstrument", "instrument")
    detector = _child(instrument, "NXdetector", "detector") if instrument is not None else None
    whole = dataset_at(detector, ["data"]) or dataset_at(entry, DATA) or _signal(entry)
    datasets = _parts(entry) if whole is None else [whole]
    if not datasets:
        raise SourceError(
            f"{entry.file.filename}: no detector data in {entry.name}, one of instrument/detector/data,"
            f" {', '.join(DATA)}, data/data_000001 expected; choose another entry with --scan"
        )
    axes: dict[str, NDArray[np.float64]] = {}
    for path in POSITIONS:
        axes |= angles_in(entry.get(path))
    positioners = entry.get("positioners")
    pixel = _pixel_size(detector)
    return datasets, Facts(
        axes=axes,
        rocking_axis="" if positioners is None else text_value(positioners.attrs.get("scan_axis", "")),
        energy_kev=_energy(entry, instrument),
        distance_m=number_at(detector, metres, "distance", "detector_distance"),
        pixel_size_m=pixel,
        beam_center_px=_beam_center(detector, pixel),
        roi=_roi(detector),
        monitor=numbers_at(entry, "positioners/monitor", "monitor/data", "control/data"),
        transmission=numbers_at(entry, "positioners/transmission", "instrument/attenuator/attenuator_transmission"),
        count_time_s=_count_time(entry, detector),
        dark=image_at(detector, "dark", "dark_field", "pixel_dark"),
        flat=image_at(detector, "whitefield", "flatfield", "flat_field"),
        mask=_mask(detector),
        instrument=_instrument_name(instrument),
        sample=text_at(entry, "sample/name", "sample_1/name"),
        title=text_at(entry, "title", "experiment_identifier"),
    )


def _child(group: h5py.Group, nx_class: str, prefix: str) -> h5py.Group | None:
    """The child of that class, or else the one whose name begins with `prefix`."""
    groups = [child for child in (group.get(name) for name in group) if isinstance(child, h5py.Group)]
    by_class = [child for child in groups if text_value(child.attrs.get("NX_class", "")) == nx_class]
    by_name = [child for child in groups if child.name.rsplit("/", 1)[-1].startswith(prefix)]
    with_data = [child for child in by_class + by_name if "data" in child]
    return next(iter(with_data + by_class + by_name), None)


def _signal(entry: h5py.Group) -> h5py.Dataset | None:
    """The signal of the entry's default NXdata, where it is a stack of images."""
    for child in (entry.get(name) for name in entry):
        if isinstance(child, h5py.Group) and "signal" in child.attrs:
            found = dataset_at(child, [text_value(child.attrs["signal"])])
            if found is not None and found.ndim == 3:
                return found
    return None


def _parts(entry: h5py.Group) -> list[h5py.Dataset]:
    """The pieces that a detector cut its series into, in their order."""
    group = entry.get("data")
    names = [name for name in group if PART.fullmatch(name)] if isinstance(group, h5py.Group) else []
    return [linked(group, name) for name in sorted(names)]


def _energy(entry: h5py.Group, instrument: h5py.Group | None) -> float | None:
    inside = number_at(
        instrument, kev, "monochromator/energy", "beam/incident_energy", "source_1/energy", "source/energy"
    )
    wave = number_at(instrument, angstroms, "beam/incident_wavelength", "monochromator/wavelength")
    if inside is None and wave:
        return KEV_ANGSTROM / wave
    return number_at(entry, kev, "positioners/energy", "beam/incident_energy") if inside is None else inside


def _pixel_size(detector: h5py.Group | None) -> tuple[float, float] | None:
    lima = "detector_information/pixel_size"
    row = number_at(detector, metres, "y_pixel_size", f"{lima}/ysize")
    column = number_at(detector, metres, "x_pixel_size", f"{lima}/xsize")
    return (row, column) if row and column else None


def _beam_center(detector: h5py.Group | None, pixel: tuple[float, float] | None) -> tuple[float, float] | None:
    """Direct beam (row, column) in pixels; NeXus allows lengths, detectors write pixels."""

    def pixels(value: float, unit: str, size: float) -> float:
        return value * METRES[unit.lower()] / size if unit.lower() in METRES else value

    sizes = pixel or (1.0, 1.0)
    row = number_at(detector, lambda value, unit: pixels(value, unit, sizes[0]), "beam_center_y")
    column = number_at(detector, lambda value, unit: pixels(value, unit, sizes[1]), "beam_center_x")
    return None if row is None or column is None else (row, column)


def _roi(detector: h5py.Group | None) -> tuple[int, int, int, int] | None:
    values = numbers_at(detector, "roi")
    if values is None or values.size != 4:
        return None
    top, bottom, left, right = (int(value) for value in values)
    return top, bottom, left, right


def _count_time(entry: h5py.Group, detector: h5py.Group | None) -> NDArray[np.float64] | None:
    inside = numbers_at(detector, "count_time", "exposure_time", "acquisition/exposure_time")
    return numbers_at(entry, "positioners/count_time") if inside is None else inside


def _mask(detector: h5py.Group | None) -> NDArray[np.bool_] | None:
    for path, defects in (("pixel_mask", ~0), ("detectorSpecific/pixel_mask", ~0), ("mask", CXI_DEFECTS)):
        found = dataset_at(detector, [path])
        if found is not None and found.ndim == 2 and found.dtype.kind in "iub":
            bits: NDArray[Any] = np.asarray(found[()], np.int64)
            good: NDArray[np.bool_] = (bits & defects) == 0
            return good
    return None


def _instrument_name(instrument: h5py.Group | None) -> str:
    if instrument is None:
        return ""
    own = str(instrument.name).rsplit("/", 1)[-1]
    return text_at(instrument, "name") or ("" if own.startswith("instrument") else own)
