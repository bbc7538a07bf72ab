"""Stream v2 to records and back, against the public format and against whatever else may come in."""

from __future__ import annotations

import contextlib
import dataclasses
import struct
import tracemalloc
from typing import Any

import cbor2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from service.errors import WireError
from service.records import Frame, SeriesEnd, SeriesStart
from service.wire import compression
from service.wire import messages as wire
from tests.helpers.public_format import from_hex, public_array, read_public, write_public
from tests.helpers.series import CHANNEL, bragg_peak, end_of, frame_of, series_of, start_of

COMPRESSIONS = ("none", "lz4", "bslz4")

# One image of 2x3 uint16, written byte by byte from RFC 8949, RFC 8746 and DECTRIS' description of stream v2.
IMAGE_HEX = """
a5                                                     # map of 5
64 74797065            65 696d616765                   # type: image
69 7365726965735f6964  07                              # series_id: 7
70 7365726965735f756e697175655f6964  63 616263         # series_unique_id: abc
68 696d6167655f6964    03                              # image_id: 3
64 64617461            a1                              # data: map of 1
6b 7468726573686f6c645f31                              # threshold_1:
d828 82 82 02 03                                       # tag 40 [[2, 3],
d845 4c 0100 0200 0300 0400 0500 ffff                  # tag 69 (u16 little endian)]
"""
# Eight pixels of value 1, bitshuffled by hand: bit 0 of all eight fills the first byte, the other 15 are zero; then an
# LZ4 block of literals only (token F0, length 15 + 1), in HDF5 framing (size 16, blocks of 8192, 18 bytes follow).
ONES_BSLZ4_HEX = """
d828 82 82 02 04  d845 d9dcb4 83  65 62736c7a34  02 5822
0000000000000010 00002000  00000012 f001 ff 000000000000000000000000000000
"""
# Six pixels as an LZ4 block of twelve literals (token C0) in HDF5 framing.
LITERALS_LZ4_HEX = """
d828 82 82 02 03  d845 d9dcb4 83  63 6c7a34  00 581d
000000000000000c 0000000c  0000000d c0 0100 0200 0300 0400 0500 ffff
"""


def image_with(data: bytes) -> bytes:
    """An image message around one channel whose array is given as CBOR."""
    head = {"type": "image", "series_id": 1, "series_unique_id": "u", "image_id": 0, "data": {"a": None}}
    return cbor2.dumps(head)[:-1] + data


def public_start(**changes: Any) -> dict[str, Any]:
    """Fields of a start message in the order and with the types of DECTRIS' table."""
    fields: dict[str, Any] = {
        "type": "start",
        "series_id": 12,
        "series_unique_id": "01HBV3JPF27G4QS2RE0ACB1WDC",
        "arm_date": cbor2.CBORTag(0, "2024-05-06T07:08:09.123456+02:00"),
        "beam_center_x": 14.5,
        "beam_center_y": 3.0,
        "channels": ["threshold_1", "threshold_2"],
        "count_time": 0.25,
        "countrate_correction_lookup_table": cbor2.CBORTag(70, np.arange(5, dtype="<u4").tobytes()),
        "flatfield": {"threshold_1": np.full((4, 6), 0.5, "<f4"), "threshold_2": np.ones((4, 6), "<f4")},
        "flatfield_enabled": False,
        "goniometer": {"omega": {"start": -1.0, "increment": 0.1}},
        "image_dtype": "uint32",
        "image_size_x": 6,
        "image_size_y": 4,
        "incident_energy": 9000.0,
        "number_of_images": 50,
        "pixel_mask": {"threshold_1": np.eye(4, 6, dtype="<u4"), "threshold_2": np.eye(4, 6, 2, dtype="<u4") * 16},
        "saturation_value": 4_000_000,
        "threshold_energy": {"threshold_1": 4500.0, "threshold_2": 9000.0},
        "user_data": {"rocking_axis": "omega", "dark": np.ones((4, 6), "<f4")},
    }
    return fields | changes


def public_image(images: dict[str, Any], **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "type": "image",
        "data": images,
        "image_id": 3,
        "real_time": [25, 100],
        "series_date": cbor2.CBORTag(0, "2024-05-06T07:08:09Z"),
        "series_id": 12,
        "series_unique_id": "01HBV3JPF27G4QS2RE0ACB1WDC",
        "start_time": [150, 100],
        "stop_time": [175, 100],
        "user_data": {"positions": {"omega": -0.7}, "monitor": 2.0, "transmission": 0.5},
    }
    return fields | changes


class TestPublicFormat:
    """What others write we read, what we write others read."""

    def test_image_written_by_hand(self) -> None:
        frame = wire.decode(from_hex(IMAGE_HEX))
        assert isinstance(frame, Frame)
        assert (frame.series_id, frame.series_unique_id, frame.image_id) == (7, "abc", 3)
        np.testing.assert_array_equal(frame.data["threshold_1"], np.array([[1, 2, 3], [4, 5, 0xFFFF]], np.uint16))

    @pytest.mark.parametrize(
        ("data", "pixels"),
        [(ONES_BSLZ4_HEX, [[1, 1, 1, 1], [1, 1, 1, 1]]), (LITERALS_LZ4_HEX, [[1, 2, 3], [4, 5, 0xFFFF]])],
    )
    def test_compressed_array_written_by_hand(self, data: str, pixels: list[list[int]]) -> None:
        frame = wire.decode(image_with(from_hex(data)))
        assert isinstance(frame, Frame)
        np.testing.assert_array_equal(frame.data["a"], np.array(pixels, np.uint16))

    @pytest.mark.parametrize("indefinite", [False, True])
    @pytest.mark.parametrize("packed", COMPRESSIONS)
    def test_start_of_a_detector(self, packed: str, indefinite: bool) -> None:
        start = wire.decode(write_public(public_start(), packed, indefinite_containers=indefinite))
        assert isinstance(start, SeriesStart)
        assert (start.series_id, start.number_of_images, start.shape, start.dtype) == (12, 50, (4, 6), "uint32")
        assert start.channels == ("threshold_1", "threshold_2")
        assert start.pixel_mask is not None
        assert start.flatfield is not None
        assert start.dark is not None
        np.testing.assert_array_equal(start.pixel_mask, (np.eye(4, 6) == 0) & (np.eye(4, 6, 2) == 0))
        assert (start.flatfield == 0.5).all()
        assert start.flatfield.flags.owndata, "it outlives the message"
        assert (start.dark == 1).all()
        assert start.user_data == {"rocking_axis": "omega"}
        assert start.header["arm_date"] == "2024-05-06T07:08:09.123456+02:00"
        assert start.header["goniometer"] == {"omega": {"start": -1.0, "increment": 0.1}}
        np.testing.assert_array_equal(start.header["countrate_correction_lookup_table"], np.arange(5))

    @pytest.mark.parametrize("dtype", ["u1", "<u2", "<u4", "i1", "<i2", "<i4", ">u2", ">u4"])
    @pytest.mark.parametrize("packed", COMPRESSIONS)
    def test_image_of_a_detector(self, packed: str, dtype: str) -> None:
        first = np.random.default_rng(1).integers(0, 100, (61, 67)).astype(dtype)
        message = write_public(public_image({"threshold_1": first, "threshold_2": first[::-1]}), packed)
        frame = wire.decode(message)
        assert isinstance(frame, Frame)
        np.testing.assert_array_equal(frame.data["threshold_1"], first)
        np.testing.assert_array_equal(frame.data["threshold_2"], first[::-1])
        assert frame.data["threshold_1"].dtype == first.dtype.newbyteorder("=")
        assert (frame.positions, frame.monitor, frame.transmission) == ({"omega": -0.7}, 2.0, 0.5)
        assert (frame.start_time_s, frame.count_time_s) == (1.5, 0.25)
        assert wire.peek(message) == ("image", 12, "01HBV3JPF27G4QS2RE0ACB1WDC", 3)

    @pytest.mark.parametrize("packed", COMPRESSIONS)
    def test_small_blocks_and_ragged_ends(self, packed: str) -> None:
        image = np.random.default_rng(2).poisson(3.0, (37, 41)).astype("<u2")
        frame = wire.decode(image_with(cbor2.dumps(public_array(image, packed, block_bytes=256))))
        assert isinstance(frame, Frame)
        np.testing.assert_array_equal(frame.data["a"], image)

    @pytest.mark.parametrize("packed", COMPRESSIONS)
    def test_our_series_read_with_public_means(self, packed: compression.Compression) -> None:
        counts = bragg_peak()
        mask = np.ones(counts.shape[1:], bool)
        mask[3, :] = False
        start = start_of(counts, pixel_mask=mask, dark=np.full(mask.shape, 2.0, np.float32))
        start = dataclasses.replace(start, header={**start.header, "arm_date": "2024-01-01T00:00:00Z"})
        read = read_public(wire.encode(start, packed))
        assert next(iter(read)) == "type"
        assert read["type"] == "start"
        assert (read["image_size_y"], read["image_size_x"], read["image_dtype"]) == (24, 28, "uint32")
        assert (read["number_of_images"], read["channels"]) == (9, [CHANNEL])
        np.testing.assert_array_equal(read["pixel_mask"][CHANNEL], (~mask).astype(np.uint32))
        assert read["pixel_mask"][CHANNEL].dtype == np.uint32
        assert (read["user_data"]["dark"] == 2).all()
        assert read["arm_date"].year == 2024  # cbor2 knows tag 0
        image = read_public(wire.encode(frame_of(counts, 4), packed))
        assert (image["type"], image["image_id"], image["series_unique_id"]) == ("image", 4, "good")
        np.testing.assert_array_equal(image["data"][CHANNEL], counts[4])
        assert image["real_time"][0] / image["real_time"][1] == 0.25
        assert image["user_data"]["positions"] == {"theta": 0.22}
        end = read_public(wire.encode(end_of()))
        assert end == {"type": "end", "series_id": 1, "series_unique_id": "good"}
        given_up = dataclasses.replace(end_of(), aborted=True)
        assert read_public(wire.encode(given_up)) == end | {"user_data": {"aborted": True}}
        assert wire.decode(wire.encode(given_up)) == given_up
        assert wire.decode(wire.encode(end_of())) == end_of()


class TestRoundTrip:
    @settings(max_examples=60, deadline=None)
    @given(
        image=hnp.arrays(
            st.sampled_from(["u1", "<u2", "<u4", "i1", "<i2", "<i4"]),
            hnp.array_shapes(min_dims=2, max_dims=2, max_side=70),
        ),
        packed=st.sampled_from(COMPRESSIONS),
        position=st.floats(),
    )
    def test_frames(self, image: Any, packed: compression.Compression, position: float) -> None:
        frame = Frame(
            series_id=1, series_unique_id="ü", image_id=9, data={"a": image, "b": image.T}, positions={"x": position}
        )
        back = wire.decode(wire.encode(frame, packed))
        assert isinstance(back, Frame)
        np.testing.assert_array_equal(back.data["a"], image)
        np.testing.assert_array_equal(back.data["b"], image.T)
        assert struct.pack("d", back.positions["x"]) == struct.pack("d", position) or position != position

    @pytest.mark.parametrize("packed", COMPRESSIONS)
    def test_series(self, packed: compression.Compression) -> None:
        for message in series_of(bragg_peak()):
            back = wire.decode(wire.encode(message, packed))
            assert type(back) is type(message)
            for field in dataclasses.fields(message):
                np.testing.assert_equal(getattr(back, field.name), getattr(message, field.name))


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"type": "begin"}, "message type 'begin'"),
            ({"type": 7}, "message type '7'"),
            ({"series_id": None}, "series_id is missing"),
            ({"series_id": -1}, "series_id is int -1"),
            ({"series_id": True}, "series_id is bool"),
            ({"series_unique_id": b"x"}, "series_unique_id is bytes"),
            ({"number_of_images": -3}, "number_of_images"),
            ({"number_of_images": 1 << 40}, "from 0 to 10000000"),
            ({"series_id": 1 << 63}, "from 0 to"),
            ({"series_unique_id": "x" * 257}, "257 characters"),
            ({"type": np.zeros(3)}, "message type"),
            ({"image_size_x": "a\nb"}, "a b, expected"),
            ({"channels": "threshold_1"}, "channels"),
            ({"channels": [1]}, "channels"),
            ({"image_dtype": "float32"}, "image_dtype 'float32'"),
            ({"image_dtype": ["u4"]}, "image_dtype is list"),
            ({"image_size_x": 0}, "take 0 bytes"),
            ({"image_size_x": 10**6, "image_size_y": 25_000}, "take 100000000000 bytes"),
            ({"pixel_mask": {"threshold_1": np.zeros((4, 5), "<u4")}}, "expected the images' (4, 6)"),
            ({"pixel_mask": {"threshold_1": 3}}, "expected an array"),
            ({"flatfield": {"threshold_1": np.zeros((2, 4, 6), "<f4")}}, "expected an array"),
            ({"user_data": {"dark": [1, 2]}}, "dark: list"),
            ({"pixel_mask": "none"}, "expected a map"),
        ],
    )
    def test_start(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(WireError) as error:
            wire.decode(write_public(public_start(**changes)))
        assert message in str(error.value)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"data": {}}, "without data"),
            ({"data": 5}, "field data is int 5, expected a map"),
            ({"data": {"a": [1, 2]}}, "expected an array"),
            ({"data": {1: np.zeros((2, 2), "<u2")}}, "expected an array"),
            ({"image_id": "3"}, "image_id is str"),
            ({"start_time": [1, 0]}, "start_time"),
            ({"start_time": "now"}, "start_time"),
            ({"user_data": {"positions": [1.0]}}, "positions is not a map"),
            ({"user_data": {"positions": {"theta": "1"}}}, "theta is str"),
            ({"user_data": {"positions": {"theta": None}}}, "theta is missing"),
            ({"user_data": {"monitor": [1]}}, "monitor is list"),
        ],
    )
    def test_image(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(WireError) as error:
            wire.decode(write_public(public_image({"a": np.zeros((2, 2), "<u2")}, **changes)))
        assert message in str(error.value)
        assert "\n" not in str(error.value)

    def test_lenient_where_nothing_is_lost(self) -> None:
        image = public_image({"a": np.zeros((2, 2), "<u2")}, user_data="free text", vendor={"x": [1, None]})
        del image["start_time"], image["real_time"]
        frame = wire.decode(write_public(image))
        assert isinstance(frame, Frame)
        assert frame.positions == {}
        assert frame.start_time_s == 0.0
        fields = public_start(user_data="", number_of_images=None)
        del fields["channels"], fields["pixel_mask"], fields["flatfield"]
        start = wire.decode(write_public(fields))
        assert isinstance(start, SeriesStart)
        assert (start.number_of_images, start.channels, start.pixel_mask, start.flatfield) == (None, (), None, None)

    def test_not_a_map(self) -> None:
        for message in (b"\x01", b"\x80"):
            with pytest.raises(WireError, match="not a stream-v2 message"):
                wire.decode(message)
            with pytest.raises(WireError, match="not a stream-v2 message"):
                wire.peek(message)

    def test_one_message_has_one_budget(self) -> None:
        image = np.zeros((100, 100), "<u4")
        message = write_public(public_image({"a": image, "b": image}), "bslz4")
        assert isinstance(wire.decode(message, 80_000), Frame)
        with pytest.raises(WireError, match="a message may hold 79999 in all"):
            wire.decode(message, 79_999)

    def test_impossible_sizes_cost_no_memory(self) -> None:
        shape = cbor2.dumps([1 << 20, 25_000])
        packed = cbor2.CBORTag(56500, ["bslz4", 4, bytes(16)])
        bombs = [
            image_with(b"\xd8\x28\x82" + shape + b"\xd8\x46\x44" + bytes(4)),
            image_with(b"\xd8\x28\x82" + shape + cbor2.dumps(cbor2.CBORTag(70, packed))),
            write_public(public_start(image_size_x=1 << 20, image_size_y=25_000)),
        ]
        tracemalloc.start()
        for bomb in bombs:
            with pytest.raises(WireError):
                wire.decode(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.stop()


class TestPeek:
    def test_all_kinds(self) -> None:
        counts = bragg_peak()
        for message in series_of(counts):
            expected_id = message.image_id if isinstance(message, Frame) else None
            assert wire.peek(wire.encode(message, "lz4"))[1:] == (1, "good", expected_id)

    def test_payload_is_not_touched(self) -> None:
        whole = wire.encode(frame_of(bragg_peak(), 2))
        assert wire.peek(memoryview(whole)[:100]).image_id == 2
        late = write_public(public_image({"a": np.zeros((400, 400), "<u4")}), indefinite_containers=True)
        tracemalloc.start()
        assert wire.peek(late).image_id == 3
        assert tracemalloc.get_traced_memory()[1] < 20_000
        tracemalloc.stop()

    def test_refusals(self) -> None:
        for fields in ({1: 2}, {"type": "image", "series_id": 1, "series_unique_id": "x"}, {"type": "other"}):
            for indefinite in (False, True):
                with pytest.raises(WireError):
                    wire.peek(cbor2.dumps(fields, indefinite_containers=indefinite))


class TestAnyBytes:
    @settings(max_examples=400, deadline=None)
    @given(st.binary(max_size=200))
    def test_garbage(self, garbage: bytes) -> None:
        refuse_or_read(garbage)

    @pytest.mark.parametrize("packed", COMPRESSIONS)
    def test_truncated_at_every_length(self, packed: compression.Compression) -> None:
        counts = bragg_peak((2, 9, 11))
        for message in series_of(counts):
            raw = wire.encode(message, packed)
            for length in range(len(raw)):
                with pytest.raises(WireError):
                    wire.decode(raw[:length])

    @settings(max_examples=500, deadline=None)
    @given(
        packed=st.sampled_from(COMPRESSIONS),
        which=st.integers(0, 3),
        flips=st.lists(st.integers(0, 10**6), min_size=1, max_size=4),
    )
    def test_flipped_bits(self, packed: compression.Compression, which: int, flips: list[int]) -> None:
        counts = bragg_peak((2, 9, 11))
        raw = bytearray(wire.encode(series_of(counts)[which], packed))
        for flip in flips:
            raw[flip // 8 % len(raw)] ^= 1 << flip % 8
        refuse_or_read(bytes(raw))


def refuse_or_read(raw: bytes) -> None:
    for read in (wire.decode, wire.peek):
        found: Any = None
        with contextlib.suppress(WireError):
            found = read(raw)
        assert found is None or isinstance(found, SeriesStart | Frame | SeriesEnd | wire.Peek)
