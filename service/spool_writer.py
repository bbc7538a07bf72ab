"""The writing end of the spool: bounded, recycling the segments of finished series."""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path

from service.durable import flush_to_disk
from service.errors import SpoolFull, WireError
from service.settings import SpoolSettings
from service.spool import (
    HEADER,
    Buffer,
    Position,
    header_at,
    read_cursor,
    record_bytes,
    segment_path,
    segments,
    write_record,
)


class SpoolWriter:
    """Appends messages; one writer a spool, held by the caller's lock.

    It goes on behind the last whole record of a former writer. When the spool has reached its bound, the oldest
    segment is recycled if the reader's cursor has left it; else SpoolFull says so and nothing is written.
    """

    def __init__(self, settings: SpoolSettings) -> None:
        self._folder, self._settings = settings.folder, settings
        self._folder.mkdir(parents=True, exist_ok=True)
        self._maps: dict[int, mmap.mmap] = {}
        self._unsynced: set[int] = set()
        self._pages: mmap.mmap | None = None
        self.position = Position(0, 0)
        self.serial = 0
        self._resume()

    @property
    def capacity_bytes(self) -> int:
        """Largest message that fits."""
        return self._settings.segment_bytes - HEADER.size

    def append(self, message: Buffer) -> Position:
        """Write one message and return its position.

        Raises SpoolFull where there is no room now, WireError where the message can never fit.
        """
        length = memoryview(message).nbytes
        if length > self.capacity_bytes:
            raise WireError(
                f"message of {length} bytes, the spool takes {self.capacity_bytes}; see spool.segment_bytes"
            )
        if self._pages is None or self.position.offset + record_bytes(length) > len(self._pages):
            self._begin_segment()
        assert self._pages is not None
        at = self.position
        end = write_record(self._pages, at, self.serial, message)
        self.position, self.serial = Position(at.segment, end), self.serial + 1
        self._unsynced.add(at.segment)
        return at

    def sync(self) -> None:
        """Put what was appended since the last call on the disk; safe beside `append` from another thread."""
        while self._unsynced:
            path = segment_path(self._folder, self._unsynced.pop())
            if path.exists():  # else recycled: its series was finished
                flush_to_disk(path)

    def close(self) -> None:
        """Let go of the segments; safe to call twice."""
        self._pages = None
        self._maps.clear()

    def _resume(self) -> None:
        """Find the end of the last record, looking back over segments that have none."""
        numbers = segments(self._folder)
        after = max([read_cursor(self._folder).segment, *numbers], default=0)
        self.position = Position(after, 0)
        for number in reversed(numbers):
            pages = self._map(number)
            offset = 0
            while header := header_at(pages, number, offset):
                self.serial = header.serial + 1
                offset += record_bytes(header.length)
            if number == after:
                self._pages, self.position = pages, Position(number, offset)
            if offset:
                return

    def _begin_segment(self) -> None:
        number = self.position.segment + 1
        if not self._recycle(number):
            self._allocate(number)
        self._pages = self._map(number)
        self.position = Position(number, 0)

    def _recycle(self, number: int) -> bool:
        """Make the oldest segment the next one where the bound is reached; False where it is not."""
        numbers = segments(self._folder)
        used = sum(segment_path(self._folder, old).stat().st_size for old in numbers)
        if used + self._settings.segment_bytes <= self._settings.max_bytes:
            return False
        oldest = numbers[0]
        if oldest >= read_cursor(self._folder).segment:
            raise SpoolFull(f"spool {self._folder} holds {used} bytes of unfinished series; see spool.max_bytes")
        pages = self._maps.pop(oldest, None)
        path = segment_path(self._folder, oldest)
        if path.stat().st_size != self._settings.segment_bytes:  # of other settings
            path.unlink()
            return self._recycle(number)
        os.replace(path, segment_path(self._folder, number))
        if pages is not None:
            self._maps[number] = pages
        return True

    def _allocate(self, number: int) -> None:
        path = segment_path(self._folder, number)
        partial = path.with_suffix(".part")
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.posix_fallocate(descriptor, 0, self._settings.segment_bytes)
            os.replace(partial, path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise SpoolFull(f"spool {self._folder}: {error.strerror}; free space") from error
        finally:
            os.close(descriptor)

    def _map(self, number: int) -> mmap.mmap:
        """Return the pages of a segment; kept, since each first touch of a fresh mapping costs a fault."""
        if number not in self._maps:
            with segment_path(self._folder, number).open("r+b") as file:
                self._maps[number] = mmap.mmap(file.fileno(), 0)
        return self._maps[number]


def open_writer(folder: Path, **bounds: int) -> SpoolWriter:
    """Return a writer with other bounds than the default ones."""
    return SpoolWriter(SpoolSettings(folder=folder, **bounds))
