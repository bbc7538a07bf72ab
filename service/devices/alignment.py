"""Aligns on request: the controller behind CrystalAlignment. One loop at a time, on a thread of its own."""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import threading
import time
import tomllib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from service.alignment import events
from service.alignment.dead_man import DeadMan
from service.alignment.drive import Driver
from service.alignment.hand import Hand, parse_report
from service.alignment.journal import Journal, new_name
from service.alignment.loop import Loop
from service.alignment.methods.choose import chosen
from service.alignment.plan import AlignmentSettings, Plan
from service.alignment.progress import Phase, Progress
from service.devices.alignment_status import AlignmentStatus, measured, point, shown
from service.devices.status import Board, State
from service.errors import RefusedError, SettingsError, one_line
from service.ports import Beamline
from service.settings import parse_section

HISTORY = 256  # the last points that are shown
TIDY_S = 2.0  # how long a loop that has ended may take to let go of its beamline
CLOSE_S = 10.0  # how long the end of a loop is waited for


class Alignment:
    """Configure, arm, start, pause, resume, stop, abort, restore; methods return at once, `status` tells the rest.

    `open_beamline` makes the beamline of some settings; `out` is the folder of journals.
    """

    def __init__(
        self, settings: AlignmentSettings, open_beamline: Callable[[AlignmentSettings], Beamline], out: Path
    ) -> None:
        self._open, self._out = open_beamline, out
        self._commands: queue.SimpleQueue[events.AnyEvent] = queue.SimpleQueue()
        self._points: list[tuple[float, ...]] = []
        self._board = Board(AlignmentStatus(state=State.STANDBY))
        self._thread: threading.Thread | None = None
        self._hand: Hand | None = None
        self._numbers = itertools.count(1)
        self._plan: Plan
        self._loop: Loop
        self._use(settings)

    @property
    def status(self) -> AlignmentStatus:
        return self._board.status

    def wait(self, seen: AlignmentStatus | None, timeout_s: float) -> AlignmentStatus:
        """Return the status as soon as it is another than `seen`, or as it is after `timeout_s`."""
        return self._board.wait(seen, timeout_s)

    def configure(self, settings: str) -> None:
        """Take the text of an `[alignment]` section as TOML, or the path of a file with one; disarms."""
        self._must_rest("Configure")
        try:
            text = settings if "=" in settings else Path(settings).read_text(encoding="utf-8")
            tree = tomllib.loads(text)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"Configure: {one_line(error)}") from error
        self._use(parse_section(AlignmentSettings, tree.get("alignment", tree)))

    def arm(self, by: str, seconds: float) -> None:
        """Allow moves for some seconds, by name."""
        self._must_rest("Arm")
        if not self._settings.axes:
            raise SettingsError("Arm: no axes; Configure them first, or in [alignment] of the settings")
        self._handle(events.Arm(now_s=time.monotonic(), by=by, seconds=seconds))
        self._hand = None

    def start(self) -> None:
        """Look for the best point."""
        self.must_be_armed("Start")
        self.run_plan(self._settings.plan())

    @property
    def settings(self) -> AlignmentSettings:
        """Axes, limits and devices as they are configured now."""
        return self._settings

    def must_be_armed(self, command: str) -> None:
        """Raise RefusedError unless the loop rests and somebody armed it."""
        self._must_rest(command)
        if self._loop.progress.phase is not Phase.ARMED:
            raise RefusedError(f"{command}: the loop is {self._loop.progress.phase}; Arm it first")

    def run_plan(self, plan: Plan) -> None:
        """Run a loop of this plan, armed as the last one is; it must be."""
        armed, now_s = self._loop.progress, time.monotonic()
        left_s = (armed.armed_until_s or now_s) - now_s
        if left_s <= 0.0:
            raise RefusedError(f"the arming ended {-left_s:.3g} s ago; Arm again")
        self._plan, self._loop = plan, Loop(plan, chosen)
        self._forget_points()
        self._board.update(method=str(plan.method))
        arm = events.Arm(now_s=now_s, by=armed.armed_by, seconds=left_s)
        self._go(Journal(new_name(self._out).with_suffix(".jsonl"), plan), arm, events.Start(now_s=now_s))

    def restore(self, to: str) -> None:
        """Bring the axes of an ended loop back to the "start" or the "best" point, while armed."""
        self._must_rest("Restore")
        if to not in ("start", "best"):
            raise SettingsError(f"Restore: {to!r} is neither start nor best")
        if {"start": self._loop.progress.start, "best": self._loop.progress.best}[to] is None:
            raise RefusedError(f"Restore: no {to} point is known")
        armed, now_s = self._loop.progress, time.monotonic()
        left_s = (armed.armed_until_s or now_s) - now_s
        arm = events.Arm(now_s=now_s, by=armed.armed_by, seconds=left_s, travelled=self._loop.travelled)
        first = (arm,) if left_s > 0.0 else ()  # for the journal, which goes on
        self._go(Journal(Path(self.status.journal), None), *first, events.Restore(now_s=now_s, to=to))

    def tell(self, command: type[events.Event]) -> None:
        """Hand a command to the loop that runs; raise RefusedError where it does not fit. An Abort at rest disarms."""
        phase = self._loop.progress.phase
        # Axes may be about to move though no loop runs yet, or again: between two stages of a procedure.
        always = command in (events.Abort, events.Stop)
        if self._busy and self._hand is not None:
            self._hand.tell(command(now_s=time.monotonic()))  # type: ignore[arg-type]
        elif self._busy and (always or not self._loop.unfit(command)):
            self._commands.put(command(now_s=time.monotonic()))  # type: ignore[arg-type]
        elif not self._busy and always and phase is not Phase.IDLE:
            self._handle(events.Abort(now_s=time.monotonic()))
        else:
            raise RefusedError(self._loop.unfit(command) or f"{command.__name__}: the loop is {phase}")

    def suggest(self) -> str:
        """Return what a client that owns its motors is to do now, a JSON object; see service.alignment.hand."""
        return json.dumps(self._handed("Suggest").suggest())

    def report(self, text: str) -> None:
        """Take what came of a suggestion, a JSON object; see service.alignment.hand."""
        self._handed("Report").report(parse_report(text))

    def _handed(self, command: str) -> Hand:
        if not self._settings.client:
            raise RefusedError(f"{command}: the server moves these axes itself; set client = true in [alignment]")
        if self._hand is None:
            raise RefusedError(f"{command}: the loop is {self._loop.progress.phase}; Arm and Start it first")
        return self._hand

    def reset(self) -> None:
        """Acknowledge a fault; disarms."""
        self._must_rest("Reset")
        self._use(self._settings)

    def close(self) -> None:
        """Abort what runs and wait for its end; safe to call twice."""
        if self._busy:
            with contextlib.suppress(RefusedError):  # it has just ended
                self.tell(events.Abort)
        if self._thread is not None:
            self._thread.join(CLOSE_S)

    @property
    def _busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _use(self, settings: AlignmentSettings) -> None:
        self._settings, self._hand = settings, None
        if tuple(settings.axes) != self.status.axes:
            self._forget_points()  # theirs are those of other axes
        self._plan = settings
        self._loop = Loop(settings, chosen)
        self._board.update(method=str(settings.method), axes=tuple(settings.axes), journal="", procedure="", result="")
        self._told(self._loop.progress)

    def _handle(self, event: events.AnyEvent) -> None:
        """What a loop at rest may be told, by whoever calls."""
        self._loop.handle(event)
        self._told(self._loop.progress)

    def _go(self, journal: Journal, *first: events.AnyEvent) -> None:
        self._board.update(journal=str(journal.path))
        if self._settings.client:
            self._hand = hand = Hand(self._plan, self._loop, journal, self._told, numbers=self._numbers)
            for event in first:
                hand.tell(event)
            work: Callable[[], None] = hand.watch
        else:
            work = partial(self._drive, first, journal)
        self._begin(lambda: self._work(work, journal))

    def _begin(self, work: Callable[[], None]) -> None:
        while not self._commands.empty():
            self._commands.get()
        self._thread = threading.Thread(target=work, name="alignment", daemon=True)
        self._thread.start()

    def _drive(self, first: Sequence[events.AnyEvent], journal: Journal) -> None:
        with DeadMan(self._settings.devices, self._settings.dead_man_s) as dead_man:
            beamline = self._open(self._settings)
            Driver(self._loop, beamline, journal, self._next, self._told, alive=dead_man.beat).run(*first)

    def _work(self, work: Callable[[], None], journal: Journal) -> None:
        try:
            with journal:
                work()
        except Exception as error:  # noqa: BLE001 - the axes stand; whatever it was, a person must know
            self._board.update(state=State.FAULT, message=f"{one_line(error)}; Reset acknowledges")
        else:
            self._told(self._loop.progress)

    def _next(self) -> events.AnyEvent | None:
        try:
            return self._commands.get_nowait()
        except queue.Empty:
            return None

    def _told(self, progress: Progress) -> None:
        axes = tuple(self._settings.axes)
        if progress.exposures > self.status.exposures:
            self._points = [*self._points, point(progress, axes)][-HISTORY:]
            self._board.update(**measured(self._points))
        self._board.update(**shown(progress, axes))

    def _forget_points(self) -> None:
        self._points = []
        self._board.update(**measured(self._points))

    def _must_rest(self, command: str) -> None:
        if self._thread is not None and not self._loop.running:
            self._thread.join(TIDY_S)
        if self._busy:
            way_out = "Stop or Abort it first" if self._loop.running else "it lets go of its axes, try again"
            raise RefusedError(f"{command}: the loop is {self._loop.progress.phase}; {way_out}")
