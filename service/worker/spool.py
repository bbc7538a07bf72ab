"""The queue between ingest and compute: raw messages in preallocated segment files, each with its length and CRC.

    FOLDER/segment-000000000012.raw     records one after the other, each begun at a multiple of 64 bytes
    FOLDER/cursor.json                  where a restarted reader begins

A record is a header (magic, CRC-32C, serial number, length, clock time of its reception, number of its segment) and the
message as it came. Segments are recycled by renaming, with their pages: a record of an earlier life carries another
segment's number, so it is none. The number is written last, which makes nothing of what a killed writer left behind.
"""

from __future__ import annotations

import json
import mmap
import struct
from pathlib import Path
from typing import NamedTuple

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from models.files import written_whole
from service.errors import SpoolError

Buffer = bytes | bytearray | memoryview | mmap.mmap

MAGIC = 0x42474C52  # "BGLR"
HEADER = struct.Struct("<IIQQdQ")  # magic, crc, serial, length, received_at, segment
HEAD = struct.Struct("<IIQQd")  # all but the segment
TAIL = struct.Struct("<Q")
CLOCK = struct.Struct("<d")
CRC_MASK = 0xFFFFFFFF
ALIGNMENT = 64  # one cache line: no record shares one with its neighbour
CURSOR = "cursor.json"
# Copied and summed a piece at a time: the CRC finds in the core's own cache what the copy has just read.
PIECE_BYTES = 1 << 19


class Position(NamedTuple):
    """A place in the spool; a later one is larger."""

    segment: int
    offset: int


ORIGIN = Position(0, 0)


class Record(NamedTuple):
    """One spooled message; `payload` is a view into the segment, None where its CRC does not match.

    `received_at` is the clock time, in seconds since 1970, at which it was taken off the wire.
    """

    position: Position
    serial: int
    received_at: float
    payload: memoryview | None


class Header(NamedTuple):
    """What stands before a record."""

    crc: int
    serial: int
    length: int
    received_at: float
    segment: int


def segment_path(folder: Path, segment: int) -> Path:
    return folder / f"segment-{segment:012d}.raw"


def segments(folder: Path) -> list[int]:
    """Return the numbers of the segments in `folder`, oldest first."""
    return sorted(int(path.stem.rpartition("-")[2]) for path in folder.glob("segment-*.raw"))


def oldest_segment(folder: Path) -> int:
    """Return the number of the oldest segment in `folder`, 0 where there is none."""
    return min(segments(folder), default=0)


def record_bytes(length: int) -> int:
    """Return the room that a message of `length` bytes takes."""
    return -(-(HEADER.size + length) // ALIGNMENT) * ALIGNMENT


def header_at(pages: mmap.mmap, segment: int, offset: int) -> Header | None:
    """Return the header of the record at `offset`, None where there is none (yet)."""
    if offset + HEADER.size > len(pages):
        return None
    magic, *fields = HEADER.unpack_from(pages, offset)
    header = Header(*fields)
    whole = offset + HEADER.size + header.length <= len(pages)
    return header if magic == MAGIC and header.segment == segment and whole else None


def write_record(
    pages: mmap.mmap,
    bytes_of_pages: NDArray[np.uint8],
    position: Position,
    serial: int,
    received_at: float,
    source: NDArray[np.uint8],
) -> int:
    """Write one record and return the offset behind it; the caller has made sure that it fits."""
    segment, offset = position
    length, begin = len(source), offset + HEADER.size
    crc = _seed(segment, serial, length, received_at)
    for done in range(0, length, PIECE_BYTES):
        piece = source[done : done + PIECE_BYTES]
        bytes_of_pages[begin + done : begin + done + len(piece)] = piece
        crc = google_crc32c.extend(crc, piece)
    HEAD.pack_into(pages, offset, MAGIC, crc, serial, length, received_at)
    TAIL.pack_into(pages, offset + HEAD.size, segment)
    return offset + record_bytes(length)


def _seed(segment: int, serial: int, length: int, received_at: float) -> int:
    """Begin the CRC with what the header says, so that a damaged header is found too."""
    return int(google_crc32c.extend((segment ^ serial << 8 ^ length << 16) & CRC_MASK, CLOCK.pack(received_at)))


def _payload(pages: mmap.mmap, offset: int, header: Header) -> memoryview | None:
    data: NDArray[np.uint8] = np.frombuffer(pages, np.uint8, header.length, offset + HEADER.size)
    crc = google_crc32c.extend(_seed(header.segment, header.serial, header.length, header.received_at), data)
    return data.data if crc == header.crc else None


class SpoolReader:
    """Reads records in order, and waits for none: `read` returns None where the writer has not come yet."""

    def __init__(self, folder: Path, position: Position = ORIGIN) -> None:
        self._folder = folder
        self._pages: mmap.mmap | None = None
        self.position = position

    def read(self) -> Record | None:
        """Return the next record, None when there is none yet.

        A damaged record comes with `payload` None. What follows a torn header is skipped to the next segment.
        """
        while True:
            record = self._record_here()
            if record is not None or not self._next_segment():
                return record

    def _record_here(self) -> Record | None:
        segment, offset = self.position
        pages = self._pages or self._open(segment)
        header = header_at(pages, segment, offset) if pages else None
        if pages is None or header is None:
            return None
        record = Record(self.position, header.serial, header.received_at, _payload(pages, offset, header))
        self.position = Position(segment, offset + record_bytes(header.length))
        return record

    def _next_segment(self) -> bool:
        """Go on where there is a later segment; the writer goes there only when it has done with this one."""
        later = next((number for number in segments(self._folder) if number > self.position.segment), None)
        if later is None or self._has_record():
            return later is not None
        self._pages = None  # views into it may live on: they hold it open
        self.position = Position(later, 0)
        return True

    def _has_record(self) -> bool:
        """Whether a record has come since the last look: between that and the look for a later segment."""
        return bool(self._pages and header_at(self._pages, *self.position))

    def _open(self, segment: int) -> mmap.mmap | None:
        try:
            with segment_path(self._folder, segment).open("rb") as file:
                self._pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (FileNotFoundError, ValueError):  # gone, or not yet given its size
            return None
        return self._pages


def read_cursor(folder: Path) -> Position:
    """Return where a restarted reader begins; everything before it has been dealt with."""
    try:
        found = json.loads((folder / CURSOR).read_text())
        return Position(int(found["segment"]), int(found["offset"]))
    except FileNotFoundError:
        return ORIGIN
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpoolError(f"{folder / CURSOR}: {error}; remove the file to read the whole spool again") from error


def write_cursor(folder: Path, position: Position) -> None:
    """Replace the cursor; a crash leaves the former one or this one."""
    with written_whole(folder / CURSOR) as partial:
        partial.write_text(json.dumps(position._asdict()))
