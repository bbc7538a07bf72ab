"""A recorded scan played as a stream: the same messages that a detector would send."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.adapters.scans.scan import CHANNEL, RecordedScan
from service.ports import EndOfStream
from service.records import Frame, Message, SeriesEnd, SeriesStart

# One block is being played and one is being read: memory stays below about three of these whatever the scan's size.
BLOCK_BYTES = 16_000_000


class ReplaySource:
    """Frames of a recorded scan as a FrameSource; each pass is a new series with an id of its own.

    `passes` is how often the scan is played, None for without end. A thread reads the next block of frames while this
    one is played. Raises SourceError where a frame cannot be read, EndOfStream after the last pass. Closes the scan.
    """

    def __init__(self, scan: RecordedScan, passes: int | None = 1, first_series_id: int = 1) -> None:
        self._scan = scan
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="replay")
        passing = itertools.count() if passes is None else range(passes)
        self._requests = ((series, span) for series in passing for span in (None, *_blocks(scan)))
        self._messages: Iterator[Message] = iter(())
        self._first_series_id = first_series_id
        self._series: tuple[int, str] = (0, "")
        self._next = self._request()

    def receive(self, timeout_s: float) -> Message | None:
        """The next message; None where the disk did not give its block within `timeout_s`."""
        message = next(self._messages, None)
        while message is None:
            if self._next is None:
                raise EndOfStream(f"{self._scan.path}: played to its end")
            try:
                self._messages = self._next.result(timeout_s)
            except TimeoutError:
                return None
            self._next = self._request()
            message = next(self._messages, None)
        return message

    def close(self) -> None:
        self._next = None
        self._messages = iter(())
        self._reader.shutdown(wait=True, cancel_futures=True)
        self._scan.close()

    def _request(self) -> Future[Iterator[Message]] | None:
        request = next(self._requests, None)
        return None if request is None else self._reader.submit(self._prepare, *request)

    def _prepare(self, series: int, span: tuple[int, int] | None) -> Iterator[Message]:
        """In the reading thread: the opening of a series, or the frames of one block (and the end after the last)."""
        if span is None:
            self._series = (self._first_series_id + series, uuid.uuid4().hex)
            return iter((series_start(self._scan, *self._series),))
        block = self._scan.read(*span)
        return self._play(block, span, *self._series)

    def _play(
        self, block: NDArray[Any], span: tuple[int, int], series_id: int, series_unique_id: str
    ) -> Iterator[Message]:
        for offset, image in enumerate(block):
            yield series_frame(self._scan, span[0] + offset, image, series_id, series_unique_id)
        if span[1] == self._scan.number_of_images:
            yield SeriesEnd(series_id=series_id, series_unique_id=series_unique_id)


def series_start(scan: RecordedScan, series_id: int, series_unique_id: str) -> SeriesStart:
    """The opening message of a recorded scan."""
    return SeriesStart(
        series_id=series_id,
        series_unique_id=series_unique_id,
        number_of_images=scan.number_of_images,
        channels=(CHANNEL,),
        shape=scan.shape,
        dtype=scan.dtype,
        pixel_mask=scan.mask,
        flatfield=scan.flat,
        dark=scan.dark,
        user_data=scan.user_data,
        header=scan.header,
    )


def series_frame(scan: RecordedScan, index: int, image: NDArray[Any], series_id: int, series_unique_id: str) -> Frame:
    """Message of frame `index`, whose counts [row, column] are `image`."""
    return Frame(
        series_id=series_id,
        series_unique_id=series_unique_id,
        image_id=index,
        data={CHANNEL: image},
        positions={name: float(values[index]) for name, values in scan.moving.items()},
        monitor=float(scan.monitor[index]),
        transmission=float(scan.transmission[index]),
        start_time_s=float(np.sum(scan.count_time_s[:index])),
        count_time_s=float(scan.count_time_s[index]),
    )


def _blocks(scan: RecordedScan) -> list[tuple[int, int]]:
    """Spans of frames of about BLOCK_BYTES that hold whole chunks, so that no chunk is decompressed twice."""
    frame_bytes = scan.shape[0] * scan.shape[1] * np.dtype(scan.dtype).itemsize
    frames = max(1, BLOCK_BYTES // frame_bytes)
    chunk = scan.frames.chunk
    frames = max(chunk, frames - frames % chunk) if chunk * frame_bytes <= 4 * BLOCK_BYTES else frames
    count = scan.number_of_images
    return [(start, min(start + frames, count)) for start in range(0, count, frames)]
