"""What every source of frames keeps to, whatever stands behind it: files of each layout, LImA, the twin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from service.adapters.lima.source import LimaSource
from service.adapters.replay import ReplaySource
from service.adapters.scans.recorded import open_scan
from service.adapters.twin import TwinSource
from service.ports import EndOfStream, FrameSource
from service.records import Frame, Message, SeriesEnd, SeriesStart
from service.settings import TwinSettings
from service.wire import messages as wire
from tests.helpers import recordings
from tests.helpers.lima_device import lima2_bytes, memory_lima2

PATIENCE_S = 10.0


def spec_folder(folder: Path) -> Path:
    recordings.write_spec(folder / "run.spec")
    return recordings.write_images(folder / "images_S0054")


def lima(_: Path) -> FrameSource:
    device = memory_lima2(is_finished=True, last_frames='{"processed_idx": 2}')
    device.images = {number: ("DENSE_FRAME", lima2_bytes(number)) for number in range(3)}
    return LimaSource(device, lambda: {"eta": 0.5}, {"instrument": "ID01"})


def replayed(write: Callable[[Path], Path], scan: str = "") -> Callable[[Path], FrameSource]:
    return lambda folder: ReplaySource(open_scan(write(folder), scan))


SOURCES: dict[str, Callable[[Path], FrameSource]] = {
    "nexus": replayed(lambda folder: recordings.write_nexus(folder / "scan.h5")),
    "lima file": replayed(lambda folder: recordings.write_lima(folder / "lima.h5")),
    "cxi": replayed(lambda folder: recordings.write_cxi(folder / "scan.cxi")),
    "bliss": replayed(recordings.write_bliss, "3.1"),
    "dectris": replayed(recordings.write_dectris),
    "images": replayed(recordings.write_images),
    "images with spec": replayed(spec_folder),
    "lima": lima,
    "twin": lambda _: TwinSource(TwinSettings(frames=3, rows=32, columns=32)),
}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FrameSource]:
    made: FrameSource = SOURCES[request.param](tmp_path)
    yield made
    made.close()


def read(source: FrameSource) -> list[Message]:
    messages: list[Message] = []
    while True:
        try:
            message = source.receive(PATIENCE_S)
        except EndOfStream:
            return messages
        assert message is not None
        messages.append(message)


def test_a_series_is_a_start_its_frames_and_an_end(source: FrameSource) -> None:
    start, *frames, end = read(source)

    assert isinstance(start, SeriesStart)
    assert isinstance(end, SeriesEnd)
    images = [frame for frame in frames if isinstance(frame, Frame)]
    assert len(images) == len(frames) == (start.number_of_images or len(frames))
    assert [frame.image_id for frame in images] == list(range(len(images)))
    identity = (start.series_id, start.series_unique_id)
    assert start.series_unique_id
    for frame in images:
        assert (frame.series_id, frame.series_unique_id) == identity
        assert set(frame.data) == set(start.channels)
        for image in frame.data.values():
            assert (image.shape, image.dtype) == (start.shape, np.dtype(start.dtype))
    assert (end.series_id, end.series_unique_id) == identity


def test_the_rocking_axis_is_one_that_the_frames_have(source: FrameSource) -> None:
    start, first, *_ = read(source)

    assert isinstance(start, SeriesStart)
    assert isinstance(first, Frame)
    assert start.user_data.get("rocking_axis", next(iter(first.positions), None)) in {None, *first.positions}
    assert not set(start.user_data.get("positions", {})) & set(first.positions)


def test_every_message_travels(source: FrameSource) -> None:
    for message in read(source):
        arrived = wire.decode(wire.encode(message, "bslz4"))

        assert type(arrived) is type(message)
        if isinstance(message, Frame) and isinstance(arrived, Frame):
            np.testing.assert_array_equal(next(iter(arrived.data.values())), next(iter(message.data.values())))
            assert arrived.positions == pytest.approx(dict(message.positions))
            assert (arrived.monitor, arrived.transmission) == (message.monitor, message.transmission)
        if isinstance(message, SeriesStart) and isinstance(arrived, SeriesStart):
            for plane in ("pixel_mask", "flatfield", "dark"):
                sent, got = getattr(message, plane), getattr(arrived, plane)
                assert (sent is None) == (got is None), plane
                assert sent is None or np.array_equal(sent, got), plane
            assert {key: arrived.user_data[key] for key in message.user_data} == dict(message.user_data)
            assert {key: arrived.header[key] for key in message.header} == dict(message.header)


def test_the_end_stays_the_end_and_closing_twice_is_safe(source: FrameSource) -> None:
    read(source)

    with pytest.raises(EndOfStream):
        source.receive(0.0)
    source.close()
    source.close()


def test_closing_in_mid_series_is_safe(source: FrameSource) -> None:
    source.receive(PATIENCE_S)
    source.receive(PATIENCE_S)

    source.close()
