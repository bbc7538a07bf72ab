"""Where results are written, and what their files are called."""

from __future__ import annotations

import hashlib
import re
import tempfile
from pathlib import Path

from service.errors import SettingsError

LONGEST_NAME = 48  # characters kept of a foreign name: a UUID fits, and the path stays short of every limit
UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def require_writable(folder: Path, setting: str) -> None:
    """Make `folder` and see that files can be written there; raise SettingsError that names `setting` where not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise SettingsError(f"{setting} {folder}: {error.strerror}; choose a folder that can be written") from error


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
