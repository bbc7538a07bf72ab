"""Hostile payloads: bytes that are no messages, or claim what they do not hold."""

from __future__ import annotations

import json
import pickle
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import cbor2
import numpy as np

from service.wire import cbor
from service.wire import messages as wire
from tests.helpers.hostile_case import HOSTILE, HOSTILE_ID, Case, case, counts, edited, messages_of
from tests.helpers.public_format import write_public
from tests.helpers.series import CHANNEL, end_of, start_of


def byte_cases() -> Iterator[Case]:
    for family in (
        _foreign,
        _truncated,
        _flipped,
        _cbor_tricks,
        _arrays_out_of_place,
        _wrong_start_fields,
        _wrong_image_fields,
        _sizes,
    ):
        yield from family()


def _foreign() -> Iterator[Case]:
    random = np.random.default_rng(11)
    texts = {
        "empty": b"",
        "one zero": b"\0",
        "zeros": bytes(4096),
        "ones": b"\xff" * 4096,
        "json": json.dumps({"type": "start", "series_id": 1}).encode(),
        "stream v1 header": json.dumps({"htype": "dheader-1.0", "series": 1, "header_detail": "basic"}).encode(),
        "stream v1 image": json.dumps({"htype": "dimage-1.0", "series": 1, "frame": 0, "hash": "x"}).encode(),
        "pickle": pickle.dumps({"type": "start"}),
        "http": b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "http answer": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        "text": "Wählen Sie bitte einen Detektor.\n".encode(),
        "latin-1": "naïve café".encode("latin-1"),
        "tiff": b"II*\0\x08\0\0\0" + bytes(100),
        "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(100),
        "gzip": zlib.compress(b"type start"),
        "npy": b"\x93NUMPY\x01\0v\0{'descr': '<f8'}",
        "msgpack map": b"\x82\xa4type\xa5start\xa9series_id\x01",
        "xml": b"<?xml version='1.0'?><start/>",
        "cbor number": b"\x01",
        "cbor text": b"\x65start",
        "cbor empty map": b"\xa0",
        "cbor empty array": b"\x80",
        "cbor null": b"\xf6",
        "cbor float": b"\xfb" + struct.pack(">d", 1.0),
        "self-described cbor": b"\xd9\xd9\xf7\xa0",
        "map without type": write_public({"series_id": 1, "series_unique_id": HOSTILE}),
        "unknown type": write_public({"type": "calibration", "series_id": 1, "series_unique_id": HOSTILE}),
        "result": write_public({"type": "result", "sequence": 1}),
        "two messages in one": wire.encode(end_of(HOSTILE)) * 2,
    }
    yield from (case(f"foreign: {name}", [payload]) for name, payload in texts.items())
    for number, size in enumerate((1, 2, 3, 7, 16, 64, 256, 1024, 65536, 1 << 20)):
        yield case(f"foreign: {size} random bytes, {number}", [random.bytes(size)])


def _truncated() -> Iterator[Case]:
    messages = messages_of()
    for name, position, packing in (("start", 0, "none"), ("image", 2, "none"), ("image bslz4", 2, "bslz4")):
        whole = wire.encode(messages[position], packing)
        for twentieth in range(20):
            short = whole[: len(whole) * twentieth // 20]
            payloads = [*map(wire.encode, messages[:position]), short, *map(wire.encode, messages[position + 1 :])]
            yield case(f"truncated: {name} to {twentieth * 5} %", payloads)
    end = wire.encode(messages[-1])
    yield case("truncated: end", [*map(wire.encode, messages[:-1]), end[:-3]])


def _flipped() -> Iterator[Case]:
    random = np.random.default_rng(12)
    messages = messages_of()
    for name, position, packing in (("start", 0, "none"), ("image", 3, "bslz4"), ("image lz4", 3, "lz4")):
        whole = wire.encode(messages[position], packing)
        for number in range(20):
            broken = bytearray(whole)
            for place in random.integers(0, len(whole), 1 + number % 4):
                broken[place] ^= 1 << random.integers(0, 8)
            payloads = [*map(wire.encode, messages[:position]), bytes(broken)]
            yield case(f"flipped bits: {name} {number}", [*payloads, *map(wire.encode, messages[position + 1 :])])


def _cbor_tricks() -> Iterator[Case]:
    tricks = {
        "deep arrays": b"\x81" * 100_000 + b"\x01",
        "deep maps": b"\xa1\x61a" * 50_000 + b"\x01",
        "deep tags": b"\xc1" * 100_000 + b"\x01",
        "deep indefinite": b"\x9f" * 100_000,
        "two billion items": b"\x9a\x7f\xff\xff\xff",
        "map of 2^63 entries": b"\xbb\x80" + bytes(7),
        "bytes of 2^64 - 1": b"\x5b" + b"\xff" * 8,
        "text of 2^64 - 1": b"\x7b" + b"\xff" * 8,
        "a million empty arrays": b"\x9a\x00\x0f\x42\x40" + b"\x80" * 1_000_000,
        "a million empty chunks": b"\x5f" + b"\x40" * 1_000_000 + b"\xff",
        "break": b"\xff",
        "reserved head": b"\x1c",
        "key twice": b"\xa2\x64type\x65start\x64type\x65image",
        "key is a map": b"\xa1\xa0\x01",
        "shared reference to itself": b"\xd8\x1c\x81\xd8\x1d\x00",
        "big number": b"\xc2\x5a\x00\x01\x00\x00" + b"\xff" * 65536,
        "decimal of enormous exponent": b"\xc4\x82\x1a\x3b\x9a\xca\x00\x01",
        "regular expression": b"\xd8\x23" + cbor2.dumps("(a+)+$"),
        "date that is none": b"\xc0" + cbor2.dumps("the day after"),
        "text that is not UTF-8": b"\xa1\x64type\x62\xff\xfe",
        "simple value": b"\xf8\xff",
    }
    for name, payload in tricks.items():
        yield case(f"cbor: {name}", [payload])
        yield case(f"cbor: {name}, in a start", [wire.encode(messages_of()[0])[:-1] + payload])


def _arrays_out_of_place() -> Iterator[Case]:
    pair = cbor2.dumps(cbor2.CBORTag(40, [[2], cbor2.CBORTag(64, b"\1\2")]))
    nothing = cbor2.CBORTag(64, b"")
    values = {
        "in a list without length": b"\x9f" + pair + b"\xff",
        "twice in a list without length": b"\x9f" + pair + pair + b"\xff",
        "in a list": b"\x81" + pair,
        "empty, 2^63 columns": cbor2.dumps(cbor2.CBORTag(40, [[0, 1 << 63], nothing])),
        "empty, 2^120 columns": cbor2.dumps(cbor2.CBORTag(40, [[0, 1 << 40, 1 << 40, 1 << 40], nothing])),
        "empty, column major": cbor2.dumps(cbor2.CBORTag(1040, [[0, 1 << 62, 1 << 62], nothing])),
        "of an array": cbor2.dumps(cbor2.CBORTag(40, [[2], cbor2.CBORTag(40, [[2], [1, 2]])])),
    }
    start, *rest = map(wire.encode, messages_of())
    for name, value in values.items():
        yield case(f"array: {name}", [with_field(start, "extra", value), *rest])
    for name in ("rocking_axis", "positions", "instrument", "axes", "title", "energy_kev", "distance_m"):
        user = {**messages_of()[0].user_data, name: np.arange(3.0)}  # type: ignore[union-attr]
        yield case(f"array: user_data.{name}", [wire.encode(messages_of(user_data=user)[0]), *rest])


def with_field(message: bytes, name: str, value: bytes) -> bytes:
    """A message with one more field, whose value is any CBOR."""
    reader = cbor.Reader(message)
    reader.head()
    return b"\xbf" + message[reader.at :] + cbor2.dumps(name) + value + b"\xff"


_WRONG_VALUES: tuple[tuple[str, Any], ...] = (
    ("null", None), ("text", "x"), ("negative", -1), ("huge", (1 << 64) - 1), ("list", [1, [2]]), ("map", {"a": 1}),
    ("bytes", b"\0\1"), ("nan", float("nan")), ("true", True),
)  # fmt: skip


def _wrong_start_fields() -> Iterator[Case]:
    messages = messages_of()
    names = ("type", "series_id", "series_unique_id", "number_of_images", "channels", "image_size_x", "image_dtype",
             "pixel_mask", "user_data", "saturation_value", "incident_energy", "goniometer")  # fmt: skip
    for name in names:
        for kind, value in _WRONG_VALUES:
            first = edited(messages[0], lambda fields, name=name, value=value: fields.update({name: value}))
            yield case(f"start: {name} is {kind}", [first, *map(wire.encode, messages[1:])])
        first = edited(messages[0], lambda fields, name=name: fields.pop(name, None))
        yield case(f"start: no {name}", [first, *map(wire.encode, messages[1:])])


def _wrong_image_fields() -> Iterator[Case]:
    messages = messages_of()
    for name in ("type", "series_id", "series_unique_id", "image_id", "data", "user_data", "start_time"):
        for kind, value in _WRONG_VALUES:
            image = edited(messages[2], lambda fields, name=name, value=value: fields.update({name: value}))
            yield case(
                f"image: {name} is {kind}",
                [*map(wire.encode, messages[:2]), image, *map(wire.encode, messages[3:])],
            )


def _sizes() -> Iterator[Case]:
    messages = messages_of()
    rest = [wire.encode(message) for message in messages[1:]]

    def tagged(shape: list[int], content: Any, number: int = 70) -> bytes:
        array = cbor2.CBORTag(40, [shape, cbor2.CBORTag(number, content)])
        return edited(messages[1], lambda fields: fields.update(data={CHANNEL: array}))

    def packed(algorithm: str, size: int, block: int, body: bytes = b"\0\0\0\x01\0") -> cbor2.CBORTag:
        return cbor2.CBORTag(56500, [algorithm, 4, struct.pack(">QI", size, block) + body])

    starts = {
        "100 GB an image": {"shape": (250_000, 100_000)},
        "one row of 2^40": {"shape": (1, 1 << 40)},
        "no pixels": {"shape": (0, 14)},
        "a billion images": {"number_of_images": 10**9},
        "ten million images": {"number_of_images": 10**7},
        "more than the limit": {"shape": (16_000, 16_000), "number_of_images": 1000},
    }
    for name, changes in starts.items():
        yield case(f"size: start, {name}", [wire.encode(start_of(counts(), HOSTILE, HOSTILE_ID, **changes)), *rest])
    for algorithm in ("lz4", "bslz4"):
        right = 12 * 14 * 4
        bodies = {
            "claims 2^63 bytes": packed(algorithm, 1 << 63, 8192),
            "claims 100 GB": packed(algorithm, 10**11, 8192),
            "claims too little": packed(algorithm, 16, 8192),
            "block of zero": packed(algorithm, right, 0),
            "block of one": packed(algorithm, right, 1),
            "block of 2^32 - 1": packed(algorithm, right, 2**32 - 1),
            "block beyond its end": packed(algorithm, right, 8192, b"\x7f\xff\xff\xff\0"),
            "block of negative size": packed(algorithm, right, 8192, b"\xff\xff\xff\xff\0"),
            "no blocks": packed(algorithm, right, 8192, b""),
            "garbage in the block": packed(algorithm, right, 8192, b"\0\0\0\x20" + b"\xff" * 32),
            "match before the beginning": packed(algorithm, right, 8192, b"\0\0\0\x04\x0f\xff\xff\xff"),
            "no framing": cbor2.CBORTag(56500, [algorithm, 4, b"\0"]),
            "element size 0": cbor2.CBORTag(56500, [algorithm, 0, struct.pack(">QI", right, 8192)]),
            "element size -4": cbor2.CBORTag(56500, [algorithm, -4, struct.pack(">QI", right, 8192)]),
            "element size 2^40": cbor2.CBORTag(56500, [algorithm, 1 << 40, struct.pack(">QI", right, 8192)]),
            "not bytes": cbor2.CBORTag(56500, [algorithm, 4, "text"]),
            "two items": cbor2.CBORTag(56500, [algorithm, 4]),
        }
        for name, content in bodies.items():
            yield case(f"size: {algorithm}, {name}", [wire.encode(messages[0]), tagged([12, 14], content), *rest])
    arrays = {
        "100 GB claimed": tagged([250_000, 100_000], b"\0" * 8),
        "bytes short": tagged([12, 14], bytes(12 * 14 * 4 - 1)),
        "bytes over": tagged([12, 14], bytes(12 * 14 * 4 + 4)),
        "negative dimension": tagged([-12, -14], bytes(12 * 14 * 4)),
        "no dimensions": tagged([], bytes(4)),
        "fifty dimensions": tagged([1] * 50, bytes(4)),
        "fractional dimension": tagged([12.0, 14], bytes(12 * 14 * 4)),  # type: ignore[list-item]
        "three dimensions": tagged([1, 12, 14], bytes(12 * 14 * 4)),
        "float pixels": tagged([12, 14], bytes(12 * 14 * 4), 85),
        "quadruple precision": tagged([12, 14], bytes(12 * 14 * 16), 87),
        "unknown compression": tagged([12, 14], cbor2.CBORTag(56500, ["zstd", 4, bytes(50)])),
        "compression by number": tagged([12, 14], cbor2.CBORTag(56500, [7, 4, bytes(50)])),
        "typed array of text": tagged([12, 14], "x" * 672),
        "typed array of itself": tagged([12, 14], cbor2.CBORTag(70, bytes(672))),
    }
    for name, payload in arrays.items():
        yield case(f"size: array, {name}", [wire.encode(messages[0]), payload, *rest])
