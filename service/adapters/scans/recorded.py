"""Open a recorded scan, whatever it is stored as."""

from __future__ import annotations

from pathlib import Path

from service.adapters.scans.hdf5 import is_hdf5, open_hdf5
from service.adapters.scans.images import open_images
from service.adapters.scans.scan import RecordedScan
from service.errors import SourceError

__all__ = ["RecordedScan", "open_scan"]


def open_scan(path: Path, scan: str = "") -> RecordedScan:
    """Open the scan at `path`: an HDF5 file (by its content, not its name) or a folder of images.

    `scan` chooses one of several: 'N.M' or 'N.M/detector' of an ESRF master, an entry of a NeXus file, 'N' of a SPEC
    file; '' is the default or the first. Raises SourceError in one line.
    """
    if path.is_dir():
        return open_images(path, scan)
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder; give a recorded scan")
    if path.stat().st_size == 0:
        raise SourceError(f"{path}: an empty file, a recorded scan expected; copy it again")
    if not is_hdf5(path):
        raise SourceError(f"{path}: not HDF5 and not a folder of images; give one of them")
    return open_hdf5(path, scan)
