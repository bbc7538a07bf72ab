"""The crystal inside a loose support."""

from __future__ import annotations

import numpy as np
import pytest

from models.bcdi.isosurface import isosurface


def crystal() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Amplitude 1 in a box with a hole, 0.1 around it, a second piece and a hot voxel; the support; the box."""
    support = np.zeros((16, 18, 20), dtype=bool)
    support[1:15, 1:17, 1:19] = True
    box = np.zeros_like(support)
    box[4:12, 4:12, 4:12] = True
    amplitude = 0.1 * support
    amplitude[box] = 1.0
    amplitude[7, 7, 7] = 0.0
    amplitude[13, 14:16, 15] = 1.0
    amplitude[5, 5, 5] = 40.0
    return (amplitude * np.exp(0.3j)).astype(np.complex64), support, box


def test_air_specks_and_hot_voxels_are_left_out_and_holes_filled() -> None:
    object_, support, box = crystal()
    np.testing.assert_array_equal(isosurface(object_, support), box)


def test_what_lies_outside_the_support_does_not_count() -> None:
    object_, support, box = crystal()
    support[10:] = False
    box[10:] = False
    np.testing.assert_array_equal(isosurface(object_, support), box)


def test_empty_supports_and_objects_are_refused() -> None:
    object_, support, _ = crystal()
    with pytest.raises(ValueError, match="support is empty"):
        isosurface(object_, np.zeros_like(support))
    with pytest.raises(ValueError, match="zero everywhere"):
        isosurface(np.zeros_like(object_), support)
