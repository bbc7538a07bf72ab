"""Frames of a LImA or LImA2 detector, read image by image while the acquisition runs."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from service.adapters.lima.camera import Acquisition, Camera, Device, open_camera
from service.adapters.scans.scan import CHANNEL, STREAM_TYPES, as_counts
from service.errors import DeviceError, SourceError
from service.ports import EndOfStream
from service.records import Frame, Message, SeriesEnd, SeriesStart

POLL_S = 0.002  # between two looks at a detector that has nothing new
LOG = logging.getLogger(__name__)


def no_positions() -> Mapping[str, float]:
    """Where nobody reads the motors."""
    return {}


class LimaSource:
    """A detector's acquisitions as a FrameSource; each is a series, begun when LImA runs or has new images.

    LImA knows no motors: `positions` is asked right after each image (axis -> degrees), which is right for scans that
    step and wait for the image; `user_data` is merged into that of the series. An image that has left LImA's ring
    buffer is logged and counted in `lost`; its number is missing from the stream, so the receiver counts it too.
    `receive` raises DeviceError where the device does not answer, SourceError for what is not an image, and for
    LImA2, whose devices serve one acquisition, EndOfStream after it.
    """

    def __init__(
        self,
        device: Device,
        positions: Callable[[], Mapping[str, float]] = no_positions,
        user_data: Mapping[str, Any] | None = None,
    ) -> None:
        self._camera: Camera = open_camera(device)
        self._positions, self._user_data = positions, dict(user_data or {})
        self._series: SeriesStart | None = None
        self._count_time_s = 0.0
        self._series_id = 0
        self._next = 0
        self._finished = False
        self.lost = 0
        progress = self._camera.progress()
        # What a detector at rest still holds belongs to a series that is over.
        old = not progress.running and not self._camera.one_acquisition
        self._last = progress.last if old else -1

    def receive(self, timeout_s: float) -> Message | None:
        deadline_s = time.monotonic() + timeout_s
        while (message := self._poll()) is None:
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0:
                return None
            time.sleep(min(POLL_S, remaining_s))
        return message

    def close(self) -> None:
        """Nothing is held but the device, which its owner closes."""

    def _poll(self) -> Message | None:
        if self._finished:
            raise EndOfStream(f"{self._camera.name}: its only acquisition is over")
        if self._series is None:
            return self._begin()
        if self._next > self._last:
            progress = self._camera.progress()
            restarted = progress.last < self._last
            self._last = progress.last
            if restarted or (not progress.running and self._next > self._last):
                return self._end(self._series)
        return self._image(self._series)

    def _begin(self) -> SeriesStart | None:
        progress = self._camera.progress()
        if not progress.running and progress.last <= self._last:
            self._last = progress.last
            return None
        self._series_id += 1
        self._next, self._last = 0, progress.last
        about = self._camera.describe()
        self._count_time_s = float(about.header.get("count_time", 0.0))
        self._series = self._start(about)
        return self._series

    def _start(self, about: Acquisition) -> SeriesStart:
        if about.dtype not in STREAM_TYPES:
            raise SourceError(f"{self._camera.name}: pixels of type {about.dtype}, counts expected")
        return SeriesStart(
            series_id=self._series_id,
            series_unique_id=uuid.uuid4().hex,
            number_of_images=about.number_of_images,
            channels=(CHANNEL,),
            shape=about.shape,
            dtype=STREAM_TYPES[about.dtype],
            user_data=about.user_data | self._user_data,
            header=about.header,
        )

    def _image(self, series: SeriesStart) -> Frame | None:
        while self._next <= self._last:
            number = self._next
            self._next += 1
            try:
                image = self._camera.image(number)
            except DeviceError as error:
                self._camera.progress()  # a device that does not answer at all raises here
                self.lost += 1
                LOG.warning("%s: image %d is lost: %s", self._camera.name, number, error)
                continue
            return Frame(
                series_id=series.series_id,
                series_unique_id=series.series_unique_id,
                image_id=number,
                data={CHANNEL: as_counts(image, series.dtype, self._camera.name)},
                positions=dict(self._positions()),
                start_time_s=number * self._count_time_s,
                count_time_s=self._count_time_s,
            )
        return None

    def _end(self, series: SeriesStart) -> SeriesEnd:
        self._series = None
        self._finished = self._camera.one_acquisition
        return SeriesEnd(series_id=series.series_id, series_unique_id=series.series_unique_id)
