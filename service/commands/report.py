"""What the commands say: to people on the terminal, to machines as one JSON object."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from service.errors import BraggloopError, SettingsError

DONE, FAILED, WRONG_USE = 0, 1, 2
REDRAWN = 8.0  # times a second
Advance = Callable[[str, float], None]  # what is being done, how much of the whole is done (0 to 1)


class _Lines:
    """Progress where nothing can be overwritten: a line for each new stage or tenth, no more than one a second."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note, self._said, self._said_s = note, ("", -1), 0.0

    def __call__(self, stage: str, done: float) -> None:
        name, tenth = stage.partition(",")[0], int(10 * done)
        now_s = time.monotonic()
        if (name, tenth) != self._said and (name != self._said[0] or now_s - self._said_s >= 1.0):
            self._said, self._said_s = (name, tenth), now_s
            self._note(f"{stage} {10 * tenth} %")


class Report(Protocol):
    """How a command speaks."""

    def note(self, text: str) -> None:
        """Say one line on the way."""
        ...

    def table(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        """Show names and values."""
        ...

    def progress(self) -> Any:
        """Return a context manager that yields an Advance."""
        ...

    def live(self, drawn: RenderableType) -> Any:
        """Return the same with a picture that is drawn anew several times a second, where it can be."""
        ...

    def finish(self, record: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        """Give the outcome, the last thing said; a list where it is one."""
        ...

    def fail(self, error: str, kind: str) -> None:
        """Give the failure in one line, the last thing said."""
        ...


class HumanReport:
    """Colours, bars and tables; all of it on stderr but the tables, so that a pipe gets only the outcome."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._out = Console(highlight=False)

    def note(self, text: str) -> None:
        self._console.print(escape(text), soft_wrap=True)

    def table(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        width = max((len(name) for name, _ in rows), default=0)
        if title:
            self._out.print(f"[bold]{escape(title)}[/]", soft_wrap=True)
        for name, value in rows:  # never folded: a path must stay in one piece
            self._out.print(f"[cyan]{escape(f'{name:<{width}}')}[/]  {escape(value)}", soft_wrap=True)

    @contextmanager
    def progress(self) -> Iterator[Advance]:
        if not self._console.is_terminal:
            yield _Lines(self.note)
            return
        columns = (TextColumn("{task.description:<34}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
        with Progress(*columns, TimeElapsedColumn(), console=self._console, transient=True) as bar:
            task = bar.add_task("", total=1.0)
            yield lambda stage, done: bar.update(task, description=escape(stage), completed=done)

    @contextmanager
    def live(self, drawn: RenderableType) -> Iterator[Advance]:
        if not self._console.is_terminal:
            yield _Lines(self.note)
            return
        with Live(drawn, console=self._console, refresh_per_second=REDRAWN, transient=True):
            yield lambda stage, done: None

    def finish(self, record: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        """People have read it in the tables."""

    def fail(self, error: str, kind: str) -> None:
        self._console.print(f"[bold red]error[/] {escape(error)}", soft_wrap=True)


class JsonReport:
    """Progress in plain lines on stderr, one JSON object as the last line of stdout."""

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def table(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        """Machines read the record."""

    @contextmanager
    def progress(self) -> Iterator[Advance]:
        yield _Lines(self.note)

    @contextmanager
    def live(self, drawn: RenderableType) -> Iterator[Advance]:
        yield _Lines(self.note)

    def finish(self, record: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        said = {"ok": True, **record} if isinstance(record, Mapping) else record
        print(json.dumps(said, default=str, allow_nan=False), flush=True)

    def fail(self, error: str, kind: str) -> None:
        print(json.dumps({"ok": False, "error": error, "kind": kind}), flush=True)


@contextmanager
def one_line_errors(report: Report, debug: bool) -> Iterator[None]:
    """Turn every error into one line and an exit code (SystemExit 1 or 2); with `debug` let the traceback through."""
    try:
        yield
    except KeyboardInterrupt:
        report.fail("interrupted", "KeyboardInterrupt")
        raise SystemExit(FAILED) from None
    except Exception as error:  # the outermost place: nobody else can put it into one line
        if debug:
            raise
        report.fail(_one_line(error), type(error).__name__)
        raise SystemExit(WRONG_USE if isinstance(error, SettingsError) else FAILED) from None


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, BraggloopError) else f"{type(error).__name__}: {text} (--debug shows where)"
