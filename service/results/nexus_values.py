"""Plain values to HDF5 and back: mappings as groups, units taken from the names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import h5py
import numpy as np

from models.files import written_whole
from service.errors import ResultError

UNITS = {
    "nm3": "nm^3",
    "nm": "nm",
    "um": "um",
    "m": "m",
    "s": "s",
    "deg": "deg",
    "kev": "keV",
    "px": "pixel",
    "counts": "counts",
}
MEMORY_STEP_BYTES = 1 << 22  # by which a file grows in memory
COMPRESS_FROM = 4096  # elements: below, the filter costs more than it saves
# gzip, not bitshuffle: every reader has it, and the voxels outside the support are zeros or NaN
COMPRESSION: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


def write_file(path: Path, write: Callable[[h5py.File], None]) -> None:
    """Write an HDF5 file whole or not at all; raise ResultError where it cannot be.

    It is made in memory: the HDF5 library ends the process where a disk fills up under it.
    """
    try:
        with h5py.File("result", "w", driver="core", backing_store=False, block_size=MEMORY_STEP_BYTES) as file:
            write(file)
            file.flush()
            image = bytes(file.id.get_file_image())
        with written_whole(path) as partial:
            partial.write_bytes(image)
    except (OSError, MemoryError) as error:
        raise ResultError(f"result {path}: {error}; free space or choose another folder with --out") from error


def new_group(parent: h5py.Group, name: str, nx_class: str, **attributes: Any) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    for key, value in attributes.items():
        group.attrs[key] = value
    return group


def put(group: h5py.Group, name: str, value: Any, units: str | None = None) -> None:
    """Write a scalar, a text, an array, a sequence, a mapping or None; units from the name's suffix if not given."""
    key = _quoted(name)
    if isinstance(value, Mapping):
        child = new_group(group, key, "NXcollection")
        for inner, item in value.items():
            put(child, str(inner), item, units)
        return
    data, form = _encoded(value)
    options = COMPRESSION if isinstance(data, np.ndarray) and data.size >= COMPRESS_FROM else {}
    dataset = group.create_dataset(key, data=data, **options)
    if form:
        dataset.attrs["form"] = form
    if units := units or UNITS.get(name.rsplit("_", 1)[-1] if "_" in name else ""):
        dataset.attrs["units"] = units


def get(node: h5py.Group | h5py.Dataset) -> Any:
    """Read back what `put` wrote."""
    if isinstance(node, h5py.Group):
        return {unquote(name): get(child) for name, child in node.items()}
    form = node.attrs.get("form", "")
    if form == "none":
        return None
    if h5py.check_string_dtype(node.dtype):
        text = node.asstr()[()]
        return _tuples(json.loads(text)) if form == "json" else text
    value = node[()]
    if form == "tuple":
        return tuple(value.tolist())
    return value if isinstance(value, np.ndarray) else value.item()


def _encoded(value: Any) -> tuple[Any, str]:
    if value is None:
        return h5py.Empty("f8"), "none"
    if isinstance(value, str):
        return _text(value), ""
    if isinstance(value, (bool, int, float, np.generic)) or (
        isinstance(value, np.ndarray) and value.dtype.kind in "biufc"
    ):
        return value, ""
    if isinstance(value, (tuple, list)) and value and all(isinstance(item, (int, float)) for item in value):
        return np.asarray(value), "tuple"
    return _text(json.dumps(value, default=str)), "json"


def _text(value: str) -> str:
    """HDF5 cannot hold NUL in a text; a foreign name may."""
    return value.replace("\0", "\\0").encode("utf-8", "replace").decode()


def _quoted(name: str) -> str:
    """A name from outside may hold what HDF5 reads as a path."""
    return quote(name.encode("utf-8", "replace"), safe=" ").replace(".", "%2E") or "%"


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
