"""Small reads from a recorded HDF5 file: numbers with their units, texts, images; None where they are not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from service.adapters.scans.units import degrees_factor
from service.errors import SourceError

# Axes of angle by name, for files that store no units.
ANGLES = frozenset(
    {"eta", "phi", "nu", "delta", "del", "mu", "chi", "theta", "th", "gamma", "gam", "omega", "om"}
    | {"kappa", "keta", "kphi", "tth", "rotation_angle"}
)


def linked(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """The child of that name; raises SourceError where it is a link to a file that is not there."""
    link = group.get(name, getlink=True)
    path = Path(group.file.filename)
    if isinstance(link, h5py.ExternalLink) and not (path.parent / link.filename).is_file():
        raise SourceError(
            f"{path}: {name} is a link to {link.filename}, which is not there; copy it beside, in the same folders"
        )
    return group[name]


def dataset_at(group: h5py.Group | None, paths: Iterable[str]) -> h5py.Dataset | None:
    """The first dataset among `paths` below `group`."""
    if group is None:
        return None
    for path in paths:
        found = group.get(path)
        if isinstance(found, h5py.Dataset):
            return found
    return None


def unit_of(dataset: h5py.Dataset) -> str:
    """The `units` attribute, "" where there is none."""
    return text_value(dataset.attrs.get("units", ""))


def text_value(value: Any) -> str:
    """A string from what HDF5 gives: bytes, text or an array of one of them."""
    if isinstance(value, np.ndarray):
        value = value.flat[0] if value.size else ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def text_at(group: h5py.Group | None, *paths: str) -> str:
    """The first text among `paths`, "" where there is none."""
    found = dataset_at(group, paths)
    return "" if found is None else text_value(found[()]).strip()


def numbers_at(group: h5py.Group | None, *paths: str) -> NDArray[np.float64] | None:
    """The first numeric dataset among `paths` as float64 (n,)."""
    found = dataset_at(group, paths)
    if found is None or found.dtype.kind not in "iuf" or found.size == 0:
        return None
    return np.ravel(np.asarray(found[()], np.float64))


def number_at(group: h5py.Group | None, convert: Callable[[float, str], float], *paths: str) -> float | None:
    """The first number among `paths` (the mean of several), through `convert(value, unit)`."""
    values = numbers_at(group, *paths)
    if values is None:
        return None
    found = dataset_at(group, paths)
    assert found is not None
    return convert(float(np.mean(values)), unit_of(found))


def image_at(group: h5py.Group | None, *paths: str) -> NDArray[Any] | None:
    """The first image among `paths`; a stack of exposures gives its mean."""
    found = dataset_at(group, paths)
    if found is None or found.ndim not in (2, 3):
        return None
    image: NDArray[Any] = np.asarray(found[()])
    return image.mean(axis=0) if image.ndim == 3 else image


def angles_in(group: h5py.Group | None) -> dict[str, NDArray[np.float64]]:
    """Axes of angle right below `group`, axis -> degrees (n,): by their unit, or without one by their name."""
    axes: dict[str, NDArray[np.float64]] = {}
    if not isinstance(group, h5py.Group):
        return axes
    for name in group:
        values = numbers_at(group, name)
        if values is None or values.size == 0:
            continue
        unit = unit_of(group[name])
        factor = degrees_factor(unit) if unit else (1.0 if name.lower() in ANGLES else None)
        if factor is not None:
            axes[name] = values * factor
    return axes
