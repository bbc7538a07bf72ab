"""Detector planes of the settings (mask, dark, flat) from a NumPy or HDF5 file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from service.errors import SourceError
from service.settings import DetectorSettings


def read_plane(path: Path) -> NDArray[Any]:
    """Return the array [row, column] of a .npy file, or of the only image in an HDF5 file.

    Raises SourceError in one line where the file cannot be read, or holds no image or several.
    """
    try:
        plane = np.load(path, allow_pickle=False) if path.suffix == ".npy" else _only_image(path)
    except (OSError, ValueError, EOFError) as error:
        raise SourceError(f"{path}: {error}; a .npy file or an HDF5 file with one image is expected") from error
    if plane.ndim != 2 or plane.dtype.kind not in "biuf":
        raise SourceError(
            f"{path}: shape {plane.shape} of {plane.dtype}; an image of numbers [row, column] is expected"
        )
    return plane


def detector_planes(
    detector: DetectorSettings,
) -> tuple[NDArray[Any] | None, NDArray[Any] | None, NDArray[Any] | None]:
    """Return mask, dark and flat [row, column] of the settings, None where they name no file; raise SourceError."""
    mask, dark, flat = (read_plane(path) if path else None for path in (detector.mask, detector.dark, detector.flat))
    return mask, dark, flat


def _only_image(path: Path) -> NDArray[Any]:
    images: list[h5py.Dataset] = []
    with h5py.File(path) as file:
        file.visititems(lambda _, node: images.append(node) if _is_image(node) else None)
        if len(images) != 1:
            raise ValueError(f"{len(images)} images in it, where one is expected")
        return np.asarray(images[0][()])


def _is_image(node: Any) -> bool:
    return isinstance(node, h5py.Dataset) and node.ndim == 2
