"""Hostile series: honest messages that make no sense together, or no physics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from service.wire import messages as wire
from tests.helpers.hostile_case import HOSTILE, HOSTILE_ID, Case, case, counts, edited, frame, messages_of
from tests.helpers.public_format import public_array
from tests.helpers.series import CHANNEL, end_of, frame_of, start_of


def scan_cases() -> Iterator[Case]:
    for family in (_order, _changes_in_mid_series, _positions, _exposures, _geometry, _contents):
        yield from family()


def _order() -> Iterator[Case]:
    messages = messages_of()
    start, frames, end = messages[0], messages[1:-1], messages[-1]
    other = wire.encode(frame_of(counts(), 0, "somebody else", 9))
    orders: dict[str, list[Any]] = {
        "image before start": [frames[0], start, *frames, end],
        "images without start": [*frames, end],
        "end without start": [end],
        "end twice": [*messages, end],
        "start twice": [start, *messages],
        "start in the middle again": [start, *frames[:2], start, *frames[2:], end],
        "series without end": [start, *frames[:3]],
        "start only": [start],
        "start and end": [start, end],
        "every image twice": [start, *frames, *frames, end],
        "one image a hundred times": [start, *[frames[0]] * 100, end],
        "backwards": [start, *reversed(frames), end],
        "end before the images": [start, end, *frames],
        "whole series twice": [*messages, *messages],
        "images after the end": [*messages, *frames],
        "images of another series": [start, frames[0], other, *frames[1:], end],
        "end of another series": [start, frames[0], wire.encode(end_of("somebody else", 9)), *frames[1:], end],
        "a hundred starts": [start_of(counts(), f"{HOSTILE} {number}", number) for number in range(100)],
        "same name, other number": [start, *frames[:2], start_of(counts(), HOSTILE, 667), *frames[2:], end],
        "one image only": [start, frames[0], end],
        "image number too large": [start, frame(0, image_id=5), *frames, end],
        "image number 2^63": [start, frame(0, image_id=1 << 63), *frames, end],
        "image number 2^64 - 1, without start": [frame(0, image_id=(1 << 64) - 1)],
        "unknown length, image number 2^40": [
            start_of(counts(), HOSTILE, HOSTILE_ID, number_of_images=None), frame(0, image_id=1 << 40), *frames, end,
        ],
        "unknown length": [start_of(counts(), HOSTILE, HOSTILE_ID, number_of_images=None), *frames, end],
        "unknown length, nothing": [start_of(counts(), HOSTILE, HOSTILE_ID, number_of_images=None), end],
    }  # fmt: skip
    yield from (case(f"order: {name}", sequence) for name, sequence in orders.items())


def _changes_in_mid_series() -> Iterator[Case]:
    messages = messages_of()
    image = counts()[2]
    images: dict[str, Any] = {
        "smaller": image[:-1],
        "transposed": image.T.copy(),
        "larger": np.tile(image, (2, 2)),
        "one pixel": image[:1, :1],
        "empty": image[:0],
        "one-dimensional": image.ravel(),
        "three-dimensional": image[None],
        "16 bit": image.astype(np.uint16),
        "8 bit": image.astype(np.uint8),
        "64 bit": image.astype(np.uint64),
        "signed": image.astype(np.int32),
        "float": image.astype(np.float32),
        "double": image.astype(np.float64),
    }
    for name, changed in images.items():
        broken = wire.encode(frame(2, data={CHANNEL: changed}))
        yield case(f"mid-series: {name}", [*map(wire.encode, messages[:3]), broken, *map(wire.encode, messages[4:])])
        every = [wire.encode(frame(index, data={CHANNEL: changed})) for index in range(5)]
        yield case(f"whole series: {name}", [wire.encode(messages[0]), *every, wire.encode(messages[-1])])
    for name, data in (("other channel", {"threshold_9": image}), ("no channel", {})):
        broken = wire.encode(frame(2, data=data))
        yield case(f"mid-series: {name}", [*map(wire.encode, messages[:3]), broken, *map(wire.encode, messages[4:])])
    big_endian = edited(messages[3], lambda f: f.update(data={CHANNEL: public_array(image.astype(">u4"))}))
    rest = map(wire.encode, messages[4:])
    yield case("mid-series: big endian", [*map(wire.encode, messages[:3]), big_endian, *rest])


def _positions() -> Iterator[Case]:
    start, end = messages_of()[0], messages_of()[-1]
    values = {"nan": np.nan, "infinite": np.inf, "minus infinite": -np.inf, "1e300": 1e300, "-1e300": -1e300}
    for name, value in values.items():
        frames = [frame(index, positions={"theta": value if index == 2 else 0.1 * index}) for index in range(5)]
        yield case(f"positions: one {name}", [start, *frames, end])
        yield case(f"positions: all {name}", [start, *(frame(i, positions={"theta": value}) for i in range(5)), end])
    tracks: dict[str, list[dict[str, float]]] = {
        "none": [{}] * 5,
        "of another axis": [{"phi": 0.1 * index} for index in range(5)],
        "standing still": [{"theta": 0.1}] * 5,
        "jumping": [{"theta": float(angle)} for angle in (0, 5, -3, 80, 1)],
        "axis lost in mid-series": [{"theta": 0.1}, {"theta": 0.2}, {}, {"theta": 0.4}, {"theta": 0.5}],
        "axis won in mid-series": [{"theta": 0.1 * i} | ({"phi": 0.0} if i > 2 else {}) for i in range(5)],
        "a thousand axes": [{f"axis {n}": float(n + i) for n in range(1000)} for i in range(5)],
        "axis of no name": [{"": 0.1 * i} for i in range(5)],
        "negative angles": [{"theta": -0.1 * i} for i in range(5)],
    }
    for name, track in tracks.items():
        frames = [frame(index, positions=positions) for index, positions in enumerate(track)]
        yield case(f"positions: {name}", [start, *frames, end])


def _exposures() -> Iterator[Case]:
    start, end = messages_of()[0], messages_of()[-1]
    for field in ("monitor", "transmission"):
        for value in (0.0, -1.0, np.nan, np.inf, 1e308, 1e-308):
            one = [frame(index, **({field: value} if index == 2 else {})) for index in range(5)]
            every = [frame(index, **{field: value}) for index in range(5)]
            yield case(f"exposure: one {field} {value}", [start, *one, end])
            yield case(f"exposure: every {field} {value}", [start, *every, end])


def _geometry() -> Iterator[Case]:
    start = start_of(counts())
    honest, header = dict(start.user_data), dict(start.header)
    for name in ("energy_kev", "distance_m"):
        for kind, value in (
            ("zero", 0),
            ("negative", -9.0),
            ("nan", np.nan),
            ("in the wrong unit", 9e6),
            ("text", "9"),
        ):
            yield case(f"geometry: {name} {kind}", messages_of(user_data=honest | {name: value}))
    for kind, value in (("zero", 0.0), ("negative", -55e-6), ("nan", np.nan), ("in um", 55.0), ("text", "55")):
        yield case(f"geometry: pixel {kind}", messages_of(header=header | {"pixel_size_x": value}))
    wrong_users: dict[str, Any] = {
        "unknown instrument": {"instrument": "hexapod of doom"},
        "instrument is a list": {"instrument": [1, 2]},
        "no fixed angles": {"positions": {}},
        "an angle is missing": {"positions": {"delta": 32.0, "gamma": 12.0, "chi": 90.0}},
        "an angle is text": {"positions": {"delta": "32", "gamma": 12.0, "chi": 90.0, "phi": -5.0}},
        "an angle is NaN": {"positions": {"delta": np.nan, "gamma": 12.0, "chi": 90.0, "phi": -5.0}},
        "angles are a list": {"positions": [1, 2, 3]},
        "rocking axis unknown": {"rocking_axis": "omega"},
        "rocking axis is a number": {"rocking_axis": 3},
        "rocking axis of the detector": {"rocking_axis": "delta"},
        "general without axes": {"instrument": "general"},
        "general with axes of text": {"instrument": "general", "axes": "x+"},
        "general with half an axis": {"instrument": "general", "axes": {"sample": [["theta"]]}},
    }
    for name, changes in wrong_users.items():
        yield case(f"geometry: {name}", messages_of(user_data=honest | changes))
    for name, center in (("text", "middle"), ("nan", np.nan), ("list", [1, 2, 3])):
        beam = {"beam_center_x": center, "beam_center_y": center}
        yield case(f"geometry: beam centre {name}", messages_of(header=header | beam))
    turns = {
        "empty": {},
        "text": "omega",
        "wrong": {"theta": 5},
        "huge": {"theta": {"start": 1e308, "increment": 1e308}},
    }
    for name, goniometer in turns.items():
        messages = messages_of(header=header | {"goniometer": goniometer})
        frames = [frame(index, positions={}) for index in range(5)]
        yield case(f"geometry: goniometer {name}", [messages[0], *frames, messages[-1]])


def _contents() -> Iterator[Case]:
    start, end = messages_of()[0], messages_of()[-1]
    shape = (12, 14)
    fills = {
        "zero counts": np.zeros(shape, np.uint32),
        "one count everywhere": np.ones(shape, np.uint32),
        "every pixel without data": np.full(shape, 2**32 - 1, np.uint32),
        "every pixel saturated": np.full(shape, 2**32 - 2, np.uint32),
    }
    for name, image in fills.items():
        yield case(f"contents: {name}", [start, *(frame(i, data={CHANNEL: image}) for i in range(5)), end])
    one_hot = np.zeros(shape, np.uint32)
    one_hot[3, 4] = 1_000_000
    yield case("contents: one hot pixel", [start, *(frame(i, data={CHANNEL: one_hot}) for i in range(5)), end])
    yield case("contents: all masked", messages_of(pixel_mask=np.zeros(shape, bool)))
    saturated = frame(2, data={CHANNEL: fills["every pixel saturated"]})
    yield case("contents: one saturated image", [*messages_of()[:3], saturated, *messages_of()[4:]])
    for name, plane in (("nan", np.nan), ("zero", 0.0), ("negative", -1.0), ("infinite", np.inf)):
        yield case(f"contents: flat field {name}", messages_of(flatfield=np.full(shape, plane, np.float32)))
        yield case(f"contents: dark {name}", messages_of(dark=np.full(shape, plane, np.float32)))
