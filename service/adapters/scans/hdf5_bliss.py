"""A scan in a master file that Bliss writes at the ESRF: /N.M/measurement, /N.M/instrument/positioners."""

from __future__ import annotations

from collections.abc import Callable

import h5py
import numpy as np
from numpy.typing import NDArray

from service.adapters.scans.hdf5_values import angles_in, image_at, number_at, numbers_at, text_at
from service.adapters.scans.scan import Facts
from service.adapters.scans.units import kev, metres
from service.errors import SourceError

# Counters of ID01 and the names that other beamlines use for the same.
MONITORS = ("monitor", "mon", "mon2")
TRANSMISSIONS = ("transmission", "transm")
ENERGIES = ("monochromator/Energy", "positioners/mononrj", "positioners/nrj", "positioners/energy")


def bliss_scan(entry: h5py.Group, detector: str = "") -> tuple[list[h5py.Dataset], Facts]:
    """The images of one scan and what else the master says of it; `detector` is needed where there are several."""
    name, dataset = _images(entry, detector)
    instrument, measurement = entry.get("instrument"), entry.get("measurement")
    camera = instrument.get(name) if isinstance(instrument, h5py.Group) else None
    title = text_at(entry, "title")
    return [dataset], Facts(
        axes=_axes(instrument, measurement),
        rocking_axis=_scanned(title),
        energy_kev=number_at(instrument, kev, *ENERGIES),
        distance_m=number_at(camera, metres, "distance"),
        pixel_size_m=_pair(camera, "y_pixel_size", "x_pixel_size", metres),
        beam_center_px=_pair(camera, "beam_center_y", "beam_center_x", lambda value, unit: value),
        monitor=numbers_at(measurement, *MONITORS),
        transmission=numbers_at(measurement, *TRANSMISSIONS),
        count_time_s=numbers_at(camera, "acq_parameters/acq_expo_time", "acquisition/exposure_time"),
        dark=image_at(camera, "dark"),
        flat=image_at(camera, "flatfield"),
        instrument=text_at(instrument, "name") or text_at(entry, "instrument/title"),
        sample=text_at(entry, "sample/name"),
        title=title,
    )


def _images(entry: h5py.Group, detector: str) -> tuple[str, h5py.Dataset]:
    """Name and images of the detector."""
    measurement = entry.get("measurement")
    found: dict[str, h5py.Dataset] = {}
    for name in measurement if isinstance(measurement, h5py.Group) else ():
        child = measurement.get(name)
        if isinstance(child, h5py.Dataset) and child.ndim == 3:
            found[name] = child
    chosen = [(name, child) for name, child in found.items() if name == detector or not detector]
    if len(chosen) == 1:
        return chosen[0]
    file, got = entry.file.filename, ", ".join(found) or "no images"
    raise SourceError(
        f"{file}: {got} in {entry.name}/measurement, one detector's images expected;"
        f" give --scan {entry.name[1:]}/DETECTOR or another scan"
    )


def _axes(instrument: h5py.Group | None, measurement: h5py.Group | None) -> dict[str, NDArray[np.float64]]:
    """Positioners; what was measured frame by frame goes before the single value from the start of the scan."""
    positioners = instrument.get("positioners") if isinstance(instrument, h5py.Group) else None
    start = instrument.get("positioners_start") if isinstance(instrument, h5py.Group) else None
    axes = angles_in(start) | angles_in(positioners)
    measured = {name: values for name, values in angles_in(measurement).items() if values.size > 1}
    still = {name for name, values in axes.items() if values.size == 1}
    return axes | {name: values for name, values in measured.items() if name not in axes or name in still}


def _scanned(title: str) -> str:
    """The first motor of a scan command: 'ascan eta 10 11 100 0.1' -> 'eta'."""
    words = title.replace("(", " ").replace(",", " ").split()
    return words[1] if len(words) > 1 and "scan" in words[0] else ""


def _pair(
    camera: h5py.Group | None, row: str, column: str, convert: Callable[[float, str], float]
) -> tuple[float, float] | None:
    first, second = number_at(camera, convert, row), number_at(camera, convert, column)
    return None if first is None or second is None else (first, second)
