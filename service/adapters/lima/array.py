"""The DevEncoded formats of LImA's and LImA2's images: `DATA_ARRAY` and `DENSE_FRAME`, both directions.

Little endian, no padding: magic u32 'DTAY', version u16, header size u16, category u32, data type u32, big endian u16,
number of dimensions u16, dimensions 6 x u16 (columns first), steps 6 x u32 in bytes; then from version 3 the frame
number u64 and from version 4 the acquisition tag u64 (headers of versions 1 and 2 have zeros there). The pixels follow
at the header size. Source: https://lima1.readthedocs.io (DevEncoded DATA_ARRAY) and the servers that write it.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import WireError

FORMATS = ("DATA_ARRAY", "DENSE_FRAME")
MAGIC = 0x44544159
HEADER = struct.Struct("<IHHIIHH6H6I")
FRAME_NUMBER = struct.Struct("<Q")
ACQUISITION_TAG = struct.Struct("<QII")  # and eight bytes that pad
OLD_PADDING = bytes(8)  # versions 1 and 2 end with eight unused bytes
MOST_DIMENSIONS = 6
NUMBERED = 3  # version that brought the frame number
TAGGED = 4  # version that brought the acquisition tag

IMAGE, IMAGE_STACK = 2, 4
TYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LimaImage:
    """One decoded image or stack: `data` [row, column] or [channel or frame, row, column], a view of the bytes."""

    data: NDArray[Any]
    frame_number: int | None = None
    acquisition_tag: int | None = None


def decode_image(encoded: tuple[str, bytes]) -> LimaImage:
    """Decode what `readImage` or `getFrame` returned: the name of the format and the bytes. Raises WireError."""
    name, content = encoded
    if name not in FORMATS:
        raise WireError(f"DevEncoded of format {name!r}, {' or '.join(FORMATS)} expected; is this a LImA device?")
    if len(content) < HEADER.size + FRAME_NUMBER.size:
        raise WireError(f"{name} of {len(content)} bytes, a header of at least 64 expected")
    magic, version, header_size, _, kind, big_endian, dimensions, *sizes = HEADER.unpack_from(content)
    if magic != MAGIC or version < 1:
        raise WireError(f"{name} with magic {magic:#x} and version {version}, {MAGIC:#x} and 1 or above expected")
    if not HEADER.size + FRAME_NUMBER.size <= header_size <= len(content):
        raise WireError(f"{name} says its header has {header_size} bytes, 64 to {len(content)} expected")
    shape = tuple(reversed(sizes[:dimensions]))
    dtype = _dtype(kind, big_endian)
    _check_size(name, shape, dtype, len(content) - header_size)
    number, tag = _numbers(content, version, header_size)
    data = np.frombuffer(content, dtype, offset=header_size).reshape(shape)
    return LimaImage(data=data, frame_number=number, acquisition_tag=tag)


def encode_image(image: NDArray[Any], frame_number: int = 0, acquisition_tag: int = 0, version: int = TAGGED) -> bytes:
    """The bytes that LImA's server of that header version sends for `image` [row, column] or a stack of them."""
    array = np.ascontiguousarray(image, image.dtype.newbyteorder("<"))
    if array.dtype.name not in TYPES or not 1 <= array.ndim <= MOST_DIMENSIONS:
        raise ValueError(f"{array.dtype} in {array.ndim} dimensions, one of {', '.join(TYPES)} in 1 to 6 expected")
    unused = (0,) * (MOST_DIMENSIONS - array.ndim)
    header = HEADER.pack(
        MAGIC,
        version,
        HEADER.size + FRAME_NUMBER.size + (ACQUISITION_TAG.size if version >= TAGGED else 0),
        IMAGE if array.ndim == 2 else IMAGE_STACK,
        TYPES.index(array.dtype.name),
        0,
        array.ndim,
        *reversed(array.shape),
        *unused,
        *reversed(array.strides),
        *unused,
    )
    header += FRAME_NUMBER.pack(frame_number) if version >= NUMBERED else OLD_PADDING
    header += ACQUISITION_TAG.pack(acquisition_tag, 0, 0) if version >= TAGGED else b""
    return header + array.tobytes()


def _dtype(kind: int, big_endian: int) -> np.dtype[Any]:
    if kind >= len(TYPES):
        raise WireError(f"LImA image of data type {kind}, 0 to {len(TYPES) - 1} expected")
    return np.dtype(TYPES[kind]).newbyteorder(">" if big_endian else "<")


def _check_size(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], held: int) -> None:
    needed = math.prod(shape) * dtype.itemsize
    if len(shape) not in (2, 3) or 0 in shape or needed != held:
        raise WireError(f"{name} of shape {shape} {dtype} takes {needed} bytes, an image of the {held} sent expected")


def _numbers(content: bytes, version: int, header_size: int) -> tuple[int | None, int | None]:
    number = FRAME_NUMBER.unpack_from(content, HEADER.size)[0] if version >= NUMBERED else None
    tagged = version >= TAGGED and header_size >= HEADER.size + FRAME_NUMBER.size + ACQUISITION_TAG.size
    tag = ACQUISITION_TAG.unpack_from(content, HEADER.size + FRAME_NUMBER.size)[0] if tagged else None
    return number, tag
