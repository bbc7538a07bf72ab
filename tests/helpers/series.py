"""A small honest rocking scan as records: what tests feed to the wire, the assembly and the worker."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.records import Frame, Message, SeriesEnd, SeriesStart

CHANNEL = "threshold_1"
FIXED_DEG = {"delta": 32.174, "gamma": 12.6346, "chi": 90.0, "phi": -5.0}


def bragg_peak(shape: tuple[int, int, int] = (9, 24, 28), peak: float = 5000.0) -> NDArray[np.uint32]:
    """Counts [rocking, row, column] of a smooth peak in the middle, Poisson, seed fixed."""
    grids = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")
    smooth = peak * np.exp(-sum((grid / (n / 8)) ** 2 for grid, n in zip(grids, shape, strict=True)))
    return np.random.default_rng(7).poisson(smooth).astype(np.uint32)


def start_of(counts: NDArray[Any], name: str = "good", series_id: int = 1, **changes: Any) -> SeriesStart:
    """Start of a series of `counts`; `changes` are fields of SeriesStart."""
    fields: dict[str, Any] = {
        "series_id": series_id,
        "series_unique_id": name,
        "number_of_images": len(counts),
        "channels": (CHANNEL,),
        "shape": counts.shape[1:],
        "dtype": counts.dtype.name,
        "user_data": {
            "instrument": "34-ID-C",
            "rocking_axis": "theta",
            "positions": FIXED_DEG,
            "energy_kev": 9.0,
            "distance_m": 0.5,
        },
        "header": {
            "pixel_size_x": 55e-6,
            "pixel_size_y": 55e-6,
            "saturation_value": int(np.iinfo(counts.dtype).max) - 1,
        },
    }
    return SeriesStart(**fields | changes)


def frame_of(counts: NDArray[Any], index: int, name: str = "good", series_id: int = 1, **changes: Any) -> Frame:
    """Image `index` of a series of `counts`; `changes` are fields of Frame."""
    fields: dict[str, Any] = {
        "series_id": series_id,
        "series_unique_id": name,
        "image_id": index,
        "data": {CHANNEL: counts[index]},
        "positions": {"theta": 0.2 + 0.005 * index},
        "count_time_s": 0.25,
    }
    return Frame(**fields | changes)


def end_of(name: str = "good", series_id: int = 1) -> SeriesEnd:
    return SeriesEnd(series_id=series_id, series_unique_id=name)


def series_of(counts: NDArray[Any], name: str = "good", series_id: int = 1) -> list[Message]:
    """Start, images and end of a series of `counts`."""
    frames = [frame_of(counts, index, name, series_id) for index in range(len(counts))]
    return [start_of(counts, name, series_id), *frames, end_of(name, series_id)]
