"""A recorded scan as a stream."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from service.adapters import replay
from service.adapters.replay import ReplaySource
from service.adapters.scans.hdf5 import open_hdf5
from service.adapters.scans.scan import Facts, build_scan
from service.errors import SourceError
from service.ports import EndOfStream, FrameSource
from service.records import Frame, Message, SeriesEnd, SeriesStart
from tests.helpers import recordings

PATIENCE_S = 10.0


def play(source: FrameSource) -> list[Message]:
    messages: list[Message] = []
    with contextlib.suppress(EndOfStream):
        while (message := source.receive(PATIENCE_S)) is not None:
            messages.append(message)
    with pytest.raises(EndOfStream):
        source.receive(0.0)
    source.close()
    return messages


def test_one_pass_is_one_series_with_all_that_the_file_says(tmp_path: Path) -> None:
    scan = open_hdf5(recordings.write_nexus(tmp_path / "scan.h5"))

    start, *frames, end = play(ReplaySource(scan))

    assert isinstance(start, SeriesStart)
    assert start.number_of_images == len(frames) == recordings.FRAMES
    assert (start.shape, start.dtype, start.channels) == ((6, 9), "uint16", ("threshold_1",))
    assert start.user_data is scan.user_data
    assert start.header is scan.header
    assert start.pixel_mask is scan.mask
    assert start.flatfield is scan.flat
    assert start.dark is scan.dark
    for index, frame in enumerate(frames):
        assert isinstance(frame, Frame)
        assert (frame.series_id, frame.series_unique_id) == (start.series_id, start.series_unique_id)
        assert frame.image_id == index
        np.testing.assert_array_equal(frame.data["threshold_1"], recordings.counts()[index])
        assert frame.positions == {"theta": pytest.approx(recordings.ANGLES[index])}
        assert (frame.monitor, frame.transmission, frame.count_time_s) == (index + 1, 0.5, 0.25)
        assert frame.start_time_s == pytest.approx(0.25 * index)
    assert end == SeriesEnd(series_id=start.series_id, series_unique_id=start.series_unique_id)


def test_every_pass_is_a_series_of_its_own(tmp_path: Path) -> None:
    messages = play(ReplaySource(open_hdf5(recordings.write_nexus(tmp_path / "scan.h5")), passes=3, first_series_id=5))

    starts = [message for message in messages if isinstance(message, SeriesStart)]
    assert [start.series_id for start in starts] == [5, 6, 7]
    assert len({start.series_unique_id for start in starts}) == 3
    assert sum(isinstance(message, Frame) for message in messages) == 3 * recordings.FRAMES
    assert sum(isinstance(message, SeriesEnd) for message in messages) == 3


def test_without_end_it_begins_again_and_may_be_closed_at_any_time(tmp_path: Path) -> None:
    source = ReplaySource(open_hdf5(recordings.write_nexus(tmp_path / "scan.h5")), passes=None)

    seen = [source.receive(PATIENCE_S) for _ in range(4 * (recordings.FRAMES + 2) + 3)]

    assert sum(isinstance(message, SeriesStart) for message in seen) == 5
    source.close()
    source.close()
    with pytest.raises(EndOfStream):
        source.receive(0.0)


@pytest.mark.parametrize(("block_bytes", "chunk", "expected"), [
    (108 * 3, 1, [(0, 3), (3, 6), (6, 7)]),
    (108 * 3, 2, [(0, 2), (2, 4), (4, 6), (6, 7)]),
    (1, 1, [(index, index + 1) for index in range(7)]),
    (1, 4, [(index, index + 1) for index in range(7)]),
    (108 * 2, 4, [(0, 4), (4, 7)]),
])  # fmt: skip
def test_blocks_hold_whole_chunks_where_those_are_not_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int, chunk: int, expected: list[tuple[int, int]]
) -> None:
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("entry/instrument/detector/data", data=recordings.counts(), chunks=(chunk, 6, 9))
    monkeypatch.setattr(replay, "BLOCK_BYTES", block_bytes)
    scan = open_hdf5(path)
    asked: list[tuple[int, int]] = []
    read = scan.frames.read
    monkeypatch.setattr(scan.frames, "read", lambda start, stop: (asked.append((start, stop)), read(start, stop))[1])

    _, *frames, _ = play(ReplaySource(scan))

    assert asked == expected
    stack = np.stack([frame.data["threshold_1"] for frame in frames if isinstance(frame, Frame)])
    np.testing.assert_array_equal(stack, recordings.counts())


class SlowFrames:
    """Frames that come when the test lets them."""

    count, shape, dtype, chunk = 3, (2, 2), "uint8", 1

    def __init__(self) -> None:
        self.gate, self.fails, self.closed = threading.Event(), False, False

    def read(self, start: int, stop: int) -> np.ndarray[Any, Any]:
        self.gate.wait(PATIENCE_S)
        if self.fails:
            raise SourceError("scan.h5: damaged")
        return np.zeros((stop - start, 2, 2), np.uint8)

    def close(self) -> None:
        self.closed = True


def test_slow_disk_gives_none_in_time_and_the_frame_later() -> None:
    frames = SlowFrames()
    source = ReplaySource(build_scan(Path("scan.h5"), "", frames, Facts()))

    assert isinstance(source.receive(PATIENCE_S), SeriesStart)
    assert source.receive(0.01) is None
    frames.gate.set()
    assert isinstance(source.receive(PATIENCE_S), Frame)
    source.close()
    assert frames.closed


def test_frame_that_cannot_be_read_raises_what_the_reader_said() -> None:
    frames = SlowFrames()
    frames.fails = True
    frames.gate.set()
    source = ReplaySource(build_scan(Path("scan.h5"), "", frames, Facts()))

    source.receive(PATIENCE_S)
    with pytest.raises(SourceError, match="damaged"):
        source.receive(PATIENCE_S)
    source.close()


def test_memory_stays_small_whatever_the_size_of_the_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counted(SlowFrames):
        count, shape, largest = 100_000, (64, 64), 0

        def read(self, start: int, stop: int) -> np.ndarray[Any, Any]:
            Counted.largest = max(Counted.largest, stop - start)
            return np.zeros((stop - start, 64, 64), np.uint8)

    monkeypatch.setattr(replay, "BLOCK_BYTES", 64 * 64 * 10)
    source = ReplaySource(build_scan(Path("scan.h5"), "", Counted(), Facts()))

    for _ in range(100):
        source.receive(PATIENCE_S)
    source.close()
    assert Counted.largest == 10
