"""Recorded scans in HDF5: NeXus, NeXus as LImA writes it, CXI and the masters that Bliss writes at the ESRF."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from service.adapters.scans.hdf5_bliss import bliss_scan
from service.adapters.scans.hdf5_nexus import nexus_scan
from service.adapters.scans.hdf5_values import linked
from service.adapters.scans.scan import Facts, RecordedScan, build_scan
from service.errors import SourceError

BLISS_SCAN = re.compile(r"(.*_)?\d+\.\d+")
NAMES_SHOWN = 12  # of the scans that a file holds, in an error of one line

hdf5plugin.register("bshuf", force=False)  # the filters of detectors: reading needs them registered, not named


def is_hdf5(path: Path) -> bool:
    """Whether the file is HDF5, by its content."""
    return bool(h5py.is_hdf5(path))


def open_hdf5(path: Path, scan: str = "") -> RecordedScan:
    """Open a recorded scan; `scan` names an entry, for a Bliss master 'N.M' or 'N.M/detector'. Raises SourceError."""
    with _one_line(path):
        # Without a lock: the control system may still write to the master, and reading must not disturb it.
        file = h5py.File(path, "r", locking=False)
    try:
        with _one_line(path):
            datasets, facts, name = _find(file, scan)
            return build_scan(path, name, DatasetFrames(path, file, datasets), facts)
    except BaseException:
        file.close()
        raise


class DatasetFrames:
    """Frames of one HDF5 dataset, [frame, row, column], [frame, 1, row, column] or a single [row, column].

    A detector may have cut its series into several datasets: they follow one another.
    """

    def __init__(self, path: Path, file: h5py.File, datasets: Sequence[h5py.Dataset]) -> None:
        for dataset in datasets:
            _check_shape(path, dataset, datasets[0])
            _check_sources(path, dataset)
        first = datasets[0]
        self._path, self._file, self._datasets = path, file, datasets
        self._ends = list(itertools.accumulate(1 if data.ndim == 2 else data.shape[0] for data in datasets))
        self.count = int(self._ends[-1])
        self.shape = (int(first.shape[-2]), int(first.shape[-1]))
        self.dtype = str(first.dtype.newbyteorder("="))
        self.chunk = int(first.chunks[0]) if first.chunks and first.ndim > 2 else 1

    def read(self, start: int, stop: int) -> NDArray[Any]:
        pieces = []
        for dataset, begin, end in zip(self._datasets, [0, *self._ends], self._ends, strict=False):
            if begin < stop and start < end:
                with _one_line(self._path):
                    piece = dataset[()] if dataset.ndim == 2 else dataset[max(start - begin, 0) : stop - begin]
                pieces.append(np.asarray(piece).reshape(-1, *self.shape))
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def close(self) -> None:
        self._file.close()


def _find(file: h5py.File, scan: str) -> tuple[list[h5py.Dataset], Facts, str]:
    bliss = [name for name in file if BLISS_SCAN.fullmatch(name)]
    wanted, _, detector = scan.partition("/")
    path = Path(file.filename)
    entry = _choose(path, file, wanted, bliss)
    group = linked(file, entry)
    datasets, facts = bliss_scan(group, detector) if bliss else nexus_scan(group)
    return datasets, facts, entry


def _choose(path: Path, file: h5py.File, wanted: str, bliss: list[str]) -> str:
    """Name of the entry that `wanted` means: itself, or for Bliss 'N.M' of a single sample; '' is the first."""
    names = bliss or [name for name in file if isinstance(file.get(name), h5py.Group)]
    if not names:
        raise SourceError(f"{path}: no group in it, an entry with a detector's data expected; choose another file")
    if not wanted:
        default = str(file.attrs.get("default", ""))
        return default if default in names else _first(names)
    matches = [name for name in names if name == wanted or name.endswith(f"_{wanted}")]
    if len(matches) != 1:
        shown = ", ".join(sorted(names, key=_number)[:NAMES_SHOWN]) + (" ..." if len(names) > NAMES_SHOWN else "")
        got = f"{len(matches)} scans match {wanted}" if matches else f"no scan {wanted}"
        raise SourceError(f"{path}: {got}, one of these expected: {shown}; give it as --scan")
    return matches[0]


def _first(names: list[str]) -> str:
    return min(names, key=_number)


def _number(name: str) -> tuple[list[int], str]:
    return [int(digits) for digits in re.findall(r"\d+", name)], name


def _check_shape(path: Path, dataset: h5py.Dataset, first: h5py.Dataset) -> None:
    if dataset.ndim not in (2, 3, 4) or (dataset.ndim == 4 and dataset.shape[1] != 1):
        raise SourceError(
            f"{path}: {dataset.name} has shape {dataset.shape}, (frames, rows, columns) expected;"
            " name the dataset of the detector"
        )
    if dataset.shape[-2:] != first.shape[-2:] or dataset.dtype != first.dtype:
        got, expected = (f"{data.shape[-2:]} {data.dtype}" for data in (dataset, first))
        raise SourceError(f"{path}: {dataset.name} has frames of {got}, {expected} as in {first.name} expected")


def _check_sources(path: Path, dataset: h5py.Dataset) -> None:
    """HDF5 fills what a virtual dataset cannot find with zeros, in silence: say that it is missing."""
    folder = Path(dataset.file.filename).parent  # of the file that holds it, which a master may only link to
    for source in dataset.virtual_sources() if dataset.is_virtual else ():
        if source.file_name != "." and not (folder / source.file_name).is_file():
            raise SourceError(
                f"{path}: {dataset.name} points to {source.file_name}, which is not there;"
                " copy the raw files beside the master, in the same folders"
            )


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Turn whatever HDF5 raises over a damaged or foreign file into one line that names the file."""
    try:
        yield
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise SourceError(f"{path}: not readable as HDF5 with a scan in it ({reason}); copy the file again") from error
