"""A loop handed to a client that owns its motors, as a Bliss session does: it asks what to do, does it, and reports.

Suggest -> look, move, expose, wait, halt or end       Report -> standing, exposed, axes failed, result lost
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.alignment import events
from service.alignment.journal import Journal
from service.alignment.loop import Actions, Loop
from service.alignment.plan import Plan
from service.alignment.progress import Phase, Progress
from service.errors import RefusedError, SettingsError, one_line

TICK_S = 0.05  # between two looks at the clock
# How long a client that is told to stop its axes may take to say that they stand.
STOP_S = 5.0
# How long a client waits where nothing is to be done, s.
IDLE_S = 0.5


class Report(BaseModel):
    """What came of suggestion `number`: axes stand or a value was measured `age_s` ago, at `positions`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    number: int
    kind: Literal["standing", "exposed", "axes failed", "result lost"]
    positions: Mapping[str, float] = Field(default_factory=dict)
    value: float | None = None
    age_s: float = 0.0
    beam: bool = True
    shutter: bool = True
    what: str = ""

    def event(self, now_s: float) -> events.AnyEvent:
        light = {"beam": self.beam, "shutter": self.shutter}
        match self.kind:
            case "standing":
                return events.Standing(now_s=now_s, positions=self.positions, **light)
            case "exposed":
                if self.value is None:
                    raise SettingsError("Report: exposed without a value; NaN says that there was none")
                taken_s = now_s - self.age_s
                return events.Exposed(now_s=now_s, value=self.value, taken_s=taken_s, positions=self.positions, **light)
            case "axes failed":
                return events.AxesFailed(now_s=now_s, what=one_line(self.what) or "the client says no more")
            case "result lost":
                return events.ResultLost(now_s=now_s, what=one_line(self.what) or "the client says no more")


ANSWERS: Mapping[type[events.Action], tuple[str, ...]] = {
    events.Look: ("standing", "axes failed"),
    events.Move: ("standing", "axes failed"),
    events.Halt: ("standing", "axes failed"),
    events.Expose: ("exposed", "result lost", "axes failed"),
    events.Wait: ("axes failed",),
}


# After these nothing that was suggested before stands, even where the loop wants nothing else; after a command it does.
ENDING = (events.Standing, events.Exposed, events.AxesFailed, events.ResultLost, events.Tick, events.Start)


def parse_report(text: str) -> Report:
    """Return the report of a JSON object; raise SettingsError where it is none."""
    try:
        return Report.model_validate_json(text)
    except ValidationError as error:
        item = error.errors()[0]
        where = ".".join(map(str, item["loc"])) or "content"
        raise SettingsError(one_line(f"Report: {where}: {item['msg']}")) from error


class Hand:
    """Drives one loop by what a client reports; for several threads. `told` hears of every step.

    Each suggestion has a number of `numbers` and stands until it is reported of or another takes its place, after a
    Stop say; so Suggest may be asked again at any time. A client is told to halt wherever that was due, however late it
    asks. Where the plan wants signs of life each call of the client is one.
    """

    def __init__(
        self,
        plan: Plan,
        loop: Loop,
        journal: Journal,
        told: Callable[[Progress], None] = lambda _: None,
        clock_s: Callable[[], float] = time.monotonic,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self._loop, self._told, self._clock_s = loop, told, clock_s
        self._journal: Journal | None = journal
        self._beats = math.isfinite(plan.heartbeat_s)
        self._lock = threading.RLock()
        self._action: events.Action | None = None
        self._halt: events.Halt | None = None  # due, and the client has not been told
        self._numbers = itertools.count(1) if numbers is None else numbers
        self._number, self._since_s = next(self._numbers), clock_s()

    def watch(self) -> None:
        """Look at the clock until the loop has ended; the journal may be closed then."""
        while self._loop.running:
            time.sleep(TICK_S)
            self.tick()
        with self._lock:
            self._journal = None

    def tell(self, event: events.AnyEvent) -> None:
        """Tell the loop of an event; a command that does not fit raises RefusedError and changes nothing.

        Whatever else goes wrong, a journal that cannot be written too, halts the client before it is raised.
        """
        with self._lock:
            try:
                actions = self._loop.handle(event)
                if self._journal is not None:
                    self._journal.record(event, actions)
            except RefusedError:
                raise
            except Exception as error:
                self._give_up(error)
                raise
            if actions or isinstance(event, ENDING):
                self._suggest(actions)
            self._told(self._loop.progress)

    def _give_up(self, error: Exception) -> None:
        """Let the loop halt, past the journal, which may be what failed."""
        self._journal = None
        what = one_line(error) or type(error).__name__
        self._suggest(self._loop.handle(events.AxesFailed(now_s=self._clock_s(), what=what)))
        self._halt = self._halt or events.Halt(why=what)
        self._told(self._loop.progress)

    def _suggest(self, actions: Actions) -> None:
        self._action = actions[0] if actions else None
        if isinstance(self._action, events.Halt):
            self._halt = self._action
        self._number, self._since_s = next(self._numbers), self._clock_s()

    def tick(self) -> None:
        """Let time pass: a wait ends, an arming or a silence does, a client does not stop its axes."""
        with self._lock:
            now_s = self._clock_s()
            for_s = now_s - self._since_s
            if self._loop.progress.phase is Phase.HALTING:
                if for_s > STOP_S:
                    what = f"the client did not say that its axes stand, {for_s:.3g} s after it was told to stop them"
                    self.tell(events.AxesFailed(now_s=now_s, what=what))
            elif self._loop.running and (now_s >= self._loop.deadline_s or self._waited(for_s)):
                self.tell(events.Tick(now_s=now_s))

    def _waited(self, for_s: float) -> bool:
        return isinstance(self._action, events.Wait) and for_s >= self._action.seconds

    def suggest(self) -> dict[str, Any]:
        """Return what the client is to do: `number`, `kind` and what belongs to it (`targets`, `seconds`, `why`)."""
        with self._lock:
            self._heard()
            number, halt = {"number": self._number}, self._halt
            self._halt = None
            if halt is not None:
                return {**halt.model_dump(mode="json"), **number}
            progress = self._loop.progress
            if not self._loop.running:
                best = dict(progress.best or {})
                return {"kind": "end", **number, "outcome": progress.outcome, "why": progress.reason, "best": best}
            if self._action is None:
                return {"kind": "wait", **number, "seconds": IDLE_S, "why": progress.phase}
            given = self._action.model_dump(mode="json")
            if isinstance(self._action, events.Wait):
                left_s = self._action.seconds - (self._clock_s() - self._since_s)
                given |= {"seconds": max(left_s, TICK_S), "why": progress.phase}
            return {**given, **number}

    def report(self, report: Report) -> None:
        """Take what came of a suggestion; raise RefusedError where it is not the present one, or not its answer.

        That axes stand after all is over changes nothing.
        """
        with self._lock:
            self._heard()
            if report.number != self._number:
                raise RefusedError(f"Report: of suggestion {report.number}, the present one is {self._number}; Suggest")
            if not self._loop.running:
                return
            fitting = ANSWERS[type(self._action)] if self._action is not None else ("axes failed",)
            if report.kind not in fitting:
                asked = "wait" if self._action is None else self._action.model_dump()["kind"]
                raise RefusedError(f"Report: {report.kind!r}, expected of {asked!r}: {' or '.join(fitting)}")
            self.tell(report.event(self._clock_s()))

    def _heard(self) -> None:
        self.tick()
        if self._beats and self._loop.running:
            self.tell(events.Beat(now_s=self._clock_s()))
