"""The record of a loop: its plan, then each event with what the loop answered, one JSON line each, on disk at once."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from service.alignment.events import ACTION, EVENT, Action, AnyEvent, Halt, Move
from service.alignment.loop import Actions, Loop
from service.alignment.plan import Plan
from service.errors import ResultError, SourceError, one_line

FORMAT = "braggloop alignment journal 1"


def new_name(folder: Path) -> Path:
    """Return a name for the files of one alignment in `folder`, without a suffix; no other one has it."""
    return folder / f"alignment-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**9:09}"


class Journal:
    """Written by one thread. A move is on the disk before it is made; raises ResultError where it cannot be.

    A new file for a `plan`; without one that which is there goes on.
    """

    def __init__(self, path: Path, plan: Plan | None) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a" if plan is None else "x", encoding="utf-8")
        except OSError as error:
            raise ResultError(f"journal {path}: {error.strerror or error}") from error
        if plan is not None:
            self._write({"format": FORMAT, "plan": plan.model_dump(mode="json")}, durable=True)

    def record(self, event: AnyEvent, actions: Sequence[Action]) -> None:
        line = {"event": event.model_dump(mode="json"), "actions": [each.model_dump(mode="json") for each in actions]}
        self._write(line, durable=any(isinstance(each, Move | Halt) for each in actions))

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, line: object, durable: bool) -> None:
        try:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
            if durable:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise ResultError(f"journal {self.path}: {error.strerror or error}") from error


def stage_journals(name: Path, opened: list[Path]) -> Callable[[str, Plan], Journal]:
    """Return what opens the journal of each stage of a chain, with its number and name after `name`, and lists it."""

    def opens(stage: str, plan: Plan) -> Journal:
        opened.append(name.with_name(f"{name.name}-{len(opened)}-{stage}.jsonl"))
        return Journal(opened[-1], plan)

    return opens


class Entry(NamedTuple):
    event: AnyEvent
    actions: Actions


def read_journal(path: Path) -> tuple[Plan, list[Entry]]:
    """Return plan and entries of a journal; a last line that was cut off is left out. Raises SourceError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"journal {path}: {one_line(error)}") from error
    whole = [line for line in lines if line.endswith("\n")]
    try:
        head = json.loads(whole[0])
        if head["format"] != FORMAT:
            raise SourceError(f"journal {path}: format {head['format']!r}, expected {FORMAT!r}")
        return Plan.model_validate(head["plan"]), list(_entries(whole[1:]))
    except (IndexError, KeyError, TypeError, ValueError, ValidationError) as error:
        raise SourceError(f"journal {path}: not a journal of an alignment: {one_line(error)}") from error


def _entries(lines: Sequence[str]) -> Iterator[Entry]:
    for line in lines:
        entry = json.loads(line)
        yield Entry(EVENT.validate_python(entry["event"]), tuple(map(ACTION.validate_python, entry["actions"])))


class Difference(NamedTuple):
    """Entry `number` of a journal, from 0, to which the loop answers something else when it is asked again."""

    number: int
    written: Actions
    again: Actions


def replayed(path: Path, make: Callable[[Plan], Loop]) -> list[Difference]:
    """Tell a new loop all events of a journal and return where it decides otherwise: nowhere, on the same machine."""
    plan, entries = read_journal(path)
    loop = make(plan)
    both = ((number, entry.actions, loop.handle(entry.event)) for number, entry in enumerate(entries))
    return [Difference(number, written, again) for number, written, again in both if written != again]
