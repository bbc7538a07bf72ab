"""A recorded scan: frames read when asked for, and all that the file says about them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.bcdi.diffractometer import MNEMONICS
from service.errors import SourceError
from service.worker.geometry import STILL_DEG, STILL_SHARE

CHANNEL = "threshold_1"  # the name that DECTRIS detectors give their only channel

# How a stored pixel type travels: what the stream knows stays, the others take the narrowest type that holds counts.
STREAM_TYPES = {
    "uint8": "uint8",
    "uint16": "uint16",
    "uint32": "uint32",
    "int32": "int32",
    "bool": "uint8",
    "int8": "int32",
    "int16": "int32",
    "int64": "int32",
    "uint64": "uint32",
    "float16": "int32",
    "float32": "int32",
    "float64": "int32",
}
LARGEST_FRAME_BYTES = 1_000_000_000  # the largest detectors have 70 MB; a larger frame is a damaged or wrong dataset
LARGEST_FRACTION = 1e-3  # counts stored as floating point are whole to this

ALIASES = MNEMONICS | {"rotation_angle": "omega"}
INSTRUMENTS = (
    ("ID01", frozenset({"eta", "phi", "nu", "delta"})),
    ("34-ID-C", frozenset({"theta", "chi", "phi", "delta", "gamma"})),
)
INSTRUMENT_NAMES = (("id01", "ID01"), ("34id", "34-ID-C"), ("34-id", "34-ID-C"))


class FrameReader(Protocol):
    """Where the frames lie: [frame, row, column] in the type that the file has."""

    @property
    def count(self) -> int: ...

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def dtype(self) -> str: ...

    @property
    def chunk(self) -> int:
        """Frames that are stored together, so cheapest read together."""
        ...

    def read(self, start: int, stop: int) -> NDArray[Any]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Facts:
    """What a file says besides the frames; `axes` maps axis -> degrees, one value or one a frame.

    `pixel_size_m` and `beam_center_px` are (row, column), `roi` is row start, row stop, column start, column stop of
    the full chip. `flat` may be raw counts, `mask` is True where good; both and `dark` may span the full chip.
    """

    axes: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    rocking_axis: str = ""
    energy_kev: float | None = None
    distance_m: float | None = None
    pixel_size_m: tuple[float, float] | None = None
    beam_center_px: tuple[float, float] | None = None
    roi: tuple[int, int, int, int] | None = None
    monitor: NDArray[np.float64] | None = None
    transmission: NDArray[np.float64] | None = None
    count_time_s: NDArray[np.float64] | None = None
    dark: NDArray[Any] | None = None
    flat: NDArray[Any] | None = None
    mask: NDArray[np.bool_] | None = None
    instrument: str = ""
    sample: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedScan:
    """One scan on disk. `read` gives its frames; everything else is small and in memory.

    `positions` maps each axis that stood still -> degrees, `moving` each axis that moved -> degrees (frames,);
    `rocking_axis` is one of `moving`, or "" where the file has no angles (the pipeline then raises GeometryError).
    `monitor`, `transmission` and `count_time_s` are float64 (frames,). `dark` (counts a frame) and `flat` (relative
    efficiency, median 1) are float32 [row, column] of the frame, `mask` bool, True where good; None where unknown.
    `user_data` and `header` are those of SeriesStart.
    """

    path: Path
    scan: str
    frames: FrameReader
    dtype: str
    positions: Mapping[str, float]
    moving: Mapping[str, NDArray[np.float64]]
    rocking_axis: str
    monitor: NDArray[np.float64]
    transmission: NDArray[np.float64]
    count_time_s: NDArray[np.float64]
    dark: NDArray[np.float32] | None
    flat: NDArray[np.float32] | None
    mask: NDArray[np.bool_] | None
    user_data: Mapping[str, Any]
    header: Mapping[str, Any]

    @property
    def number_of_images(self) -> int:
        return self.frames.count

    @property
    def shape(self) -> tuple[int, int]:
        return self.frames.shape

    @property
    def rocking_deg(self) -> NDArray[np.float64]:
        """Rocking angle of each frame (frames,); empty where the file has no angles."""
        return self.moving.get(self.rocking_axis, np.empty(0))

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Counts [frame, row, column] of the frames from `start` up to `stop`, in `dtype`, little endian."""
        return as_counts(self.frames.read(start, stop), self.dtype, self.path)

    def close(self) -> None:
        self.frames.close()


def build_scan(path: Path, scan: str, frames: FrameReader, facts: Facts) -> RecordedScan:
    """Check the facts against the frames and put them in the terms of the stream; raise SourceError."""
    if frames.count == 0:
        raise SourceError(f"{path}: no frames in it, at least one expected; choose another scan or file")
    if math.prod(frames.shape) * np.dtype(frames.dtype).itemsize > LARGEST_FRAME_BYTES:
        raise SourceError(
            f"{path}: frames of {frames.shape} pixels, at most 1 GB a frame expected; choose another dataset"
        )
    if frames.dtype not in STREAM_TYPES:
        raise SourceError(f"{path}: pixels of type {frames.dtype}, counts expected; choose the detector's own dataset")
    positions, moving = _sort_axes({_axis(name): value for name, value in facts.axes.items()}, frames.count, path)
    rocking = _rocking_axis(_axis(facts.rocking_axis), moving)
    flat = _efficiency(_on_frame(facts.flat, "flat field", frames, facts.roi, path))
    dark = _on_frame(facts.dark, "dark", frames, facts.roi, path)
    mask = _on_frame(facts.mask, "mask", frames, facts.roi, path)
    return RecordedScan(
        path=path,
        scan=scan,
        frames=frames,
        dtype=STREAM_TYPES[frames.dtype],
        positions=positions,
        moving=moving,
        rocking_axis=rocking,
        monitor=_each_frame(facts.monitor, "monitor", frames.count, path),
        transmission=_each_frame(facts.transmission, "transmission", frames.count, path),
        count_time_s=_each_frame(facts.count_time_s, "count time", frames.count, path, missing=0.0),
        dark=None if dark is None else dark.astype(np.float32),
        flat=flat,
        mask=_good(mask, flat),
        user_data=_user_data(facts, positions, moving, rocking),
        header=_header(facts),
    )


def as_counts(block: NDArray[Any], dtype: str, source: Path | str) -> NDArray[Any]:
    """Counts in the type of the stream; missing numbers become 0, fractions raise SourceError."""
    if block.dtype.kind == "f":
        whole = np.rint(np.nan_to_num(block, nan=0.0))
        if np.any(np.abs(np.nan_to_num(block, nan=0.0) - whole) > LARGEST_FRACTION):
            raise SourceError(f"{source}: pixels with fractions, whole counts expected; give the frames before scaling")
        block = whole
    limits = np.iinfo(dtype)
    if block.dtype.kind == "f" or block.dtype.itemsize > np.dtype(dtype).itemsize:
        block = np.clip(block, limits.min, limits.max)
    return np.ascontiguousarray(block, dtype=np.dtype(dtype).newbyteorder("<"))


def _axis(name: str) -> str:
    return ALIASES.get(name.lower(), name.lower())


def _sort_axes(
    axes: Mapping[str, NDArray[np.float64]], count: int, path: Path
) -> tuple[dict[str, float], dict[str, NDArray[np.float64]]]:
    for name, values in axes.items():
        if values.size not in (1, count):
            raise SourceError(
                f"{path}: {values.size} values of {name} for {count} frames, one each expected;"
                " was the scan stopped early, or is this another scan's file?"
            )
    spans = {name: float(np.ptp(values)) for name, values in axes.items()}
    threshold = max(STILL_DEG, STILL_SHARE * max((span for span in spans.values() if np.isfinite(span)), default=0.0))
    still = {name: float(np.mean(values)) for name, values in axes.items() if spans[name] <= threshold}
    moving = {name: np.asarray(values, np.float64) for name, values in axes.items() if name not in still}
    # A single value that is not a number stood still too, and is for the pipeline to refuse.
    alone = {name: float(values[0]) for name, values in moving.items() if values.size == 1}
    return still | alone, {name: values for name, values in moving.items() if name not in alone}


def _rocking_axis(said: str, moving: Mapping[str, NDArray[np.float64]]) -> str:
    if said in moving or not moving:
        return said if said in moving else ""
    return max(moving, key=lambda name: float(np.nan_to_num(np.ptp(moving[name]))))


def _each_frame(
    values: NDArray[np.float64] | None, name: str, count: int, path: Path, missing: float = 1.0
) -> NDArray[np.float64]:
    if values is None:
        return np.full(count, missing)
    flat = np.ravel(np.asarray(values, np.float64))
    if flat.size not in (1, count):
        raise SourceError(f"{path}: {flat.size} values of {name} for {count} frames, one each expected")
    return np.broadcast_to(flat, (count,)).copy()


def _on_frame(
    image: NDArray[Any] | None, name: str, frames: FrameReader, roi: tuple[int, int, int, int] | None, path: Path
) -> NDArray[Any] | None:
    if image is None or image.shape == frames.shape:
        return image
    if roi is not None and image.ndim == 2:
        cut = image[roi[0] : roi[1], roi[2] : roi[3]]
        if cut.shape == frames.shape:
            return cut
    raise SourceError(f"{path}: {name} of shape {image.shape}, that of the frames {frames.shape} or a roi expected")


def _efficiency(flat: NDArray[Any] | None) -> NDArray[np.float32] | None:
    if flat is None or not np.any(flat > 0):
        return None
    efficiency: NDArray[np.float32] = (flat / np.median(flat[flat > 0])).astype(np.float32)
    return efficiency


def _good(mask: NDArray[np.bool_] | None, flat: NDArray[np.float32] | None) -> NDArray[np.bool_] | None:
    if flat is None or np.all(flat > 0):
        return mask
    return flat > 0 if mask is None else mask & (flat > 0)


def _instrument(said: str, axes: set[str]) -> str:
    for part, name in INSTRUMENT_NAMES:
        if part in said.lower():
            return name
    return next((name for name, needed in INSTRUMENTS if needed <= axes), said)


def _user_data(
    facts: Facts, positions: Mapping[str, float], moving: Mapping[str, NDArray[np.float64]], rocking: str
) -> dict[str, Any]:
    data = {
        "instrument": _instrument(facts.instrument, set(positions) | set(moving)),
        "rocking_axis": rocking,
        "positions": dict(positions),
        "energy_kev": facts.energy_kev,
        "distance_m": facts.distance_m,
        "beam_center_assumed": True if facts.beam_center_px is None and _chip_center(facts) else None,
        "roi": list(facts.roi) if facts.roi else None,
        "sample": facts.sample,
        "title": facts.title,
    }
    return {key: value for key, value in data.items() if value not in (None, "", {})}


def _header(facts: Facts) -> dict[str, Any]:
    """The fields of a stream-v2 `start` message: eV, metres, pixels; x is the column."""
    header: dict[str, Any] = {}
    if facts.energy_kev is not None:
        header["incident_energy"] = facts.energy_kev * 1000
    if facts.pixel_size_m is not None:
        header["pixel_size_y"], header["pixel_size_x"] = facts.pixel_size_m
    center = _chip_center(facts) if facts.beam_center_px is None else facts.beam_center_px
    if center is not None:
        header["beam_center_y"], header["beam_center_x"] = center
    if facts.count_time_s is not None and facts.count_time_s.size:
        header["count_time"] = float(np.mean(facts.count_time_s))
    return header


def _chip_center(facts: Facts) -> tuple[float, float] | None:
    """Middle of the whole chip, in pixels of the region read: where the detector arm points unless the file says."""
    chip = next((image.shape for image in (facts.dark, facts.flat, facts.mask) if image is not None), None)
    if facts.roi is None or chip is None or len(chip) != 2:
        return None
    return (chip[0] - 1) / 2 - facts.roi[0], (chip[1] - 1) / 2 - facts.roi[2]
