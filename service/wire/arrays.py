"""NumPy arrays in CBOR: typed arrays and tag 40 (RFC 8746), compressed by DECTRIS' tag 56500."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import WireError
from service.wire import cbor, compression
from service.wire.cbor import Tag
from service.wire.compression import Compression

ROW_MAJOR, COLUMN_MAJOR, COMPRESSED = 40, 1040, 56500
MAX_DIMENSIONS = 4
MESSAGE_BYTES_LIMIT = 1 << 30  # decompressed, all arrays of a message together: 7 channels of an EIGER2 16M

TYPED_ARRAYS = {
    64: "u1", 65: ">u2", 66: ">u4", 67: ">u8", 68: "u1", 69: "<u2", 70: "<u4", 71: "<u8",
    72: "i1", 73: ">i2", 74: ">i4", 75: ">i8", 77: "<i2", 78: "<i4", 79: "<i8",
    80: ">f2", 81: ">f4", 82: ">f8", 84: "<f2", 85: "<f4", 86: "<f8",
}  # fmt: skip
_NUMBERS = {np.dtype(name): number for number, name in reversed(TYPED_ARRAYS.items())}


@dataclass(frozen=True, slots=True)
class Packed:
    """A byte string that tag 56500 stands for, not yet decompressed."""

    algorithm: str
    element_size: int
    payload: memoryview

    @property
    def nbytes(self) -> int:
        return compression.stated_size(self.payload)


@dataclass(frozen=True, slots=True)
class Typed:
    """A typed array whose shape is not yet known."""

    dtype: np.dtype[Any]
    content: memoryview | Packed


def decode(message: cbor.Buffer, limit_bytes: int = MESSAGE_BYTES_LIMIT) -> Any:
    """Read a CBOR item with its arrays; byte strings come back as bytes, dates as text.

    Arrays that were not compressed are read-only views into `message`. Raises WireError, before anything is
    allocated, where the arrays together would take more than `limit_bytes`.
    """
    tags = _Tags(limit_bytes)
    return tags.settle(cbor.decode(message, tags.read))


class _Tags:
    """Gives tagged items their values within one message's budget of bytes."""

    def __init__(self, limit_bytes: int) -> None:
        self.left = self.limit = limit_bytes

    def read(self, number: int, content: Any) -> Any:
        if number in (ROW_MAJOR, COLUMN_MAJOR):
            return self._shaped(content, "C" if number == ROW_MAJOR else "F")
        if number == COMPRESSED:
            return _packed(content)
        if number in TYPED_ARRAYS:
            if not isinstance(content, memoryview | Packed):
                raise WireError(f"typed array around {type(content).__name__}, expected a byte string")
            return Typed(np.dtype(TYPED_ARRAYS[number]), content)
        return content

    def settle(self, value: Any) -> Any:
        """Replace what is still packed inside `value`: bare typed arrays become 1-D arrays, byte strings bytes."""
        match value:
            case Typed():
                return self._unpack(value, value.content.nbytes // value.dtype.itemsize)
            case Packed():
                return self._bytes(value, value.nbytes).tobytes()
            case memoryview():
                return bytes(value)
            case list():
                return [self.settle(item) for item in value]
            case dict():
                return {key: self.settle(item) for key, item in value.items()}
            case _:
                return value

    def _shaped(self, content: Any, order: Any) -> NDArray[Any]:
        match content:
            case [list() as shape, (Typed() | list()) as items]:
                pass
            case _:
                raise WireError("multi-dimensional array is not [dimensions, array]")
        if len(shape) not in range(1, MAX_DIMENSIONS + 1) or not all(type(n) is int and n >= 0 for n in shape):
            raise WireError(f"array dimensions {str(shape)[:80]}, expected 1 to {MAX_DIMENSIONS} whole numbers")
        count = math.prod(shape)
        flat = self._unpack(items, count) if isinstance(items, Typed) else _numbers(items, count)
        try:
            return flat.reshape(shape, order=order)
        except (ValueError, OverflowError) as error:  # an empty array whose other dimensions are astronomical
            raise WireError(f"array dimensions {str(shape)[:80]}: {error}") from error

    def _unpack(self, typed: Typed, count: int) -> NDArray[Any]:
        size = count * typed.dtype.itemsize
        held = typed.content.nbytes
        if held != size:
            raise WireError(f"array of {count} {typed.dtype} takes {size} bytes, the message has {held}")
        return self._bytes(typed.content, size).view(typed.dtype)

    def _bytes(self, content: memoryview | Packed, size: int) -> NDArray[np.uint8]:
        if isinstance(content, memoryview):
            return np.frombuffer(content, np.uint8)
        if size > self.left:
            raise WireError(f"array of {size} bytes, a message may hold {self.limit} in all")
        self.left -= size
        return compression.decompress(content.algorithm, content.element_size, content.payload, size)


def _packed(content: Any) -> Packed:
    match content:
        case [str() as algorithm, int() as element_size, memoryview() as payload]:
            if algorithm not in compression.ALGORITHMS:
                raise WireError(f"compression {algorithm[:40]!r}, expected {' or '.join(compression.ALGORITHMS)}")
            return Packed(algorithm, element_size, payload)
        case _:
            raise WireError("compressed byte string is not [algorithm, element size, bytes]")


def _numbers(items: list[Any], count: int) -> NDArray[Any]:
    if len(items) != count or not all(type(item) in (int, float) for item in items):
        raise WireError(f"array of {len(items)} items, expected {count} numbers")
    return np.array(items, np.float64)


def encode(value: Any, algorithm: Compression = "none") -> bytes:
    """Write a CBOR item; arrays in it become tag 40, compressed by `algorithm`."""
    return cbor.encode(value, converter(algorithm))


def converter(algorithm: Compression) -> Callable[[Any], Tag]:
    """Return what turns a NumPy array into tag 40; it raises TypeError for anything else."""

    def convert(value: Any) -> Tag:
        if not isinstance(value, np.ndarray) or value.dtype not in _NUMBERS:
            raise TypeError(f"cannot be written as CBOR: {type(value).__name__} {getattr(value, 'dtype', '')}")
        array = np.ascontiguousarray(value)
        content: Any = array.reshape(-1).view(np.uint8).data
        if algorithm != "none" and array.nbytes:
            content = Tag(COMPRESSED, _compressed(algorithm, array))
        return Tag(ROW_MAJOR, [list(value.shape), Tag(_NUMBERS[array.dtype], content)])

    return convert


def _compressed(algorithm: Compression, array: NDArray[Any]) -> list[Any]:
    element_size = array.itemsize if algorithm == "bslz4" else 0
    return [algorithm, element_size, compression.compress(algorithm, array)]
