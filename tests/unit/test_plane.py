"""Planes of the settings: one image from a NumPy or an HDF5 file."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from service.adapters.scans.plane import read_plane
from service.errors import SourceError

PLANE = np.arange(12.0).reshape(3, 4)


def test_numpy_and_hdf5_give_the_same(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PLANE)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/mask"] = PLANE
        file["entry/angle"] = 3.0
    assert np.array_equal(read_plane(tmp_path / "a.npy"), PLANE)
    assert np.array_equal(read_plane(tmp_path / "a.h5"), PLANE)


def test_what_is_no_single_image_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "line.npy", PLANE[0])
    np.save(tmp_path / "objects.npy", np.array([[None]]), allow_pickle=True)
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "empty.npy").write_text("")
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["one"], file["other"] = PLANE, PLANE
    for name in ("line.npy", "objects.npy", "text.npy", "empty.npy", "two.h5", "absent.h5"):
        with pytest.raises(SourceError, match=name):
            read_plane(tmp_path / name)
