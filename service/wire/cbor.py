"""CBOR (RFC 8949) for messages that carry large arrays: byte strings are never copied, claims are never believed.

Reading hands out byte strings as views into the message, so that looking at the head of an 18 MB frame costs
microseconds; lengths are held against the bytes that are there before anything is built.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.errors import WireError

Buffer = bytes | memoryview

MAX_DEPTH = 32  # stream-v2 messages nest about eight deep
MAX_ITEMS = 200_000  # the largest honest message holds some hundreds; each item is a Python object
UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE = range(8)
INDEFINITE = 31
BREAK_BYTE = 0xFF

_FLOATS = {25: struct.Struct(">e"), 26: struct.Struct(">f"), 27: struct.Struct(">d")}
_SIMPLE: dict[int, bool | None] = {20: False, 21: True, 22: None, 23: None}
_BREAK = object()


@dataclass(frozen=True, slots=True)
class Tag:
    """A tagged item on its way out."""

    number: int
    content: Any


def keep_content(number: int, content: Any) -> Any:
    """Read a tagged item as what it encloses (a date as its text)."""
    return content


def decode(message: Buffer, tag: Callable[[int, Any], Any] = keep_content) -> Any:
    """Read one item that fills `message`; `tag(number, content)` gives the value of a tagged item.

    Byte strings come back as memoryviews into `message`. Raises WireError.
    """
    reader = Reader(message, tag)
    value = reader.value()
    if reader.at != reader.end:
        raise WireError(f"{reader.end - reader.at} bytes follow the message that ends at byte {reader.at}")
    return value


class Reader:
    """A position in a message; every `value` moves it behind the item that it returns."""

    __slots__ = ("at", "buffer", "end", "items", "tag")

    def __init__(self, message: Buffer, tag: Callable[[int, Any], Any] = keep_content) -> None:
        self.buffer = memoryview(message).cast("B")
        self.at = 0
        self.end = len(self.buffer)
        self.items = 0
        self.tag = tag

    def value(self, depth: int = 0) -> Any:
        """Return the next item."""
        found = self._item(depth)
        if found is _BREAK:
            raise WireError(f"CBOR break outside an indefinite item at byte {self.at - 1}")
        return found

    def head(self) -> tuple[int, int, int]:
        """Read the head of an item: major type, additional information, argument (0 where indefinite)."""
        initial = self.take(1)[0]
        major, info = initial >> 5, initial & 31
        if info < 24:
            return major, info, info
        if info < 28:
            return major, info, int.from_bytes(self.take(1 << (info - 24)), "big")
        if info == INDEFINITE and major in (BYTES, TEXT, ARRAY, MAP, SIMPLE):
            return major, info, 0
        raise WireError(f"not CBOR: byte 0x{initial:02x} at {self.at - 1}")

    def take(self, count: int) -> memoryview:
        """Return the next `count` bytes."""
        if count > self.end - self.at:
            raise WireError(f"truncated: {count} bytes wanted at byte {self.at}, the message has {self.end}")
        start, self.at = self.at, self.at + count
        return self.buffer[start : self.at]

    def _item(self, depth: int) -> Any:
        self.items += 1
        if depth > MAX_DEPTH or self.items > MAX_ITEMS:
            raise WireError(f"message nests deeper than {MAX_DEPTH} or holds more than {MAX_ITEMS} items")
        major, info, argument = self.head()
        match major:
            case 0:
                return argument
            case 1:
                return -1 - argument
            case 2 | 3:
                return self._string(major, info, argument)
            case 4:
                return self._array(info, argument, depth)
            case 5:
                return self._map(info, argument, depth)
            case 6:
                return self.tag(argument, self.value(depth + 1))
            case _:
                return self._simple(info, argument)

    def _string(self, major: int, info: int, count: int) -> memoryview | str:
        raw: Buffer = self._chunks(major) if info == INDEFINITE else self.take(count)
        if major == BYTES:
            return memoryview(raw)
        try:
            return str(raw, "utf-8")
        except UnicodeDecodeError as error:
            raise WireError(f"text before byte {self.at} is not UTF-8: {error.reason}") from error

    def _chunks(self, major: int) -> bytes:
        chunks: list[memoryview] = []
        while True:
            self.items += 1
            if self.items > MAX_ITEMS:
                raise WireError(f"message holds more than {MAX_ITEMS} items")
            chunk_major, info, count = self.head()
            if (chunk_major, info) == (SIMPLE, INDEFINITE):
                return b"".join(chunks)
            if chunk_major != major or info == INDEFINITE:
                raise WireError(f"indefinite string holds a foreign chunk at byte {self.at}")
            chunks.append(self.take(count))

    def _array(self, info: int, count: int, depth: int) -> list[Any]:
        if info == INDEFINITE:
            return list(self._until_break(depth + 1))
        if count > self.end - self.at:
            raise WireError(f"truncated: array of {count} items with {self.end - self.at} bytes left")
        return [self.value(depth + 1) for _ in range(count)]

    def _until_break(self, depth: int) -> Iterator[Any]:
        while (item := self._item(depth)) is not _BREAK:
            yield item

    def _map(self, info: int, count: int, depth: int) -> dict[str | int, Any]:
        if 2 * count > self.end - self.at:
            raise WireError(f"truncated: map of {count} entries with {self.end - self.at} bytes left")
        found: dict[str | int, Any] = {}
        while info == INDEFINITE or count > 0:
            key = self._item(depth + 1)
            if key is _BREAK and info == INDEFINITE:
                break
            if not isinstance(key, str | int) or key in found:
                raise WireError(f"map key before byte {self.at} is neither text nor integer, or comes twice")
            found[key] = self.value(depth + 1)
            count -= 1
        return found

    def _simple(self, info: int, argument: int) -> Any:
        if info in _FLOATS:
            layout = _FLOATS[info]
            return layout.unpack(argument.to_bytes(layout.size, "big"))[0]
        if info == INDEFINITE:
            return _BREAK
        if info not in _SIMPLE:
            raise WireError(f"unknown simple value before byte {self.at}")
        return _SIMPLE[info]


def encode(value: Any, convert: Callable[[Any], Any]) -> bytes:
    """Write one item; `convert(value)` turns what CBOR has no form for into something that it has.

    Copies each byte string once. Raises TypeError where `convert` does.
    """
    parts: list[Buffer] = []
    _write(value, parts, convert)
    return b"".join(parts)


def _write(value: Any, parts: list[Buffer], convert: Callable[[Any], Any]) -> None:
    match value:
        case bool() | None:
            parts.append({False: b"\xf4", True: b"\xf5", None: b"\xf6"}[value])
        case int():
            parts.append(_head(UNSIGNED, value) if value >= 0 else _head(NEGATIVE, -1 - value))
        case float():
            parts.append(b"\xfb" + _FLOATS[27].pack(value))
        case str():
            raw = value.encode()
            parts += (_head(TEXT, len(raw)), raw)
        case bytes() | memoryview():
            parts += (_head(BYTES, len(value)), value)
        case Tag():
            parts.append(_head(TAG, value.number))
            _write(value.content, parts, convert)
        case list() | tuple():
            parts.append(_head(ARRAY, len(value)))
            for item in value:
                _write(item, parts, convert)
        case Mapping():
            parts.append(_head(MAP, len(value)))
            for key, item in value.items():
                _write(key, parts, convert)
                _write(item, parts, convert)
        case np.generic():
            _write(value.item(), parts, convert)
        case _:
            _write(convert(value), parts, convert)


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes((major << 5 | argument,))
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << (8 * size):
            return bytes((major << 5 | info,)) + argument.to_bytes(size, "big")
    raise ValueError(f"CBOR integer out of 64 bits: {argument}")
