"""LImA and LImA2: the encoded images both ways, and acquisitions as series, over memory and over real Tango."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tango.test_context import MultiDeviceTestContext

from service import compose
from service.adapters.lima.array import TYPES, decode_image, encode_image
from service.adapters.lima.camera import Device, open_camera
from service.adapters.lima.source import LimaSource
from service.adapters.tango import TangoDevice
from service.errors import DeviceError, SourceError, WireError
from service.ports import EndOfStream
from service.records import Frame, Message, SeriesEnd, SeriesStart, Volume
from service.settings import parse_settings
from service.worker.assembly import SeriesAssembler
from tests.helpers.lima_device import (
    COLUMNS,
    ROWS,
    FakeLima,
    FakeLima2,
    FakeMotor,
    MemoryDevice,
    lima2_bytes,
    lima_bytes,
    memory_lima,
    memory_lima2,
    pixels,
)
from tests.helpers.series import FIXED_DEG


@given(
    arrays.arrays(st.sampled_from(TYPES), arrays.array_shapes(min_dims=2, max_dims=3, max_side=6)),
    st.integers(0, 2**64 - 1),
    st.sampled_from([1, 2, 3, 4]),
)
def test_images_survive_both_ways(image: Any, number: int, version: int) -> None:
    decoded = decode_image(("DATA_ARRAY", encode_image(image, number, 77, version)))

    np.testing.assert_array_equal(decoded.data, image)
    assert decoded.data.dtype == image.dtype
    assert decoded.frame_number == (number if version >= 3 else None)
    assert decoded.acquisition_tag == (77 if version >= 4 else None)


def test_bytes_are_those_of_the_public_servers() -> None:
    assert encode_image(pixels(3), 3, 0xFFFFFFFF) == lima_bytes(3)
    np.testing.assert_array_equal(decode_image(("DATA_ARRAY", lima_bytes(3))).data, pixels(3))
    dense = decode_image(("DENSE_FRAME", lima2_bytes(4)))
    np.testing.assert_array_equal(dense.data, pixels(4, "uint32")[np.newaxis])
    assert dense.frame_number == 4


def test_big_endian_images_keep_their_value() -> None:
    content = bytearray(encode_image(np.array([[258]], ">u2")))
    content[16:18], content[-2:] = b"\x01\x00", b"\x01\x02"

    assert decode_image(("DATA_ARRAY", bytes(content))).data.tolist() == [[258]]


def _changed(start: int, value: bytes) -> tuple[str, bytes]:
    content = bytearray(lima_bytes(0))
    content[start : start + len(value)] = value
    return "DATA_ARRAY", bytes(content)


@pytest.mark.parametrize(
    ("encoded", "said"),
    [
        (("VIDEO_IMAGE", b""), "format 'VIDEO_IMAGE', DATA_ARRAY or DENSE_FRAME expected"),
        (("DATA_ARRAY", b"DTAY"), "of 4 bytes, a header of at least 64 expected"),
        (_changed(0, b"XXXX"), "magic 0x58585858"),
        (_changed(4, b"\0\0"), "version 0"),
        (_changed(6, b"\x10\0"), "says its header has 16 bytes"),
        (_changed(6, b"\xff\xff"), "says its header has 65535 bytes"),
        (_changed(12, b"\x0a"), "data type 10, 0 to 9 expected"),
        (_changed(18, b"\x09"), r"of shape \(5, 7\)|of shape"),
        (_changed(18, b"\x00"), r"of shape \(\)"),
        (_changed(20, b"\xff\xff\xff\xff"), r"of shape \(65535, 65535\) uint16 takes 8589672450 bytes"),
        (_changed(20, b"\0\0"), r"of shape \(5, 0\)"),
        (("DATA_ARRAY", lima_bytes(0)[:-1]), "takes 70 bytes, an image of the 69 sent"),
    ],
)
def test_what_is_not_an_image_is_refused(encoded: tuple[str, bytes], said: str) -> None:
    with pytest.raises(WireError, match=said):
        decode_image(encoded)


@given(st.binary(max_size=200), st.integers(0, 80))
def test_foreign_bytes_never_do_more_than_raise(content: bytes, kept: int) -> None:
    for candidate in (content, lima_bytes(0)[:kept] + content):
        with contextlib.suppress(WireError):
            assert decode_image(("DATA_ARRAY", candidate)).data.size


def test_only_what_lima_can_send_is_encoded() -> None:
    with pytest.raises(ValueError, match="complex64 in 2 dimensions"):
        encode_image(np.zeros((2, 2), np.complex64))


def drain(source: LimaSource) -> list[Message]:
    messages: list[Message] = []
    while (message := source.receive(0.0)) is not None:
        messages.append(message)
    return messages


def has_images(device: MemoryDevice, *numbers: int) -> None:
    device.images = {number: ("DATA_ARRAY", lima_bytes(number)) for number in numbers}
    device.attributes["last_image_ready"] = max(numbers)


def test_acquisition_is_a_series_image_by_image() -> None:
    device = memory_lima()
    angle = iter(np.arange(10) / 10)
    source = LimaSource(device, lambda: {"eta": next(angle)}, {"instrument": "ID01", "rocking_axis": "eta"})
    assert drain(source) == []

    device.attributes["acq_status"] = "Running"
    (start,) = drain(source)
    has_images(device, 0, 1)
    first = drain(source)
    has_images(device, 0, 1, 2, 3)
    second = drain(source)
    device.attributes["acq_status"] = "Ready"
    (end,) = drain(source)

    assert isinstance(start, SeriesStart)
    assert (start.shape, start.dtype, start.number_of_images) == ((ROWS, COLUMNS), "uint16", 4)
    assert start.user_data == {"roi": [20, 25, 10, 17], "instrument": "ID01", "rocking_axis": "eta"}
    assert start.header["pixel_size_x"] == 5.5e-5
    assert start.header["pixel_size_y"] == 5.6e-5
    assert start.header["count_time"] == 0.1
    frames = [message for message in first + second if isinstance(message, Frame)]
    assert [frame.image_id for frame in frames] == [0, 1, 2, 3]
    assert [frame.positions["eta"] for frame in frames] == [0.0, 0.1, 0.2, 0.3]
    assert frames[3].start_time_s == pytest.approx(0.3)
    for frame in frames:
        np.testing.assert_array_equal(frame.data["threshold_1"], pixels(frame.image_id))
        assert frame.series_unique_id == start.series_unique_id
    assert end == SeriesEnd(series_id=1, series_unique_id=start.series_unique_id)
    assert drain(source) == []
    source.close()


def test_images_of_a_series_before_ours_are_left_alone() -> None:
    device = memory_lima(last_image_ready=3)

    assert drain(LimaSource(device)) == []


def test_series_that_ran_between_two_looks_is_read_whole() -> None:
    device = memory_lima(last_image_ready=3)
    source = LimaSource(device)

    device.attributes["last_image_ready"] = -1
    assert drain(source) == []
    has_images(device, 0, 1)
    start, *frames, end = drain(source)

    assert isinstance(start, SeriesStart)
    assert len(frames) == 2
    assert isinstance(end, SeriesEnd)


def test_new_acquisition_without_a_pause_is_a_new_series() -> None:
    device = memory_lima(acq_status="Running")
    source = LimaSource(device)
    has_images(device, 0, 1, 2)
    assert len(drain(source)) == 4

    has_images(device, 0)
    end, start, frame = drain(source)

    assert isinstance(end, SeriesEnd)
    assert isinstance(start, SeriesStart)
    assert isinstance(frame, Frame)
    assert start.series_unique_id != end.series_unique_id


def test_image_that_left_the_buffer_is_counted_and_the_next_one_comes(caplog: pytest.LogCaptureFixture) -> None:
    device = memory_lima(acq_status="Running")
    source = LimaSource(device)
    has_images(device, 2, 3)
    device.images[3] = ("DATA_ARRAY", lima_bytes(7))

    with caplog.at_level(logging.WARNING):
        _, frame = drain(source)

    assert isinstance(frame, Frame)
    assert frame.image_id == 2
    assert source.lost == 3
    assert "image 0 is lost" in caplog.text
    assert "asked for image 3, got 7" in caplog.text


def test_device_that_dies_raises_and_may_come_back() -> None:
    device = memory_lima(acq_status="Running")
    source = LimaSource(device)
    has_images(device, 0, 1)
    source.receive(0.0)

    device.dead = True
    with pytest.raises(DeviceError):
        source.receive(0.0)
    device.dead = False
    frame = source.receive(0.0)

    assert isinstance(frame, Frame)
    assert frame.image_id == 1


@pytest.mark.parametrize(
    ("changes", "encoded", "said"),
    [
        ({}, ("DATA_ARRAY", b"nonsense"), "id01/limaccds/fake: image 0: DATA_ARRAY of 8 bytes"),
        ({}, ("DATA_ARRAY", encode_image(np.zeros((2, 3, 3), np.uint16))), r"image 0 of shape \(2, 3, 3\)"),
        ({"image_type": "Bpp24"}, None, None),
        ({"image_type": "RGB"}, None, "pixels of type 'RGB', one like Bpp16 or gray16 expected"),
    ],
)
def test_what_cannot_be_streamed_stops_with_the_name_of_the_device(changes: Any, encoded: Any, said: Any) -> None:
    device = memory_lima(acq_status="Running", **changes)
    source = LimaSource(device)
    device.attributes["last_image_ready"], device.images = 0, {0: encoded}

    if said is None:
        start = source.receive(0.0)
        assert isinstance(start, SeriesStart)
        assert start.dtype == "uint32"
        return
    with pytest.raises(SourceError, match=said):
        drain(source)


def test_receive_waits_no_longer_than_told(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("service.adapters.lima.source.time.sleep", slept.append)
    monkeypatch.setattr("service.adapters.lima.source.time.monotonic", lambda: 0.001 * len(slept))

    assert LimaSource(memory_lima()).receive(0.01) is None
    assert len(slept) == 10
    assert max(slept) <= 0.002


def test_lima2_serves_one_acquisition_and_ends() -> None:
    device = memory_lima2()
    source = LimaSource(device)
    (start,) = drain(source)
    device.images = {number: ("DENSE_FRAME", lima2_bytes(number)) for number in range(2)}
    device.attributes |= {"last_frames": json.dumps({"processed_idx": 1}), "is_finished": True}

    first, second, end = (source.receive(0.0) for _ in range(3))

    assert isinstance(start, SeriesStart)
    assert (start.shape, start.dtype, start.number_of_images) == ((ROWS, COLUMNS), "uint32", None)
    assert isinstance(first, Frame)
    assert isinstance(second, Frame)
    np.testing.assert_array_equal(second.data["threshold_1"], pixels(1, "uint32"))
    assert isinstance(end, SeriesEnd)
    with pytest.raises(EndOfStream, match="its only acquisition is over"):
        source.receive(0.0)


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({"nb_channels": 2, "pixel_type": "gray16"}, "2 channels a frame, one expected"),
        ({"nb_channels": 1, "pixel_type": "rgb"}, "pixels of type 'rgb'"),
    ],
)
def test_lima2_frames_that_cannot_be_streamed_are_refused(info: dict[str, Any], said: str) -> None:
    whole = {"dimensions": {"x": 7, "y": 5}} | info

    with pytest.raises(SourceError, match=said):
        drain(LimaSource(memory_lima2(input_frame_info=json.dumps(whole))))


def test_other_devices_are_refused() -> None:
    with pytest.raises(DeviceError, match="no answer to progress_counters"):
        open_camera(MemoryDevice())


@pytest.fixture(scope="module")
def addresses() -> Iterator[Callable[[str], str]]:
    """LImA, LImA2 and motors served by Tango from a process of their own, without a database: name -> address."""
    motors = [{"name": f"id01/motor/{axis}"} for axis in ("theta", *FIXED_DEG)]
    classes = ({"class": FakeLima, "devices": [{"name": "id01/limaccds/fake"}]},
               {"class": FakeLima2, "devices": [{"name": "id01/limaprocessing/fake@0"}]},
               {"class": FakeMotor, "devices": motors})  # fmt: skip
    with MultiDeviceTestContext(classes, process=True, host="127.0.0.1", timeout=30) as context:
        yield context.get_device_access


@pytest.fixture
def devices(addresses: Callable[[str], str]) -> tuple[Device, Device]:
    return TangoDevice(addresses("id01/limaccds/fake")), TangoDevice(addresses("id01/limaprocessing/fake@0"))


def test_lima_over_real_tango(devices: tuple[Device, Device]) -> None:
    lima, _ = devices
    source = LimaSource(lima, user_data={"instrument": "ID01"})
    assert drain(source) == []

    lima.command("startAcq")
    lima.command("acquire", 3)
    lima.command("forget", 1)
    begun = drain(source)
    lima.command("acquire", 1)
    lima.command("finish")
    last, end = drain(source)

    start, *frames = begun
    assert isinstance(start, SeriesStart)
    assert (start.shape, start.number_of_images, start.user_data) == ((ROWS, COLUMNS), 4, {"instrument": "ID01"})
    images = [message for message in [*frames, last] if isinstance(message, Frame)]
    assert [frame.image_id for frame in images] == [1, 2, 3]
    assert source.lost == 1
    for frame in images:
        np.testing.assert_array_equal(frame.data["threshold_1"], pixels(frame.image_id))
    assert isinstance(end, SeriesEnd)


def test_lima2_over_real_tango(devices: tuple[Device, Device]) -> None:
    source = LimaSource(devices[1])

    messages = [source.receive(0.0) for _ in range(5)]

    kinds = [type(message) for message in messages]
    assert kinds == [SeriesStart, Frame, Frame, Frame, SeriesEnd]
    assert isinstance(messages[2], Frame)
    np.testing.assert_array_equal(messages[2].data["threshold_1"], pixels(1, "uint32"))


def test_settings_make_a_volume_of_a_lima_stream(addresses: Callable[[str], str]) -> None:
    """Motors from `streamer.axes`, the rest from `geometry` and from LImA itself."""
    motors = {axis: addresses(f"id01/motor/{axis}") for axis in ("theta", *FIXED_DEG)}
    streamer = {"source": "lima", "path": addresses("id01/limaccds/fake"), "axes": motors}
    settings = parse_settings({"streamer": streamer, "geometry": {"energy_kev": 9.0, "distance_m": 0.5}})
    lima, theta = TangoDevice(streamer["path"]), TangoDevice(motors["theta"])
    for axis, angle_deg in FIXED_DEG.items():
        TangoDevice(motors[axis]).write("position", angle_deg)
    lima.command("startAcq")
    source, assembler = compose.frame_source(settings), SeriesAssembler(settings)
    messages = drain(source)
    for angle_deg in (0.2, 0.205, 0.21, 0.215):
        theta.write("position", angle_deg)
        lima.command("acquire", 1)
        messages += drain(source)
    lima.command("finish")

    (volume,) = [event for message in messages for event in assembler.feed(message, 0.0)]

    assert isinstance(volume, Volume)
    geometry = volume.geometry
    assert (geometry.rocking_axis, dict(geometry.angles_deg)) == ("theta", FIXED_DEG)
    np.testing.assert_allclose(geometry.rocking_deg, (0.2, 0.205, 0.21, 0.215))
    assert (geometry.energy_kev, geometry.distance_m, geometry.pixel_size_m) == (9.0, 0.5, (5.5e-5, 5.5e-5))
