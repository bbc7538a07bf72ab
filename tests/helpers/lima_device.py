"""Fake LImA and LImA2 devices: in memory, and as real Tango device servers without hardware behind them.

What they answer follows the public servers: attributes, commands and DevEncoded headers of LimaCCDs (header version 4)
and of LImA2's processing devices (version 3, three dimensions). Frame `k` of `pixels(k)` is what must come out.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import tango
from numpy.typing import NDArray
from tango.server import Device, attribute, command

from service.errors import DeviceError

ROWS, COLUMNS = 5, 7
HEADER = "<IHHIIHHHHHHHHIIIIII"  # as the public servers pack it, 56 bytes


def pixels(number: int, dtype: str = "uint16") -> NDArray[Any]:
    return (np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) + 100 * number).astype(dtype)


def lima_bytes(number: int) -> bytes:
    """DATA_ARRAY version 4 of a Bpp16 image, packed field by field and not by the code under test."""
    data = pixels(number)
    head = struct.pack(HEADER, 0x44544159, 4, 80, 2, 1, 0, 2, 7, 5, 0, 0, 0, 0, 2, 14, 0, 0, 0, 0)
    return head + struct.pack("<QQII", number, 0xFFFFFFFF, 0, 0) + data.tobytes()


def lima2_bytes(number: int) -> bytes:
    """DENSE_FRAME version 3 of a gray32 frame of one channel."""
    data = pixels(number, "uint32")
    head = struct.pack(HEADER, 0x44544159, 3, 64, 2, 2, 0, 3, 7, 5, 1, 0, 0, 0, 4, 28, 140, 0, 0, 0)
    return head + struct.pack("<Q", number) + data.tobytes()


class MemoryDevice:
    """A device in memory: attributes that the test sets, images that it may lose."""

    name = "id01/limaccds/fake"

    def __init__(self, **attributes: Any) -> None:
        self.attributes = attributes
        self.images: dict[int, Any] = {}
        self.dead = False

    def read(self, name: str) -> Any:
        if self.dead or name not in self.attributes:
            raise DeviceError(f"{self.name}: no answer to {name}")
        return self.attributes[name]

    def command(self, name: str, *argument: Any) -> Any:
        if self.dead or name not in ("readImage", "getFrame") or argument[0] not in self.images:
            raise DeviceError(f"{self.name}: Frame(s) not available yet")
        return self.images[argument[0]]


def memory_lima(**attributes: Any) -> MemoryDevice:
    """LimaCCDs at rest."""
    rest = {
        "acq_status": "Ready", "last_image_ready": -1, "acq_nb_frames": 4, "acq_expo_time": 0.1,
        "image_sizes": [0, 2, COLUMNS, ROWS], "image_type": "Bpp12", "image_roi": [10, 20, COLUMNS, ROWS],
        "camera_pixelsize": [5.5e-5, 5.6e-5], "camera_model": "MAXIPIX",
    }  # fmt: skip
    return MemoryDevice(**(rest | attributes))


def memory_lima2(**attributes: Any) -> MemoryDevice:
    """A processing device of LImA2 that runs."""
    info = {"dimensions": {"x": COLUMNS, "y": ROWS}, "nb_channels": 1, "pixel_type": "gray32"}
    rest = {
        "is_finished": False, "last_frames": json.dumps({"input_idx": 9, "processed_idx": -1}),
        "progress_counters": "{}", "input_frame_info": json.dumps(info),
    }  # fmt: skip
    return MemoryDevice(**(rest | attributes))


class FakeLima(Device):
    """The part of LimaCCDs that a client of images needs. `acquire` puts the next frames into the buffer."""

    def init_device(self) -> None:
        super().init_device()
        self._last, self._running, self._first = -1, False, 0

    @command
    def startAcq(self) -> None:
        self._last, self._running, self._first = -1, True, 0

    @command(dtype_in=int)
    def acquire(self, frames: int) -> None:
        self._last += frames

    @command(dtype_in=int)
    def forget(self, frames: int) -> None:
        """The ring buffer has gone round: frames below this number are no more."""
        self._first = frames

    @command
    def finish(self) -> None:
        self._running = False

    @command(dtype_in=int, dtype_out=tango.DevEncoded)
    def readImage(self, number: int) -> tuple[str, bytes]:
        if not self._first <= number <= self._last:
            raise RuntimeError("Frame(s) not available yet")
        return "DATA_ARRAY", lima_bytes(number)

    @attribute(dtype=str)
    def acq_status(self) -> str:
        return "Running" if self._running else "Ready"

    @attribute(dtype=int)
    def last_image_ready(self) -> int:
        return int(self._last)

    @attribute(dtype=int)
    def acq_nb_frames(self) -> int:
        return 4

    @attribute(dtype=float)
    def acq_expo_time(self) -> float:
        return 0.1

    @attribute(dtype=(int,), max_dim_x=4)
    def image_sizes(self) -> list[int]:
        return [0, 2, COLUMNS, ROWS]

    @attribute(dtype=(int,), max_dim_x=4)
    def image_roi(self) -> list[int]:
        return [0, 0, 0, 0]

    @attribute(dtype=str)
    def image_type(self) -> str:
        return "Bpp16"

    @attribute(dtype=str)
    def camera_model(self) -> str:
        return "Generator"

    @attribute(dtype=(float,), max_dim_x=2)
    def camera_pixelsize(self) -> list[float]:
        return [5.5e-5, 5.5e-5]


class FakeMotor(Device):
    """A motor that stands where it is told."""

    def init_device(self) -> None:
        super().init_device()
        self._position = 0.0

    @attribute(dtype=float)
    def position(self) -> float:
        return float(self._position)

    @position.write
    def write_position(self, position: float) -> None:
        self._position = position


class FakeLima2(Device):
    """The part of a LImA2 processing device that a client of images needs, its three frames taken."""

    @command(dtype_in=int, dtype_out=tango.DevEncoded)
    def getFrame(self, number: int) -> tuple[str, bytes]:
        return "DENSE_FRAME", lima2_bytes(number)

    @attribute(dtype=bool)
    def is_finished(self) -> bool:
        return True

    @attribute(dtype=str)
    def last_frames(self) -> str:
        return json.dumps({"input_idx": 2, "processed_idx": 2})

    @attribute(dtype=str)
    def progress_counters(self) -> str:
        return json.dumps({"nb_frames_source": 3})

    @attribute(dtype=str)
    def input_frame_info(self) -> str:
        return json.dumps({"dimensions": {"x": COLUMNS, "y": ROWS}, "nb_channels": 1, "pixel_type": "gray32"})
