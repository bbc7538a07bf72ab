"""A file that is whole or absent: written under a temporary name beside its final one, flushed to the disk, renamed."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.errors import SettingsError

LONGEST_NAME = 48  # characters kept of a foreign name: a UUID fits, and the path stays short of every limit
UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success flush it to the disk and rename it to `path`.

    A crash at any moment leaves either the former `path` or the new one, never a half one. The temporary name is fixed,
    so the next attempt overwrites what a crash left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    try:
        yield partial
        flush_to_disk(partial)
        os.replace(partial, path)
        flush_to_disk(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def require_writable(folder: Path, setting: str) -> None:
    """Make `folder` and see that files can be written there; raise SettingsError that names `setting` where not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise SettingsError(f"{setting} {folder}: {error.strerror}; choose a folder that can be written") from error


def flush_to_disk(path: Path) -> None:
    """Ask the system to put a file or a folder's entries on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def safe_name(text: str) -> str:
    """Return `text` as a file name of plain characters; a short digest keeps two names apart where any was changed."""
    plain = UNSAFE.sub("-", text).strip(".-")[:LONGEST_NAME].rstrip(".-")
    if plain == text and plain:
        return plain
    return f"{plain}-{digest(text)}" if plain else digest(text)


def result_name(series_id: int, series_unique_id: str, title: str = "") -> str:
    """Return the stem of a result's files: number, then title or name of the series; nothing that leaves the folder."""
    if not title:
        return f"{series_id:05d}_{safe_name(series_unique_id)}"
    shown = UNSAFE.sub("-", title).strip(".-")[:LONGEST_NAME].rstrip(".-")
    return f"{series_id:05d}_{shown}_{digest(series_unique_id)}"


def digest(text: str) -> str:
    """Return eight characters that tell `text` from every other."""
    return hashlib.blake2s(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
