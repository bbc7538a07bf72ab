"""DECTRIS SIMPLON stream v2: bytes <-> SeriesStart, Frame, SeriesEnd (docs/reference/stream.md).

Format: https://github.com/dectris/documentation, stream_v2. Pure: no sockets, no clock. Safe in streaming: one bad
message costs a WireError and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.errors import WireError
from service.records import Frame, Message, SeriesEnd, SeriesStart
from service.wire import arrays, cbor
from service.wire.cbor import Tag
from service.wire.compression import Compression

PIXEL_TYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32")
TIME_BASE_HZ = 1_000_000_000  # denominator of the times that we write
DATE = 0  # CBOR tag of a date as text
DATE_FIELDS = frozenset({"arm_date", "series_date"})
MAX_IMAGES = 10_000_000
MAX_COUNT = (1 << 63) - 1  # what Tango, HDF5 and our own CBOR hold
MAX_NAME = 256  # characters of series_unique_id, which goes into the journal and every summary

_START_FIELDS = frozenset({
    "type", "series_id", "series_unique_id", "number_of_images", "channels", "image_size_x", "image_size_y",
    "image_dtype", "pixel_mask", "flatfield", "user_data",
})  # fmt: skip


class Peek(NamedTuple):
    """What the head of a message says; `image_id` is None where it is no image."""

    type: str
    series_id: int
    series_unique_id: str
    image_id: int | None


def peek(message: cbor.Buffer) -> Peek:
    """Read only what tells messages apart: microseconds for a frame of any size, its data are neither read nor copied.

    Raises WireError where the message is foreign or ends before these fields.
    """
    reader = cbor.Reader(message)
    major, info, left = reader.head()
    if major != cbor.MAP:
        raise WireError("not a stream-v2 message: no CBOR map")
    wanted = {"type", "series_id", "series_unique_id", "image_id"}
    found: dict[str, Any] = {}
    while wanted and (left > 0 or _goes_on(reader, info)):
        key, value, left = reader.value(1), reader.value(1), left - 1
        if not isinstance(key, str):
            raise WireError("not a stream-v2 message: a key of its map is not text")
        found[key] = value
        wanted.discard(key)
        if found.get("type") in ("start", "end"):
            wanted.discard("image_id")
    fields = _Fields(found)
    kind = fields.kind()
    image_id = fields.image_id() if kind == "image" else None
    return Peek(kind, fields.count("series_id"), fields.name(), image_id)


def decode(message: cbor.Buffer, limit_bytes: int = arrays.MESSAGE_BYTES_LIMIT) -> Message:
    """Read one message, decompressing its arrays; uncompressed ones are read-only views into `message`.

    Raises WireError in one line: truncated or foreign bytes, missing or wrong fields, arrays of an impossible size
    or beyond `limit_bytes` altogether.
    """
    found = arrays.decode(message, limit_bytes)
    if not isinstance(found, dict):
        raise WireError(f"not a stream-v2 message: {type(found).__name__}, expected a map")
    fields = _Fields(found)
    match fields.kind():
        case "start":
            return _start(fields, limit_bytes)
        case "image":
            return _frame(fields)
        case _:
            aborted = fields.user_data().get("aborted") is True
            return SeriesEnd(series_id=fields.count("series_id"), series_unique_id=fields.name(), aborted=aborted)


def encode(message: Message, compression: Compression = "none") -> bytes:
    """Write one message; `compression` applies to every array in it. Raises TypeError for what CBOR cannot hold."""
    match message:
        case SeriesStart():
            fields = _start_fields(message)
        case Frame():
            fields = _frame_fields(message)
        case SeriesEnd():
            fields = {"user_data": {"aborted": True}} if message.aborted else {}
    kind = {SeriesStart: "start", Frame: "image", SeriesEnd: "end"}[type(message)]
    head = {"type": kind, "series_id": message.series_id, "series_unique_id": message.series_unique_id}
    return arrays.encode(head | fields, compression)


def _goes_on(reader: cbor.Reader, info: int) -> bool:
    return info == cbor.INDEFINITE and reader.at < reader.end and reader.buffer[reader.at] != cbor.BREAK_BYTE


class _Fields:
    """The map of a message, read field by field with a clear error for each that is missing or wrong."""

    def __init__(self, fields: Mapping[Any, Any]) -> None:
        self.fields = fields

    def kind(self) -> str:
        kind = self.fields.get("type")
        if not isinstance(kind, str) or kind not in ("start", "image", "end"):
            raise WireError(f"message type {_short(kind)!r}, expected 'start', 'image' or 'end'")
        return kind

    def name(self) -> str:
        name = self.text("series_unique_id")
        if len(name) > MAX_NAME:
            raise WireError(f"series_unique_id of {len(name)} characters, expected at most {MAX_NAME}")
        return name

    def image_id(self) -> int:
        return self.count("image_id", MAX_IMAGES - 1)

    def text(self, name: str) -> str:
        value = self.fields.get(name)
        if not isinstance(value, str):
            raise WireError(f"field {name} is {_kind_of(value)}, expected text")
        return value

    def count(self, name: str, largest: int = MAX_COUNT) -> int:
        value = self.fields.get(name)
        if type(value) is not int or not 0 <= value <= largest:
            raise WireError(f"field {name} is {_kind_of(value)}, expected a whole number from 0 to {largest}")
        return value

    def map(self, name: str) -> Mapping[Any, Any]:
        """Return a map, empty where the sender has none."""
        value = self.fields.get(name)
        if value is not None and not isinstance(value, Mapping):
            raise WireError(f"field {name} is {_kind_of(value)}, expected a map")
        return value or {}

    def user_data(self) -> Mapping[Any, Any]:
        """Return the user's data; whatever is no map was not meant for us."""
        value = self.fields.get("user_data")
        return value if isinstance(value, Mapping) else {}

    def images(self, name: str) -> dict[str, NDArray[Any]]:
        """Return a map channel -> two-dimensional array, in the machine's byte order."""
        found = self.map(name)
        for channel, image in found.items():
            if not isinstance(channel, str) or not isinstance(image, np.ndarray) or image.ndim != 2:
                raise WireError(
                    f"field {name}, channel {channel!r}: {_kind_of(image)}, expected an array [row, column]"
                )
        return {channel: image.astype(image.dtype.newbyteorder("="), copy=False) for channel, image in found.items()}

    def seconds(self, name: str) -> float:
        """Return a rational [numerator, denominator]; 0 where the sender has none."""
        match self.fields.get(name):
            case None:
                return 0.0
            case [int() as numerator, int() as denominator] if denominator > 0:
                return numerator / denominator
            case other:
                raise WireError(f"field {name} is {_short(other)}, expected [numerator, denominator]")


def _start(fields: _Fields, limit_bytes: int) -> SeriesStart:
    shape = fields.count("image_size_y"), fields.count("image_size_x")
    dtype = fields.text("image_dtype")
    if dtype not in PIXEL_TYPES:
        raise WireError(f"image_dtype {dtype[:40]!r}, expected one of {', '.join(PIXEL_TYPES)}")
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if not 0 < size <= limit_bytes:
        raise WireError(f"images of {shape[0]}x{shape[1]} {dtype} take {size} bytes, expected 1 to {limit_bytes}")
    user_data = dict(fields.user_data())
    return SeriesStart(
        series_id=fields.count("series_id"),
        series_unique_id=fields.name(),
        number_of_images=_number_of_images(fields),
        channels=_channels(fields),
        shape=shape,
        dtype=dtype,
        pixel_mask=_good(fields.images("pixel_mask"), shape),
        flatfield=_first(fields.images("flatfield"), shape),
        dark=_first({"dark": user_data.pop("dark")} if "dark" in user_data else {}, shape),
        user_data=user_data,
        header={key: value for key, value in fields.fields.items() if key not in _START_FIELDS},
    )


def _number_of_images(fields: _Fields) -> int | None:
    if fields.fields.get("number_of_images") is None:
        return None
    return fields.count("number_of_images", MAX_IMAGES) or None


def _channels(fields: _Fields) -> tuple[str, ...]:
    found = fields.fields.get("channels", [])
    if not isinstance(found, list) or not all(isinstance(channel, str) for channel in found):
        raise WireError("field channels is not a list of names")
    return tuple(found)


def _good(masks: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Return True where no channel marks the pixel: 0 is good, every bit is a reason against."""
    for channel, mask in masks.items():
        _check_plane(f"pixel_mask of channel {channel}", mask, shape)
    return np.logical_and.reduce([mask == 0 for mask in masks.values()]) if masks else None


def _first(planes: Mapping[str, Any], shape: tuple[int, int]) -> NDArray[np.float32] | None:
    for name, plane in planes.items():
        _check_plane(name, plane, shape)
        return np.array(plane, np.float32)  # a copy: it is used for as long as the series lasts, the message is not
    return None


def _check_plane(name: str, plane: Any, shape: tuple[int, int]) -> None:
    if not isinstance(plane, np.ndarray) or plane.shape != shape:
        got = getattr(plane, "shape", type(plane).__name__)
        raise WireError(f"{name[:40]}: {got}, expected the images' {shape}")


def _frame(fields: _Fields) -> Frame:
    data = fields.images("data")
    if not data:
        raise WireError("image message without data, expected a map channel -> array")
    exposure = fields.user_data()
    return Frame(
        series_id=fields.count("series_id"),
        series_unique_id=fields.name(),
        image_id=fields.image_id(),
        data=data,
        positions=_positions(exposure),
        monitor=_number(exposure, "monitor", 1.0),
        transmission=_number(exposure, "transmission", 1.0),
        start_time_s=fields.seconds("start_time"),
        count_time_s=fields.seconds("real_time"),
    )


def _positions(exposure: Mapping[Any, Any]) -> dict[str, float]:
    positions = exposure.get("positions", {})
    if not isinstance(positions, Mapping) or not all(isinstance(axis, str) for axis in positions):
        raise WireError("user_data.positions is not a map axis -> degrees")
    return {axis: _number(positions, axis) for axis in positions}


def _number(values: Mapping[Any, Any], name: str, default: float = math.nan) -> float:
    value = values.get(name, default)
    if type(value) not in (int, float):
        raise WireError(f"user_data: {name[:40]} is {_kind_of(value)}, expected a number")
    return float(value)


def _kind_of(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    return "missing" if value is None else f"{type(value).__name__} {_short(value)}"


def _short(value: Any) -> str:
    """Return a value on one line, whatever it holds."""
    return " ".join(str(value)[:40].split())


def _start_fields(start: SeriesStart) -> dict[str, Any]:
    dates = {key: Tag(DATE, value) for key, value in start.header.items() if key in DATE_FIELDS}
    fields: dict[str, Any] = {
        "number_of_images": start.number_of_images,
        "channels": list(start.channels),
        "image_size_x": start.shape[1],
        "image_size_y": start.shape[0],
        "image_dtype": start.dtype,
        "user_data": dict(start.user_data) | ({} if start.dark is None else {"dark": start.dark}),
    }
    if start.pixel_mask is not None:
        bad = (~start.pixel_mask).astype(np.uint32)
        fields["pixel_mask"] = dict.fromkeys(start.channels, bad)
    if start.flatfield is not None:
        fields["flatfield"] = dict.fromkeys(start.channels, start.flatfield)
    return {**start.header, **dates, **fields}


def _frame_fields(frame: Frame) -> dict[str, Any]:
    stop_s = frame.start_time_s + frame.count_time_s
    return {
        "image_id": frame.image_id,
        "real_time": _rational(frame.count_time_s),
        "start_time": _rational(frame.start_time_s),
        "stop_time": _rational(stop_s),
        "user_data": {
            "positions": dict(frame.positions),
            "monitor": frame.monitor,
            "transmission": frame.transmission,
        },
        "data": dict(frame.data),
    }


def _rational(seconds: float) -> list[int]:
    return [round(seconds * TIME_BASE_HZ), TIME_BASE_HZ]
