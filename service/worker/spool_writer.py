"""The writing end of the spool: bounded, recycling the segments of finished series."""

from __future__ import annotations

import contextlib
import errno
import itertools
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from models.files import flush_to_disk
from service.errors import SpoolError, SpoolFull, WireError
from service.settings import SpoolSettings
from service.worker.spool import (
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

NOTHING = np.empty(0, np.uint8)
SPARE = "spare-{}.raw"  # a segment without a number: readers do not see it


class SpoolWriter:
    """Appends messages; one writer a spool, held by the caller's lock.

    It goes on behind the last whole record of a former writer. When the spool has reached its bound, the oldest
    segment is recycled if the reader's cursor has left it; else SpoolFull says so and nothing is written.
    The first segment of an empty spool is the one `after` this. `clock_s` stamps each message, s since 1970.
    """

    def __init__(self, settings: SpoolSettings, after: int = 0, clock_s: Callable[[], float] = time.time) -> None:
        self._folder, self._settings, self._clock_s = settings.folder, settings, clock_s
        self._folder.mkdir(parents=True, exist_ok=True)
        self._maps: dict[Path, mmap.mmap] = {}
        self._unsynced: set[int] = set()
        self._pages: mmap.mmap | None = None
        self._bytes = NOTHING
        self.position = Position(0, 0)
        self.serial = 0
        self._resume(after)
        self._prepare()

    @property
    def capacity_bytes(self) -> int:
        """Largest message that fits."""
        return self._settings.segment_bytes - HEADER.size

    def append(self, message: Buffer) -> Position:
        """Write one message and return its position.

        Raises SpoolFull where there is no room now, WireError where the message can never fit.
        """
        source = np.frombuffer(message, np.uint8)
        length = len(source)
        if length > self.capacity_bytes:
            raise WireError(
                f"message of {length} bytes, the spool takes {self.capacity_bytes}; see spool.segment_bytes"
            )
        if self._pages is None or self.position.offset + record_bytes(length) > len(self._pages):
            self._pages = self._begin_segment()
            self._bytes = np.frombuffer(self._pages, np.uint8)
        at = self.position
        end = write_record(self._pages, self._bytes, at, self.serial, self._clock_s(), source)
        self.position, self.serial = Position(at.segment, end), self.serial + 1
        self._unsynced.add(at.segment)
        return at

    def sync(self) -> None:
        """Put what was appended since the last call on the disk; safe beside `append` from another thread."""
        while self._unsynced:
            with contextlib.suppress(FileNotFoundError):  # recycled: its series was finished
                flush_to_disk(segment_path(self._folder, self._unsynced.pop()))
                flush_to_disk(self._folder)  # its name too

    def close(self) -> None:
        """Let go of the segments; safe to call twice."""
        self._pages, self._bytes = None, NOTHING
        self._maps.clear()

    def _resume(self, after: int) -> None:
        """Find the end of the last record, looking back over segments that have none."""
        numbers = segments(self._folder)
        after = max([read_cursor(self._folder).segment, *numbers]) or after
        self.position = Position(after, 0)
        for number in reversed(numbers):
            pages = self._map(segment_path(self._folder, number))
            offset = 0
            while header := header_at(pages, number, offset):
                self.serial = header.serial + 1
                offset += record_bytes(header.length)
            if number == after:
                self._pages, self._bytes = pages, np.frombuffer(pages, np.uint8)
                self.position = Position(number, offset)
            if offset:
                return

    def _prepare(self) -> None:
        """Claim and map memory before the first message: the first touch of a page costs more than filling it."""
        settings = self._settings
        while self._used() < min(settings.prepared_bytes, settings.max_bytes - settings.segment_bytes + 1):
            self._allocate()
        if settings.prepared_bytes:
            for path in self._folder.glob("*.raw"):
                self._map(path)

    def _begin_segment(self) -> mmap.mmap:
        path = next(iter(self._spares()), None) or self._finished() or self._allocate()
        at = Position(self.position.segment + 1, 0)
        target = segment_path(self._folder, at.segment)
        pages = self._map(path)
        os.replace(path, target)
        self._maps[target] = self._maps.pop(path)
        self.position = at
        return pages

    def _finished(self) -> Path | None:
        """Return the oldest segment, None below the bound; raise SpoolFull where the oldest is still needed."""
        settings = self._settings
        while (used := self._used()) + settings.segment_bytes > settings.max_bytes:
            oldest = segments(self._folder)[0]
            if oldest >= read_cursor(self._folder).segment:
                raise SpoolFull(f"spool {self._folder} holds {used} bytes of unfinished series; see spool.max_bytes")
            path = segment_path(self._folder, oldest)
            if path.stat().st_size == settings.segment_bytes:
                return path
            path.unlink()  # of other settings
            self._maps.pop(path, None)
        return None

    def _allocate(self) -> Path:
        """Return a new spare segment; raise SpoolFull where the disk is full."""
        numbered = (self._folder / SPARE.format(number) for number in itertools.count())
        path = next(path for path in numbered if not path.exists())
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.posix_fallocate(descriptor, 0, self._settings.segment_bytes)
        except OSError as error:
            path.unlink()
            kind = SpoolFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else SpoolError
            raise kind(f"spool {self._folder}: {error.strerror}; free space or choose another spool.folder") from error
        finally:
            os.close(descriptor)
        return path

    def _spares(self) -> list[Path]:
        """Return segments without a number, the last made first; a half-made one of a killed writer is removed."""
        found = sorted(self._folder.glob(SPARE.format("*")), reverse=True)
        for path in found:
            if path.stat().st_size != self._settings.segment_bytes:
                path.unlink()
        return [path for path in found if path.exists()]

    def _used(self) -> int:
        return sum(path.stat().st_size for path in self._folder.glob("*.raw"))

    def _map(self, path: Path) -> mmap.mmap:
        """Return the pages of a segment; kept, since each first touch of a fresh mapping costs a fault."""
        if path not in self._maps:
            with path.open("r+b") as file:
                flags = mmap.MAP_SHARED | (mmap.MAP_POPULATE if self._settings.prepared_bytes else 0)
                self._maps[path] = mmap.mmap(file.fileno(), 0, flags=flags)
        return self._maps[path]
