"""Aligns on request: the controller behind CrystalAlignment. One loop at a time, on a thread of its own."""

from __future__ import annotations

import json
import queue
import threading
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from service.alignment import events
from service.alignment.chain import Chain
from service.alignment.dead_man import DeadMan
from service.alignment.drive import Driver
from service.alignment.hand import Hand, parse_report
from service.alignment.journal import Journal, new_name
from service.alignment.loop import Loop
from service.alignment.methods.choose import chosen
from service.alignment.methods.port import Method, Point
from service.alignment.plan import AlignmentSettings, Plan
from service.alignment.procedures.bench import Bench, Result, attempted, bench_of
from service.alignment.procedures.height import eucentric_height
from service.alignment.procedures.rocking import rocking_curve
from service.alignment.procedures.rotation import centre_of_rotation
from service.alignment.procedures.track import track
from service.alignment.progress import Outcome, Phase, Progress
from service.devices.status import Board, State, Status, count, reading
from service.errors import RefusedError, SettingsError, one_line
from service.ports import Beamline
from service.settings import parse_section

HISTORY = 256  # the last values that are shown
TIDY_S = 2.0  # how long a loop that has ended may take to let go of its beamline
CLOSE_S = 10.0  # how long the end of a loop is waited for
NAN = float("nan")
# What a command asks of the loop's phase; what runs takes it from a queue, so it must be known to fit before.
RUNNING = frozenset(Phase) - {Phase.IDLE, Phase.ARMED, Phase.ENDED}
FITS: Mapping[type[events.Event], frozenset[Phase]] = {
    events.Pause: RUNNING - {Phase.PAUSED, Phase.HALTING},
    events.Resume: frozenset({Phase.PAUSED}),
    events.Stop: RUNNING - {Phase.HALTING},
    events.Abort: RUNNING,
    events.Approve: frozenset({Phase.APPROVING}),
    events.Reject: frozenset({Phase.APPROVING}),
}
STATES = {Phase.IDLE: State.STANDBY, Phase.ARMED: State.ON, Phase.MOVING: State.MOVING, Phase.APPROVING: State.ON}
ENDS = {Outcome.ALIGNED: State.STANDBY, Outcome.FAILED: State.FAULT}


@dataclass(frozen=True, kw_only=True)
class AlignmentStatus(Status):
    """What an alignment shows; positions in the axes' own units, in the order of `axes`."""

    phase: str = reading("idle", label="Phase", description="What the loop is doing.")
    outcome: str = reading("", label="Outcome", description="How the last loop ended; empty while one runs.")
    reason: str = reading("", label="Reason", description="Why it ended, with the rule and both numbers.")
    armed_by: str = reading("", label="Armed by", description="Who allowed moves; empty where nobody does.")
    method: str = reading("", label="Method", description="How the best point is looked for.")
    axes: tuple[str, ...] = reading((), label="Axes", description="Axes that the loop may move.")
    positions: tuple[float, ...] = reading((), label="Positions", description="Where the axes stand.", format="%.9g")
    target: tuple[float, ...] = reading((), label="Target", description="Where they go.", format="%.9g")
    best: tuple[float, ...] = reading((), label="Best point", description="Where most was measured.", format="%.9g")
    start_point: tuple[float, ...] = reading(
        (), label="Start", description="Where the axes stood at Start.", format="%.9g"
    )
    value: float = reading(NAN, label="Value", description="What was measured last.", format="%.6g")
    best_value: float = reading(NAN, label="Best value", description="The most that was measured.", format="%.6g")
    history: tuple[float, ...] = reading((), label="History", description="The last values.", format="%.6g")
    exposures: int = count("Exposures", "Measurements since Start.")
    moves: int = count("Moves", "Moves since Start.")
    refused: int = count("Refused", "Moves that the guard refused since Start.")
    restored: str = reading("", label="Restored", description="Where the axes were brought back to: start or best.")
    journal: str = reading("", label="Journal", description="File of all proposals, decisions and moves.")
    reflections: tuple[str, ...] = reading(
        (), label="Reflections", description="Reflections that are kept: number, h k l, tag; or why there are none."
    )
    ub: tuple[float, ...] = reading(
        (), label="UB", description="UB row by row, with 2 pi, You's frame; empty before a fit.", unit="1/angstrom",
        format="%.9g",
    )  # fmt: skip
    residual_deg: float = reading(
        NAN, label="Residual", description="Largest angle between a reflection and where UB puts it.", unit="deg",
        format="%.4f", limits=(0, None),
    )  # fmt: skip
    procedure: str = reading("", label="Procedure", description="The procedure that runs, or the last one; or empty.")
    result: str = reading("", label="Result", description="What the last procedure found, as JSON; empty until then.")


class Alignment:
    """Configure, arm, start, pause, resume, stop, abort, restore; methods return at once, `status` tells the rest.

    `open_beamline` makes the beamline of some settings; `out` is the folder of journals.
    """

    def __init__(
        self, settings: AlignmentSettings, open_beamline: Callable[[AlignmentSettings], Beamline], out: Path
    ) -> None:
        self._open, self._out = open_beamline, out
        self._commands: queue.SimpleQueue[events.AnyEvent] = queue.SimpleQueue()
        self._history: list[float] = []
        self._board = Board(AlignmentStatus(state=State.STANDBY))
        self._thread: threading.Thread | None = None
        self._hand: Hand | None = None
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
        self._history.clear()
        self._board.update(method=str(plan.method))
        self._run(events.Arm(now_s=now_s, by=armed.armed_by, seconds=left_s), events.Start(now_s=now_s))

    def rocking_curve(self, axis: str) -> None:
        """Scan an axis ("": that of the settings), and go to the middle of the peak."""
        axis = axis or self._settings.procedures.rotation
        self._start_procedure("RockingCurve", lambda bench: rocking_curve(bench, axis), axis)

    def centre_of_rotation(self) -> None:
        """Tell how far the crystal, which is in the beam, lies from the axis of rotation; correct nothing."""
        self._start_procedure("CentreOfRotation", centre_of_rotation, *self._rotating)

    def eucentric_height(self) -> None:
        """Bring the crystal onto the axis of rotation."""
        self._start_procedure("EucentricHeight", eucentric_height, *self._rotating)

    def track(self, seconds: float) -> None:
        """Keep the crystal in the beam for some seconds, within those of the arming; a Stop ends it in order."""
        if not seconds > 0.0:
            raise SettingsError(f"Track: for {seconds} s; give a time above 0")
        self._start_procedure("Track", lambda bench: track(bench, seconds=seconds))

    def restore(self, to: str) -> None:
        """Bring the axes of an ended loop back to the "start" or the "best" point, while armed."""
        self._must_rest("Restore")
        if to not in ("start", "best"):
            raise SettingsError(f"Restore: {to!r} is neither start nor best")
        if {"start": self._loop.progress.start, "best": self._loop.progress.best}[to] is None:
            raise RefusedError(f"Restore: no {to} point is known")
        self._run(events.Restore(now_s=time.monotonic(), to=to))

    def tell(self, command: type[events.Event]) -> None:
        """Hand a command to the loop that runs; raise RefusedError where it does not fit. An Abort at rest disarms."""
        phase = self._loop.progress.phase
        # Between two stages of a procedure no loop runs: the next one is told.
        between = phase is Phase.ENDED and command in (events.Abort, events.Stop)
        if self._busy and self._hand is not None:
            self._hand.tell(command(now_s=time.monotonic()))  # type: ignore[arg-type]
        elif self._busy and (between or phase in FITS[command]):
            self._commands.put(command(now_s=time.monotonic()))  # type: ignore[arg-type]
        elif not self._busy and command in (events.Abort, events.Stop):
            self._handle(events.Abort(now_s=time.monotonic()))
        else:
            raise RefusedError(f"{command.__name__}: the loop is {phase}")

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
            self.tell(events.Abort)
        if self._thread is not None:
            self._thread.join(CLOSE_S)

    @property
    def _busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _use(self, settings: AlignmentSettings) -> None:
        self._settings, self._hand = settings, None
        self._plan = settings
        self._loop = Loop(settings, chosen)
        self._board.update(method=str(settings.method), axes=tuple(settings.axes), journal="", procedure="", result="")
        self._told(self._loop.progress)

    def _handle(self, event: events.AnyEvent) -> None:
        """What a loop at rest may be told, by whoever calls."""
        self._loop.handle(event)
        self._told(self._loop.progress)

    def _run(self, *first: events.AnyEvent) -> None:
        journal = Journal(new_name(self._out).with_suffix(".jsonl"), self._plan)
        self._board.update(journal=str(journal.path))
        if self._settings.client:
            self._hand = hand = Hand(self._plan, self._loop, journal, self._told)
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

    @property
    def _rotating(self) -> tuple[str, str, str]:
        names = self._settings.procedures
        return names.rotation, names.across, names.along

    def _start_procedure(self, name: str, procedure: Callable[[Bench], Result], *axes: str) -> None:
        self._must_rest(name)
        armed = self._loop.progress
        if armed.phase is not Phase.ARMED or armed.armed_until_s is None:
            raise RefusedError(f"{name}: the loop is {armed.phase}; Arm it first")
        if missing := [axis for axis in axes if axis not in self._settings.axes]:
            raise SettingsError(f"{name}: no {', '.join(missing)} in alignment.axes; name them in procedures")
        self._history.clear()
        self._board.update(procedure=name, result="", exposures=0)
        chain = Chain(
            by=armed.armed_by, seconds=armed.armed_until_s - time.monotonic(), told=self._stage_told,
            commands=self._next, journal=self._stage_journal, make=self._stage_loop,
        )  # fmt: skip
        self._begin(lambda: self._go_through(procedure, chain))

    def _go_through(self, procedure: Callable[[Bench], Result], chain: Chain) -> None:
        settings = self._settings
        result, why = None, ""
        try:
            with DeadMan(settings.devices, settings.dead_man_s) as dead_man:
                chain.alive = dead_man.beat
                result, why = attempted(procedure, bench_of(settings, self._open, chain, settings.plan()))
        except Exception as error:  # noqa: BLE001 - the axes stand; whatever it was, a person must know
            why = one_line(error)
        last = chain.done[-1].progress if chain.done else Progress(phase=Phase.ENDED)
        if why and last.outcome in (Outcome.NONE, Outcome.ALIGNED):
            last = replace(last, outcome=Outcome.FAILED, reason=why)
        self._loop = Loop(settings, chosen)  # the next Arm is one for all axes
        self._board.update(result=json.dumps(result.figures()) if result else "")
        self._told(last)

    def _stage_told(self, progress: Progress) -> None:
        """While stages follow each other none of them is the end."""
        if progress.phase in RUNNING:
            self._told(progress)

    def _stage_journal(self, stage: str, plan: Plan) -> Journal:
        journal = Journal(new_name(self._out).with_suffix(f".{stage}.jsonl"), plan)
        self._board.update(journal=str(journal.path))
        return journal

    def _stage_loop(self, plan: Plan, choose: Callable[[Plan, Point], Method]) -> Loop:
        self._loop = Loop(plan, choose)
        return self._loop

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
        if progress.exposures > self.status.exposures:
            self._history = [*self._history, progress.value][-HISTORY:]
        names = tuple(self._settings.axes)

        def at(point: Mapping[str, float] | None) -> tuple[float, ...]:
            return tuple(point.get(name, NAN) for name in names) if point else ()

        self._board.update(
            state=_state(progress),
            message=_said(progress),
            phase=str(progress.phase),
            outcome=str(progress.outcome),
            reason=progress.reason,
            armed_by=progress.armed_by if progress.armed_until_s is not None else "",
            positions=at(progress.positions),
            target=at(progress.target),
            best=at(progress.best),
            start_point=at(progress.start),
            value=progress.value,
            best_value=progress.best_value if progress.best else NAN,
            history=tuple(self._history),
            exposures=progress.exposures,
            moves=progress.moves,
            refused=progress.refused,
            restored=progress.restored,
        )

    def _must_rest(self, command: str) -> None:
        if self._thread is not None and not self._loop.running:
            self._thread.join(TIDY_S)
        if self._busy:
            raise RefusedError(f"{command}: the loop is {self._loop.progress.phase}; Stop or Abort it first")


def _state(progress: Progress) -> State:
    if progress.phase is Phase.ENDED:
        return ENDS.get(progress.outcome, State.ALARM if progress.outcome is Outcome.LOST else State.STANDBY)
    return STATES.get(progress.phase, State.RUNNING)


def _said(progress: Progress) -> str:
    if progress.phase is Phase.ENDED:
        return f"{progress.outcome}: {progress.reason}" + (
            "; Reset acknowledges" if _state(progress) is State.FAULT else ""
        )
    by = f", armed by {progress.armed_by}" if progress.armed_by else ""
    return f"{progress.phase}{by}: exposures: {progress.exposures}, moves: {progress.moves}"
