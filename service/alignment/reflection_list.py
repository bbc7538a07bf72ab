"""The reflections that were found of a crystal, in a JSON file: kept from the first one on, before there is a UB.

Nothing leaves the file: what is removed is marked so, numbers stay, and a file that is damaged is never written over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from models.files import written_whole
from service.alignment.orientation_file import first_wrong
from service.alignment.reflection import Reflection
from service.errors import ResultError, SettingsError, SourceError
from service.worker.lock import held

LOCKED_S = 2.0  # how long another process' change is waited for


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A reflection as it was added: where the instrument's own axes stood (degrees), when, and when it was removed."""

    reflection: Reflection
    axes_deg: Mapping[str, float]
    added: datetime
    removed: datetime | None = None


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: Literal["braggloop-reflections"] = "braggloop-reflections"
    version: Literal[1] = 1
    frame: Literal["You 1999"] = "You 1999"
    reflections: tuple[Kept, ...] = ()


def read(path: Path) -> dict[int, Kept]:
    """Return number -> reflection, from 1, without those removed; {} where there is no file.

    Raises SourceError where the file cannot be read or is damaged.
    """
    return {number: kept for number, kept in enumerate(_read(path), 1) if kept.removed is None}


def add(path: Path, kept: Kept) -> int:
    """Append a reflection; return its number. Raises SourceError as `read` does, ResultError where it cannot write."""
    return len(_changed(path, lambda all_: (*all_, kept)))


def remove(path: Path, numbers: Iterable[int], when: datetime) -> None:
    """Mark reflections as removed; raise SettingsError where a number is none, and as `add` does."""
    wanted = set(numbers)

    def without(all_: tuple[Kept, ...]) -> tuple[Kept, ...]:
        there = {number for number, kept in enumerate(all_, 1) if kept.removed is None}
        if wrong := sorted(wanted - there):
            known = ", ".join(map(str, sorted(there))) or "none"
            raise SettingsError(f"there is no reflection {', '.join(map(str, wrong))}: there are {known}")
        return tuple(replace(kept, removed=when) if number in wanted else kept for number, kept in enumerate(all_, 1))

    _changed(path, without)


def _read(path: Path) -> tuple[Kept, ...]:
    try:
        return _Record.model_validate_json(path.read_bytes()).reflections
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise SourceError(f"reflections {path}: {error.strerror}") from error
    except ValidationError as error:
        raise SourceError(
            f"{path} is no list of reflections, or damaged: {first_wrong(error)}; mend or move it"
        ) from error


def _changed(path: Path, change: Callable[[tuple[Kept, ...]], tuple[Kept, ...]]) -> Sequence[Kept]:
    """Write the file anew, whole or not at all, while nobody else changes it."""
    try:
        with held(path.with_name(f".{path.name}.lock"), "another change of the reflections", LOCKED_S):
            changed = change(_read(path))
            with written_whole(path) as partial:
                text = _Record(reflections=changed).model_dump_json(indent=1)
                partial.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise ResultError(f"reflections {path}: {error.strerror}; free space or choose another folder") from error
    return changed
