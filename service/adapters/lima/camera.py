"""What a LImA and a LImA2 device say of a detector, in the same words. Tango itself stays behind `Device`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.adapters.lima.array import decode_image
from service.errors import DeviceError, SourceError, WireError

BPP = re.compile(r"Bpp(\d+)([SF]?)")
KINDS = {"": "uint", "S": "int", "F": "float"}
GRAY = re.compile(r"gray(\d+)([sf]?)")


class Device(Protocol):
    """A Tango device as far as needed here; both methods raise DeviceError."""

    @property
    def name(self) -> str: ...

    def read(self, attribute: str) -> Any: ...

    def command(self, command: str, *argument: Any) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Whether images are still to come, and the number of the last one that can be read (-1: none)."""

    running: bool
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """What is known at its beginning; `dtype` as the device has it, `header` in the terms of stream v2."""

    shape: tuple[int, int]
    dtype: str
    number_of_images: int | None
    header: dict[str, Any] = field(default_factory=dict)
    user_data: dict[str, Any] = field(default_factory=dict)


class Camera(Protocol):
    """LImA or LImA2. All methods raise DeviceError; `image` SourceError where the device sends something else."""

    name: str
    one_acquisition: bool

    def progress(self) -> Progress: ...

    def describe(self) -> Acquisition: ...

    def image(self, number: int) -> NDArray[Any]: ...


def open_camera(device: Device) -> Camera:
    """The camera behind a device: LImA's LimaCCDs has `acq_status`, LImA2's processing has `progress_counters`."""
    try:
        device.read("acq_status")
    except DeviceError:
        device.read("progress_counters")
        return Lima2Camera(device)
    return LimaCamera(device)


class LimaCamera:
    """LImA: the device LimaCCDs, which stays from one acquisition to the next."""

    one_acquisition = False

    def __init__(self, device: Device) -> None:
        self.name = device.name
        self._device = device

    def progress(self) -> Progress:
        # In this order: once the status is no longer Running, the counter after it is final.
        running = self._device.read("acq_status") == "Running"
        return Progress(running=running, last=int(self._device.read("last_image_ready")))

    def describe(self) -> Acquisition:
        read = self._device.read
        _, _, width, height = (int(value) for value in read("image_sizes"))
        column_m, row_m = (float(value) for value in read("camera_pixelsize"))
        left, top, columns, rows = (int(value) for value in read("image_roi"))
        frames = int(read("acq_nb_frames"))
        return Acquisition(
            shape=(height, width),
            dtype=_dtype(BPP, str(read("image_type")), self.name),
            number_of_images=frames or None,  # 0 is LImA's "until stopped"
            header={
                "count_time": float(read("acq_expo_time")),
                "pixel_size_x": column_m,
                "pixel_size_y": row_m,
                "detector_description": str(read("camera_model")),
            },
            user_data={"roi": [top, top + rows, left, left + columns]} if rows and columns else {},
        )

    def image(self, number: int) -> NDArray[Any]:
        return _image(self.name, self._device.command("readImage", number), number)


class Lima2Camera:
    """LImA2: the processing device of one acquisition; the receivers make a new one for the next."""

    one_acquisition = True

    def __init__(self, device: Device) -> None:
        self.name = device.name
        self._device = device

    def progress(self) -> Progress:
        finished = bool(self._device.read("is_finished"))
        last = json.loads(self._device.read("last_frames"))
        return Progress(running=not finished, last=int(last.get("processed_idx", last.get("input_idx", -1))))

    def describe(self) -> Acquisition:
        info = json.loads(self._device.read("input_frame_info"))
        if info["nb_channels"] != 1:
            raise SourceError(f"{self.name}: {info['nb_channels']} channels a frame, one expected; split them in LImA2")
        size = info["dimensions"]
        return Acquisition(
            shape=(int(size["y"]), int(size["x"])),
            dtype=_dtype(GRAY, info["pixel_type"], self.name),
            number_of_images=None,
        )

    def image(self, number: int) -> NDArray[Any]:
        return _image(self.name, self._device.command("getFrame", number), number)


def _image(name: str, encoded: tuple[str, bytes], number: int) -> NDArray[Any]:
    try:
        image = decode_image(encoded)
    except WireError as error:
        raise SourceError(f"{name}: image {number}: {error}") from error
    data = image.data[0] if image.data.ndim == 3 and image.data.shape[0] == 1 else image.data
    if data.ndim != 2:
        raise SourceError(f"{name}: image {number} of shape {data.shape}, one image [row, column] expected")
    if image.frame_number not in (None, number):
        raise DeviceError(f"{name}: asked for image {number}, got {image.frame_number}; it has left LImA's buffer")
    return data


def _dtype(pattern: re.Pattern[str], text: str, name: str) -> str:
    """'Bpp12S' or 'gray16' -> the type that holds so many bits."""
    match = pattern.fullmatch(text)
    if match is None:
        raise SourceError(f"{name}: pixels of type {text!r}, one like Bpp16 or gray16 expected")
    bits, kind = int(match.group(1)), KINDS[match.group(2).upper()]
    return str(np.dtype(f"{kind}{next(size for size in (8, 16, 32, 64) if bits <= size)}"))
