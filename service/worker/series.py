"""One series while it is filled: planes at their place, each image counted once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import DataError, SequenceError, WireError, one_line
from service.records import Accounting, Frame, SeriesStart, Volume
from service.settings import Settings
from service.worker.buffers import Buffers
from service.worker.geometry import geometry_of, goniometer_positions

Plane = NDArray[np.float32]

BYTES_PER_VOXEL = 5  # float32 counts and a bool mask
LARGEST_POSITION = 1e6  # degrees, or metres of a translation: more is no position
FACTORS = (1e-30, 1e30)  # of an exposure: beyond them sums and ratios leave floating point
PIXELS_AT_ONCE = 1 << 16  # so that the steps of filling a plane meet in the caches
FIRST_IMAGES = 64  # room for a series of unknown length, doubled when it is full


class OpenSeries:
    """A series from its start to its volume.

    Memory is claimed once, from `buffers`, when the start says how many images come.
    Raises DataError where the series would take more than `settings.worker.series_max_bytes`.
    """

    def __init__(self, start: SeriesStart, settings: Settings, buffers: Buffers) -> None:
        self.start = start
        self._buffers = buffers
        self._settings = settings
        self._channel = self._choose_channel()
        self._room = self._check_size(start.number_of_images or 1)
        count = start.number_of_images or min(FIRST_IMAGES, self._room)
        try:
            self._counts, self._mask = self._room_for(count)
            # Pixels that had data in some image, so that they are no gaps; that said in some image that they had none.
            self._counted, self._negative = (np.zeros(start.shape, np.bool_) for _ in range(2))
        except MemoryError as error:
            raise DataError(f"series of {count} images {start.shape}: {error}; see worker.series_max_bytes") from error
        self._largest = _largest_good(start, settings)
        self._dark, self._flat = start.dark, _told_flat(start)
        self._good = _good_pixels(start.pixel_mask, self._dark, self._flat)
        self._gapless: set[int] = set()  # first rows of pieces without a gap, so that those are not touched again
        self._exposures: dict[int, Frame] = {}
        self._axes: frozenset[str] | None = None
        self._rejected: set[int] = set()
        self._first_rejection = ""
        self._duplicates = 0

    @property
    def full(self) -> bool:
        """True when every announced image is here."""
        return len(self._exposures) == self.start.number_of_images

    @property
    def settled(self) -> bool:
        """True when every announced image was received or rejected."""
        return len(self._exposures.keys() | self._rejected) == self.start.number_of_images

    @property
    def accounting(self) -> Accounting:
        sent = self.start.number_of_images or max(self._exposures.keys() | self._rejected, default=-1) + 1
        received, rejected = len(self._exposures), len(self._rejected - self._exposures.keys())
        return Accounting(
            sent=sent,
            received=received,
            missed=sent - received - rejected,
            rejected=rejected,
            duplicates=self._duplicates,
        )

    def add(self, frame: Frame) -> bool:
        """Take one image; False for a duplicate. Raises SequenceError or WireError and counts the image as rejected."""
        self._check_place(frame.image_id)
        if frame.image_id in self._exposures:
            self._duplicates += 1
            return False
        try:
            self._check(frame)
            self._put(frame.image_id, frame.data[self._channel_of(frame)])
        except WireError as error:
            self.reject(frame.image_id, error)
            raise
        self._axes = frozenset(frame.positions)
        self._exposures[frame.image_id] = _without_data(frame)
        return True

    def reject(self, image_id: int, error: WireError) -> None:
        """Count an image that could not be read; raise SequenceError where it is none of this series."""
        self._check_place(image_id)
        self._rejected.add(image_id)
        self._first_rejection = self._first_rejection or f"first rejected: {one_line(error)}"

    def volume(self, metadata: Mapping[str, Any]) -> Volume:
        """Return what arrived, in image order; missing images are masked planes on the line of the angles.

        Raises DataError below two images, GeometryError where the angles do not make a rocking scan.
        """
        accounting, start = self.accounting, self.start
        if accounting.received < 2:
            few = f"{accounting.received} of {accounting.sent} images arrived, expected at least two"
            raise DataError("; ".join(filter(None, (few, self._first_rejection))))
        count = accounting.sent
        received = self._received(count)
        self._counts[:count][~received] = 0.0
        self._mask[:count][~received] = False
        return Volume(
            series_id=start.series_id,
            series_unique_id=start.series_unique_id,
            counts=self._counts[:count],
            mask=self._mask[:count],
            scale=self._scale(count),
            geometry=geometry_of(start, self._positions(count), self._settings.geometry),
            accounting=accounting,
            dark=_filled(self._dark, 0.0, self._good),
            flat=_filled(self._flat, 1.0, self._good),
            received=received,
            working=self._working(),
            metadata=self._metadata() | dict(metadata),
        )

    def _check_size(self, count: int) -> int:
        """Return how many images fit into the limit; raise DataError where `count` do not."""
        limit, per_image = self._settings.worker.series_max_bytes, math.prod(self.start.shape) * BYTES_PER_VOXEL
        if count * per_image > limit:
            raise DataError(
                f"series of {count} images {self.start.shape} takes {count * per_image} bytes,"
                f" worker.series_max_bytes is {limit}"
            )
        return limit // per_image

    def _choose_channel(self) -> str:
        wanted, sent = self._settings.detector.channel, self.start.channels
        if wanted and sent and wanted not in sent:
            raise DataError(f"channel {wanted!r} is not sent, detector.channel must be one of {', '.join(sent)[:80]}")
        return wanted or next(iter(sent), "")

    def _channel_of(self, frame: Frame) -> str:
        return self._channel or next(iter(frame.data))

    def _check_place(self, image_id: int) -> None:
        end = self.start.number_of_images or self._room
        if not 0 <= image_id < end:
            raise SequenceError(f"image {image_id} of series {self.start.series_id}, expected 0 to {end - 1}")

    def _check(self, frame: Frame) -> None:
        channel, start = self._channel_of(frame), self.start
        if channel not in frame.data:
            raise WireError(f"image {frame.image_id} lacks channel {channel!r}: has {', '.join(frame.data)[:80]}")
        image = frame.data[channel]
        if image.shape != start.shape or image.dtype != np.dtype(start.dtype):
            raise WireError(
                f"image {frame.image_id} is {image.shape} {image.dtype}, the series {start.shape} {start.dtype}"
            )
        _check_exposure(frame)
        if self._axes is not None and self._axes != frozenset(frame.positions):
            raise WireError(f"image {frame.image_id} tells positions of other axes than the images before")

    def _put(self, index: int, image: NDArray[Any]) -> None:
        if index >= len(self._counts):
            self._grow(index + 1)
        rows = max(1, PIXELS_AT_ONCE // image.shape[1])
        for first in range(0, image.shape[0], rows):
            self._put_rows(index, slice(first, first + rows), image[first : first + rows])

    def _put_rows(self, index: int, rows: slice, part: NDArray[Any]) -> None:
        counts, mask = self._counts[index, rows], self._mask[index, rows]
        np.copyto(counts, part)
        np.less_equal(part, self._largest, out=mask)
        if part.dtype.kind == "i":
            mask &= part >= 0
        if not mask.all():
            empty = self._without_counts(rows, part)
            np.putmask(counts, empty, 0.0)
            self._counted[rows] |= ~empty
        elif rows.start not in self._gapless:
            self._counted[rows] = True
            self._gapless.add(rows.start)
        if self._good is not None:
            mask &= self._good[rows]

    def _without_counts(self, rows: slice, part: NDArray[Any]) -> NDArray[np.bool_]:
        """Return True where a pixel says "no data", or overflowed: which of both, the other images tell."""
        empty: NDArray[np.bool_] = part == np.iinfo(part.dtype).max
        if part.dtype.kind == "i":
            negative = part < 0
            self._negative[rows] |= negative
            empty |= negative
        return empty

    def _received(self, count: int) -> NDArray[np.bool_]:
        received = np.zeros(count, np.bool_)
        received[list(self._exposures)] = True
        return received

    def _working(self) -> NDArray[np.bool_]:
        """Return True [row, column] where nothing but saturation masks a pixel of an image that came."""
        working = self._counted & ~self._negative
        return working if self._good is None else working & self._good

    def _room_for(self, count: int) -> tuple[Plane, NDArray[np.bool_]]:
        shape = (count, *self.start.shape)
        return self._buffers.empty(shape, np.float32), self._buffers.empty(shape, np.bool_)

    def _grow(self, least: int) -> None:
        """Make room in a series of unknown length."""
        count = min(max(2 * len(self._counts), least), self._room)
        try:
            counts, mask = self._room_for(count)
        except MemoryError as error:
            raise WireError(f"image {least - 1}: {error}; see worker.series_max_bytes") from error
        counts[: len(self._counts)], mask[: len(self._mask)] = self._counts, self._mask
        self._counts, self._mask = counts, mask

    def _positions(self, count: int) -> dict[str, NDArray[np.float64]]:
        if not self._axes:
            return goniometer_positions(self.start.header.get("goniometer"), count)
        positions = {axis: np.full(count, np.nan) for axis in self._axes}
        for image_id, exposure in self._exposures.items():
            for axis, position in exposure.positions.items():
                positions[axis][image_id] = position
        return positions

    def _scale(self, count: int) -> NDArray[np.float32]:
        ids = list(self._exposures)
        factors = np.array([exposure.monitor * exposure.transmission for exposure in self._exposures.values()])
        scale = np.ones(count, np.float32)
        scale[ids] = factors / factors.mean()
        return scale

    def _metadata(self) -> dict[str, Any]:
        names = ("title", "sample", "roi", "instrument")
        told = {name: self.start.user_data[name] for name in names if name in self.start.user_data}
        exposure = next(iter(self._exposures.values()))
        dates = {"arm_date": self.start.header["arm_date"]} if "arm_date" in self.start.header else {}
        why = {"first_rejection": self._first_rejection} if self._first_rejection else {}
        ended_s = max(one.start_time_s + one.count_time_s for one in self._exposures.values())
        exposed = {"count_time_s": exposure.count_time_s, "ended_s": ended_s}
        return told | dates | why | {"channel": self._channel} | exposed


def _largest_good(start: SeriesStart, settings: Settings) -> int:
    """Return the largest value of a pixel that counts.

    DECTRIS marks gaps and dead pixels by the largest value of the type, pixels that overflow too, and says in
    `saturation_value` what the largest true one is; older detectors mark gaps by negative values.
    """
    largest = int(np.iinfo(start.dtype).max) - 1
    said, saturation = start.header.get("saturation_value"), settings.detector.saturation_counts
    if type(said) is int and said > 0:
        largest = min(largest, said)
    return largest if saturation is None or saturation > largest else math.ceil(saturation) - 1


def _told_flat(start: SeriesStart) -> Plane | None:
    """Return the flat field that is still to be applied: a detector that says it is enabled has done so."""
    return None if start.header.get("flatfield_enabled") is True else start.flatfield


def _good_pixels(mask: NDArray[np.bool_] | None, dark: Plane | None, flat: Plane | None) -> NDArray[np.bool_] | None:
    """Return True [row, column] where the sender's planes leave a pixel usable, None where all are."""
    reasons = [
        mask,
        None if dark is None else np.isfinite(dark),
        None if flat is None else np.isfinite(flat) & (flat > 0),
    ]
    known = [reason for reason in reasons if reason is not None]
    return np.logical_and.reduce(known) if known else None


def _filled(plane: Plane | None, neutral: float, good: NDArray[np.bool_] | None) -> Plane | None:
    """Replace what is not a number in pixels that are masked anyway."""
    if plane is None or good is None:
        return plane
    return np.where(good, plane, np.float32(neutral))


def _check_exposure(frame: Frame) -> None:
    for axis, position in frame.positions.items():
        if not abs(position) <= LARGEST_POSITION:
            raise WireError(f"image {frame.image_id}: position of {axis[:40]} is {position}, expected an angle")
    for name, factor in (("monitor", frame.monitor), ("transmission", frame.transmission)):
        if not FACTORS[0] <= factor <= FACTORS[1]:
            raise WireError(f"image {frame.image_id}: {name} is {factor}, expected a number above 0")


def _without_data(frame: Frame) -> Frame:
    return Frame(
        series_id=frame.series_id,
        series_unique_id=frame.series_unique_id,
        image_id=frame.image_id,
        data={},
        positions=frame.positions,
        monitor=frame.monitor,
        transmission=frame.transmission,
        start_time_s=frame.start_time_s,
        count_time_s=frame.count_time_s,
    )
