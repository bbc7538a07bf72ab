"""A folder of TIFF, EDF or CBF images with a JSON or SPEC file of angles, as a recorded scan."""

from __future__ import annotations

import itertools
import logging
import re
import warnings
from pathlib import Path
from typing import Any

import fabio
import numpy as np
from numpy.typing import NDArray

from service.adapters.scans.scan import Facts, RecordedScan, build_scan
from service.adapters.scans.sidecar import IMAGES, is_spec, json_facts, json_names, spec_facts
from service.errors import SourceError

SUFFIXES = frozenset({".tif", ".tiff", ".edf", ".cbf"})
# SPEC files lie beside the folder of a scan as often as in it; 34-ID-C keeps them two folders up.
SPEC_LEVELS = 3
LARGEST_SPEC_SUFFIX = 8  # such as .spec, .dat, .fourc: data files have no longer ones
# Sound files of areaDetector make it warn once a file; a damaged one raises an error of ours.
logging.getLogger("fabio").setLevel(logging.CRITICAL)
SCAN_IN_NAME = re.compile(r"_S0*(\d+)$")


def open_images(folder: Path, scan: str = "") -> RecordedScan:
    """Open a folder of images; `scan` is the scan in the SPEC file, by default the folder's own `_S0054`.

    Without any file of angles the scan opens without angles. Raises SourceError.
    """
    files = sorted((path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES), key=_natural)
    sidecar, content = _json_file(folder)
    if sidecar is not None and content is not None:
        named = {key: folder / str(content[key]) for key in IMAGES if key in content}
        facts = json_facts(sidecar, content, {key: read_image(path) for key, path in named.items()})
        files = [path for path in files if path not in named.values()]
    else:
        facts = _from_spec(folder, scan)
    if not files:
        raise SourceError(f"{folder}: no images in it, files of {', '.join(sorted(SUFFIXES))} expected")
    return build_scan(folder, scan, ImageFrames(files), facts)


class ImageFrames:
    """Frames of image files in the order of their numbers; one file may hold them all."""

    chunk = 1

    def __init__(self, files: list[Path]) -> None:
        first = read_image(files[0])
        self._frames = [(path, index) for path in files for index in range(_frame_count(path, len(files)))]
        self.shape: tuple[int, int] = (int(first.shape[0]), int(first.shape[1]))
        self.dtype = str(first.dtype.newbyteorder("="))

    @property
    def count(self) -> int:
        return len(self._frames)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        block = []
        for path, group in itertools.groupby(self._frames[start:stop], key=lambda frame: frame[0]):
            for image in _read(path, [index for _, index in group]):
                if image.shape != self.shape:
                    raise SourceError(f"{path}: image of shape {image.shape}, {self.shape} as in the first expected")
                block.append(image)
        return np.stack(block)

    def close(self) -> None:
        """Nothing stays open between reads."""


def read_image(path: Path) -> NDArray[Any]:
    """First image [row, column] as stored; raises SourceError where the file is missing, damaged or of another kind."""
    return _read(path, [0])[0]


def _read(path: Path, indices: list[int]) -> list[NDArray[Any]]:
    if not path.is_file():
        raise SourceError(f"{path}: no such image; copy it there or take it out of the JSON file")
    if path.stat().st_size == 0:
        raise SourceError(f"{path}: an empty file, an image expected; copy it again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the readers that fabio tries one after the other
            with fabio.open(str(path)) as image:
                found = [(image.get_frame(index) if index else image).data for index in indices]
    except Exception as error:  # each of fabio's formats fails in its own way over damaged bytes
        raise SourceError(f"{path}: not readable as an image ({error}); copy it again") from error
    if any(data is None or data.ndim != 2 for data in found):
        raise SourceError(f"{path}: no image of rows and columns in it, truncated or of another kind; copy it again")
    return [np.asarray(data) for data in found]


def _frame_count(path: Path, files: int) -> int:
    """Opening every file of many to count its frames would cost a second read: only a single file may hold several."""
    if files > 1:
        return 1
    with fabio.open(str(path)) as image:
        return int(image.nframes)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key: img_2 before img_10."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", path.name)]


def _json_file(folder: Path) -> tuple[Path | None, Any]:
    for path in sorted(folder.glob("*.json")):
        content = json_names(path)
        if content is not None:
            return path, content
    return None, None


def _from_spec(folder: Path, scan: str) -> Facts:
    in_name = SCAN_IN_NAME.search(folder.name)
    number = scan or (in_name.group(1) if in_name else "")
    for place in [folder, *folder.resolve().parents][:SPEC_LEVELS]:
        specs = [path for path in sorted(place.iterdir()) if _may_be_spec(path) and is_spec(path)]
        if len(specs) > 1:
            names = ", ".join(path.name for path in specs)
            raise SourceError(f"{folder}: several SPEC files in {place} ({names}), one expected; leave one")
        if specs:
            return spec_facts(specs[0], number)
    if scan:
        raise SourceError(f"{folder}: scan {scan} asked for, but no SPEC file beside the images; put it there")
    return Facts()


def _may_be_spec(path: Path) -> bool:
    known = SUFFIXES | {".json", ".h5", ".hdf5", ".nxs", ".cxi", ".npy", ".npz"}
    return path.is_file() and path.suffix.lower() not in known and len(path.suffix) <= LARGEST_SPEC_SUFFIX
