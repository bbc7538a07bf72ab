"""What the worker answers at its ROUTER, beside everything since N: health, settings, reprocess, save."""

from __future__ import annotations

import queue
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.files import written_whole
from service.errors import ResultError, SeriesError, SettingsError
from service.settings import Settings, merge, parse_settings
from service.worker.journal import Entry, Identity, Journal
from service.worker.spool import segment_path

SETTINGS_FILE = "settings.json"  # in the spool: what the stages work with
# What may change under a running worker: the journal lies in `out`, its positions are the spool's, sockets and health
# belong to processes that go on, the other sections to other commands.
CHANGEABLE = (
    "detector", "geometry", "phasing", "worker.stall_s", "worker.late_s", "worker.preview_frames",
    "worker.series_max_bytes",
)  # fmt: skip
SAVE_WAIT_S = 1.0  # a copy that takes longer goes on after the answer: a Tango command has 3 s


@dataclass(frozen=True, slots=True)
class Reprocess:
    """Invert this series again."""

    identity: Identity


Wish = Settings | Reprocess  # settings: work with them from the next series on


class Answers:
    """Answers in the publisher's thread at once; what takes longer is left in `wishes` for the loop of compute."""

    def __init__(self, settings: Settings, journal: Journal, health: Callable[[], Mapping[str, Any]]) -> None:
        self._settings, self._journal, self._health = settings, journal, health
        self.wishes: queue.SimpleQueue[Wish] = queue.SimpleQueue()
        self._copier = ThreadPoolExecutor(1, "save")
        self._copy: Future[Path] | None = None

    @property
    def handlers(self) -> dict[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]]:
        """Request -> what answers it."""
        return {"health": self.health, "settings": self.use, "reprocess": self.reprocess, "save": self.save}

    def health(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer with the worker's health as the supervisor sees it.

        With it `save_error`, why the last copy failed, and `picture`, that of the last result once it is drawn.
        """
        health = self._health() or {"ok": False, "busy": False, "status": "starting"}
        error = self._copy.exception() if self._copy is not None and self._copy.done() else None
        picture = self._journal.last_picture
        drawn = picture is not None and picture.exists()
        return {**health, "save_error": str(error or ""), "picture": str(picture) if drawn else ""}

    def use(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Lay `toml` over the present settings, from the next series on and across restarts of compute.

        Raises SettingsError where they are wrong or would change what needs a restart (all but `CHANGEABLE`).
        """
        try:
            changes = tomllib.loads(str(request.get("toml", "")))
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"settings are not TOML: {error}") from error
        present = self._settings.model_dump(mode="json")
        settings = parse_settings(merge(present, changes))
        after = settings.model_dump(mode="json")
        if fixed := sorted(key for key in _differing(present, after) if not key.startswith(CHANGEABLE)):
            raise SettingsError(f"{', '.join(fixed)} cannot change at run time; restart with the new settings")
        self._settings = settings
        with written_whole(self._settings.spool.folder / SETTINGS_FILE) as partial:
            partial.write_text(self._settings.model_dump_json())
        self.wishes.put(self._settings)
        return {"changed": sorted(section for section in present if after[section] != present[section])}

    def reprocess(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Have a series inverted again from the spool: `series_unique_id`, by default the last one.

        Raises SeriesError where there is none or the spool has let it go.
        """
        entry = self._entry(str(request.get("series_unique_id", "")))
        summary, segment = entry.summary, entry.position.segment
        if not segment_path(self._settings.spool.folder, segment).exists():
            raise SeriesError(f"series {summary.series_unique_id[:40]} has left the spool; see spool.max_bytes")
        self.wishes.put(Reprocess(entry.identity))
        return {"series_id": summary.series_id, "series_unique_id": summary.series_unique_id}

    def save(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Copy the last result's file to `path`, a folder or a name that is free.

        `done` is False where that goes on after the answer.
        Raises ResultError where it cannot be; what fails later is told by `health`.
        """
        source, path = self._journal.last_file, str(request.get("path", ""))
        if source is None:
            raise ResultError("no result to save yet")
        if not path:
            raise ResultError("no path to save to; give a file or a folder on the worker's machine")
        if self._copy is not None and not self._copy.done():
            raise ResultError("the last result is still being saved; try again later")
        copy = self._copy = self._copier.submit(_copied, source, Path(path))
        if not wait([copy], SAVE_WAIT_S).done:
            return {"path": path, "done": False}
        self._copy = None
        return {"path": str(copy.result()), "done": True}

    def _entry(self, series_unique_id: str) -> Entry:
        for entry in reversed(self._journal.entries):
            if series_unique_id in ("", entry.summary.series_unique_id):
                return entry
        raise SeriesError(f"no result of series {series_unique_id[:40]!r}, nothing to invert again")


def _differing(present: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Return the dotted names of all that differs."""
    for key, value in after.items():
        before = present.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            yield from (f"{key}.{below}" for below in _differing(before, value))
        elif value != before:
            yield key


def _copied(source: Path, target: Path) -> Path:
    try:
        target = target / source.name if target.is_dir() else target
        if target.exists():
            raise FileExistsError("it exists already")
        with written_whole(target) as partial:
            shutil.copyfile(source, partial)
        return target.resolve()
    except (OSError, ValueError) as error:  # ValueError: a path that holds a zero
        raise ResultError(f"result cannot be saved as {target}: {error}; choose another path") from error
