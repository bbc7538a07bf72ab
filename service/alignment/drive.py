"""Does what a loop wants: moves, waits, measures, and tells it what came of it; commands come in between."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from service.alignment import events
from service.alignment.journal import Journal
from service.alignment.loop import Loop
from service.alignment.progress import Progress
from service.errors import BraggloopError, RefusedError, one_line
from service.ports import Beamline

POLL_S = 0.05
# Axes that have not arrived after this long never will.
MOVE_S = 60.0
# How long axes may take to come to a stand once they were told to stop.
STOP_S = 5.0

Commands = Callable[[], events.AnyEvent | None]
"""commands() -> the next command of a person, None where there is none now."""


class _Interrupted(Exception):
    """A command or a deadline came in the middle of something: what the loop wants instead."""

    def __init__(self, actions: Sequence[events.Action]) -> None:
        super().__init__()
        self.actions = actions


class Driver:
    """Drives one loop on one beamline; used by one thread. `told` hears of every step; `alive` is called while it goes
    on well, several times a second but while something is measured.

    Whatever goes wrong in here, a journal that cannot be written too, the axes are stopped before it is raised.
    """

    def __init__(
        self,
        loop: Loop,
        beamline: Beamline,
        journal: Journal | None = None,
        commands: Commands = lambda: None,
        told: Callable[[Progress], None] = lambda _: None,
        move_s: float = MOVE_S,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._alive = alive
        self._loop, self._beamline, self._journal = loop, beamline, journal
        self._commands, self._told, self._move_s = commands, told, move_s

    def run(self, *first: events.AnyEvent) -> Progress:
        """Tell the loop `first`, then go on until it has ended; return how. Raises RefusedError if they do not fit."""
        try:
            for event in first:
                self._perform(self._tell(event))
            while self._loop.running:
                try:
                    self._rest(POLL_S)
                except _Interrupted as interrupted:
                    self._perform(interrupted.actions)
        except BaseException as error:
            self._give_up(error)
            raise
        return self._loop.progress

    def align(self, by: str, seconds: float, travelled: Mapping[str, float] | None = None) -> Progress:
        """Arm by name for some seconds, start, and go on until the end; return how it ended.

        `travelled`: what axes have gone before in the same arming.
        """
        now_s = self._beamline.now_s()
        arm = events.Arm(now_s=now_s, by=by, seconds=seconds, travelled=travelled or {})
        return self.run(arm, events.Start(now_s=now_s))

    def _give_up(self, error: BaseException) -> None:
        """Stop the axes and let the loop end, past the journal, which may be what failed."""
        self._stop_axes()
        if self._loop.running:
            said = one_line(error) or type(error).__name__
            for _ in range(2):  # the first halts it, the second says that nobody can tell where the axes stand
                self._loop.handle(events.AxesFailed(now_s=self._beamline.now_s(), what=said))

    def _perform(self, actions: Sequence[events.Action]) -> None:
        while actions:
            try:
                actions = self._tell(self._done(actions[0]))
            except _Interrupted as interrupted:
                actions = interrupted.actions

    def _tell(self, event: events.AnyEvent) -> Sequence[events.Action]:
        actions = self._loop.handle(event)
        if any(isinstance(action, events.Halt) for action in actions):
            self._stop_axes()  # at once: a disk may be slow
        if self._journal is not None:
            self._journal.record(event, actions)
        self._told(self._loop.progress)
        return actions

    def _done(self, action: events.Action) -> events.AnyEvent:
        match action:
            case events.Move():
                return self._moved(action)
            case events.Halt():
                return self._halted()
            case events.Expose():
                return self._exposed()
            case events.Wait():
                self._rest(action.seconds)
                return events.Tick(now_s=self._beamline.now_s())
            case events.Look():
                return self._stand(self._move_s)
        raise TypeError(f"{action!r} is no action")

    def _moved(self, move: events.Move) -> events.AnyEvent:
        try:
            for axis, target in move.targets.items():
                self._beamline.axes[axis].move(target)
        except BraggloopError as error:
            return self._axes_failed(str(error))
        return self._stand(self._move_s)

    def _halted(self) -> events.AnyEvent:
        """Tell all axes to stop, again and again, until they stand or patience ends."""
        until_s = self._beamline.now_s() + STOP_S
        while said := self._stop_axes() or self._moving():
            if self._beamline.now_s() > until_s:
                return self._axes_failed(f"{said} after {STOP_S:g} s")
            self._pass(POLL_S)
        return self._standing()

    def _stop_axes(self) -> str:
        """Stop all axes, however many of them refuse; return what they said."""
        said = []
        for axis in self._beamline.axes.values():
            try:
                axis.abort()
            except Exception as error:  # noqa: BLE001 - whatever one axis raises, the others must be stopped
                said.append(f"{axis.name}: {one_line(error)}")
        return "; ".join(said)

    def _moving(self) -> str:
        try:
            moving = [name for name, axis in self._beamline.axes.items() if axis.moving]
        except BraggloopError as error:
            return one_line(error)
        return f"{', '.join(moving)} still moves" if moving else ""

    def _stand(self, patience_s: float) -> events.AnyEvent:
        until_s = self._beamline.now_s() + patience_s
        self._listen()
        try:
            while moving := [name for name, axis in self._beamline.axes.items() if axis.moving]:
                if self._beamline.now_s() > until_s:
                    return self._axes_failed(f"{', '.join(moving)} still moves after {patience_s:g} s")
                self._pass(POLL_S)
        except BraggloopError as error:
            return self._axes_failed(str(error))
        return self._standing()

    def _standing(self) -> events.AnyEvent:
        try:
            positions, light = self._positions(), self._beamline.light()
            now_s = self._beamline.now_s()
            return events.Standing(now_s=now_s, positions=positions, beam=light.beam, shutter=light.shutter)
        except BraggloopError as error:
            return self._axes_failed(str(error))

    def _exposed(self) -> events.AnyEvent:
        try:
            exposure, positions = self._beamline.expose(), self._positions()
        except BraggloopError as error:
            return events.ResultLost(now_s=self._beamline.now_s(), what=one_line(error))
        self._listen()
        return events.Exposed(
            now_s=self._beamline.now_s(), value=exposure.value, taken_s=exposure.taken_s, positions=positions,
            beam=exposure.beam, shutter=exposure.shutter, left_out=exposure.left_out,
        )  # fmt: skip

    def _rest(self, seconds: float) -> None:
        until_s = self._beamline.now_s() + seconds
        self._listen()
        while (left_s := until_s - self._beamline.now_s()) > 0.0:
            self._pass(min(left_s, POLL_S))

    def _pass(self, seconds: float) -> None:
        self._beamline.rest(seconds)
        self._listen()

    def _listen(self) -> None:
        """Tell the loop of all commands, and of a deadline that has passed; raise _Interrupted if it wants something.

        Commands are of the time when they are heard, whatever they say. One that does not fit is dropped: who gave it
        was told by whoever took it.
        """
        self._alive()
        wanted: Sequence[events.Action] = ()
        while (command := self._commands()) is not None:
            with contextlib.suppress(RefusedError):
                stamped = command.model_copy(update={"now_s": self._beamline.now_s()})
                wanted = self._tell(stamped) or wanted
        if not wanted and self._loop.running and self._beamline.now_s() >= self._loop.deadline_s:
            wanted = self._tell(events.Tick(now_s=self._beamline.now_s()))
        if wanted:
            raise _Interrupted(wanted)

    def _positions(self) -> dict[str, float]:
        return {name: axis.read() for name, axis in self._beamline.axes.items()}

    def _axes_failed(self, what: str) -> events.AnyEvent:
        return events.AxesFailed(now_s=self._beamline.now_s(), what=one_line(what))
