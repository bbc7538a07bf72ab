"""The loop: events in, actions out, on whatever clock it is given. It moves nothing and reads nothing by itself.

    idle > armed > looking > (moving > exposing > waiting, approving, paused) > ... > halting > ended

So a thousand runs with faults take a minute, and a journal of the events alone replays to the same decisions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from service.alignment import events
from service.alignment.guard import Positions, Refusal
from service.alignment.methods.port import Method, Point
from service.alignment.plan import Plan
from service.alignment.progress import Outcome, Phase, Progress
from service.alignment.way import Way
from service.errors import BraggloopError, RefusedError, one_line

# A value that is none, stale or lost is measured again so often, in a row.
RETRIES = 3
# So many proposals refused in a row, and the method will not find a way.
MOST_REFUSED = 8
# How long until beam, shutter or a lost result are looked at again, s.
LOOK_AGAIN_S = 1.0
# Refusals that another proposal does not mend.
FINAL = {"arming", "axes", "target", "read-back", "heartbeat"}
DARK = {"beam", "shutter"}
# What a command that does not fit waits for.
INSTEAD = {
    events.Arm: "; Stop or Abort it first",
    events.Start: "; Arm it first",
    events.Resume: ", not paused",
    events.Restore: "; Stop it first",
}
# What a method may raise: it ends the loop, not the process.
METHOD_ERRORS = (ArithmeticError, ValueError, RuntimeError, LookupError, TypeError, BraggloopError)

Actions = tuple[events.Action, ...]
Step = Callable[[float], Actions]


class Loop:
    """One alignment, begun anew by each Start. Not for several threads at once."""

    def __init__(self, plan: Plan, choose: Callable[[Plan, Point], Method]) -> None:
        self._plan, self._choose = plan, choose
        self._names = tuple(plan.axes)
        self.progress = Progress()
        self._way = Way(plan)
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._method: Method | None = None
        self._result_s: float | None = None
        self._odd = self._refreshed = self._refusals = self._low = 0
        self._dark_s: float | None = None
        self._pausing = self._approved = False
        # What comes after the present look, wait, exposure and way.
        self._looked: Step = self._expose
        self._waited: Step = self._expose
        self._arrived: Step = self._expose
        self._renewed: Step | None = None
        self._restoring, self._back = "", "stay"

    @property
    def running(self) -> bool:
        return self.progress.running

    @property
    def travelled(self) -> Positions:
        """How far each axis has gone since the arming, in its unit."""
        return self._way.travelled

    @property
    def deadline_s(self) -> float:
        """When a Tick is due at the latest: the arming or a silence ends."""
        armed_s = self.progress.armed_until_s
        return min(math.inf if armed_s is None else armed_s, self._way.silent_from_s)

    def handle(self, event: events.AnyEvent) -> Actions:
        """Return what is to be done now; raise RefusedError where a command does not fit, which changes nothing."""
        if self.running and (ended := self._overdue(event)):
            return ended
        if why := self.unfit(type(event)):
            raise RefusedError(why)
        handlers: Mapping[type[events.Event], Callable[..., Actions]] = {
            events.Arm: self._arm,
            events.Start: self._start,
            events.Pause: self._pause,
            events.Resume: self._resume,
            events.Stop: self._stop,
            events.Abort: self._abort,
            events.Restore: self._restore,
            events.Approve: self._approve,
            events.Reject: self._reject,
            events.Beat: self._beat,
            events.Tick: self._tick,
            events.Standing: self._standing,
            events.Exposed: self._exposed,
            events.AxesFailed: self._axes_failed,
            events.ResultLost: self._result_lost,
        }
        return handlers[type(event)](event)

    # Commands

    def unfit(self, command: type[events.Event]) -> str:
        """Return why a command does not fit now, "" where it does; whatever else happens always fits."""
        phase, running = self.progress.phase, self.running
        orderly = running and phase is not Phase.HALTING
        fits = {
            events.Arm: not running,
            events.Start: phase is Phase.ARMED,
            events.Pause: orderly,
            events.Resume: self._pausing,
            events.Stop: orderly or phase is Phase.ARMED,
            events.Abort: phase is not Phase.IDLE,
            events.Restore: not running,
            events.Approve: phase is Phase.APPROVING,
            events.Reject: phase is Phase.APPROVING,
        }
        return "" if fits.get(command, True) else f"{command.__name__}: the loop is {phase}{INSTEAD.get(command, '')}"

    def _arm(self, event: events.Arm) -> Actions:
        if not event.by.strip():
            raise RefusedError("Arm: says not by whom; give a name")
        if not (math.isfinite(event.seconds) and event.seconds > 0.0):
            raise RefusedError(f"Arm: for {event.seconds} s; give a time above 0")
        self._way.arm(event.now_s, event.travelled)
        kept = self.progress
        self.progress = Progress(
            phase=Phase.ARMED, armed_by=event.by, armed_until_s=event.now_s + event.seconds, start=kept.start,
            best=kept.best, best_value=kept.best_value,
        )  # fmt: skip
        return ()

    def _start(self, event: events.Start) -> Actions:
        self._begin_anew()
        self._way.forget()
        self._show(start=None, best=None, best_value=-math.inf)
        return self._look(self._begin)

    def _pause(self, event: events.Pause) -> Actions:
        self._pausing = True
        return self._now(Phase.PAUSED) if self.progress.phase is Phase.APPROVING else ()

    def _resume(self, event: events.Resume) -> Actions:
        self._pausing = False
        if self.progress.phase is not Phase.PAUSED:
            return ()
        # Somebody may have moved an axis meanwhile, and what was measured before is old.
        self._way.forget()
        return self._look(lambda now_s: self._renew(self._leg if self.progress.target else self._decide, now_s))

    def _stop(self, event: events.Stop) -> Actions:
        if self.progress.phase is Phase.ARMED:
            return self._disarmed()
        return self._end(Outcome.STOPPED, "Stop", back=self._plan.on_stop)

    def _abort(self, event: events.Abort) -> Actions:
        if self.progress.phase is Phase.HALTING:
            self._back = "stay"
            return ()
        if self.progress.phase in (Phase.ARMED, Phase.ENDED):
            return self._disarmed()
        return self._end(Outcome.ABORTED, "Abort")

    def _restore(self, event: events.Restore) -> Actions:
        if self._destination(event.to) is None:
            raise RefusedError(f"Restore: no {event.to} point is known")
        self._way.forget()
        self._pausing, self._restoring = False, event.to
        return self._look(self._go_back)

    def _approve(self, event: events.Approve) -> Actions:
        self._approved = True
        return self._look(self._leg)

    def _reject(self, event: events.Reject) -> Actions:
        found = Refusal(rule="approval", got="rejected", allowed="moves that a person approves")
        return self._refused(found, event.now_s)

    def _beat(self, event: events.Beat) -> Actions:
        self._way.heard(event.now_s)
        return ()

    # What happened

    def _tick(self, event: events.Tick) -> Actions:
        return self._waited(event.now_s) if self.progress.phase is Phase.WAITING else ()

    def _standing(self, event: events.Standing) -> Actions:
        phase = self.progress.phase
        if phase not in (Phase.LOOKING, Phase.MOVING, Phase.HALTING):
            return ()
        self._show(positions=dict(event.positions), beam=event.beam, shutter=event.shutter)
        missing = [name for name in self._names if not math.isfinite(event.positions.get(name, math.nan))]
        if missing:
            return self._axes_failed(events.AxesFailed(now_s=event.now_s, what=f"no read-back of {', '.join(missing)}"))
        if phase is Phase.HALTING:
            return self._halted(event.now_s)
        wrong = self._way.disagreement(event.positions)
        if wrong:
            return self._end(Outcome.FAILED, str(wrong))
        if phase is Phase.LOOKING:
            return self._looked(event.now_s)
        return self._arrived(event.now_s) if self._way.done else self._leg(event.now_s)

    def _exposed(self, event: events.Exposed) -> Actions:
        if self.progress.phase is not Phase.EXPOSING:
            return ()
        self._show(exposures=self.progress.exposures + 1, beam=event.beam, shutter=event.shutter)
        if not (event.beam and event.shutter):
            return self._dark(event.now_s, self._expose)
        age_s = event.now_s - event.taken_s
        if not math.isfinite(event.value):
            return self._again(f"the value is {event.value}")
        if not 0.0 <= age_s <= self._plan.stale_s:
            return self._again(f"staleness: a result {age_s:.6g} s old, allowed 0 to {self._plan.stale_s:.6g} s")
        if not all(math.isfinite(event.positions.get(name, math.nan)) for name in self._names):
            return self._again(f"a value without positions: {dict(event.positions)}")
        return self._take(event)

    def _axes_failed(self, event: events.AxesFailed) -> Actions:
        if self.progress.phase is Phase.HALTING:
            return self._ended(f"; then, when stopped: {event.what}")
        return self._end(Outcome.FAILED, event.what) if self.running else ()

    def _result_lost(self, event: events.ResultLost) -> Actions:
        if self.progress.phase is not Phase.EXPOSING:
            return ()
        self._show(exposures=self.progress.exposures + 1)
        return self._again(event.what, rest=True)

    # Steps

    def _begin(self, now_s: float) -> Actions:
        positions = self.progress.positions or {}
        self._show(start={name: positions[name] for name in self._names})

        def choose() -> Method:
            return self._choose(self._plan, np.array([positions[name] for name in self._names]))

        return self._with_method(choose, self._chosen, now_s)

    def _chosen(self, method: Method, now_s: float) -> Actions:
        self._method = method
        return self._decide(now_s)

    def _take(self, event: events.Exposed) -> Actions:
        self._dark_s, self._odd, self._result_s = None, 0, event.taken_s
        at = {name: event.positions[name] for name in self._names}
        self._show(value=event.value, positions={**(self.progress.positions or {}), **event.positions})
        wrong = self._way.disagreement(event.positions)
        if wrong:
            return self._end(Outcome.FAILED, str(wrong))
        if self._renewed is not None:  # the method did not ask for this one
            renewed, self._renewed = self._renewed, None
            return renewed(event.now_s)
        self._refusals = self._refreshed = 0
        return self._judge(event, at)

    def _judge(self, event: events.Exposed, at: Positions) -> Actions:
        best = self.progress.best_value
        lowest = self._plan.collapse_share * best
        low = self._plan.counts and 0.0 < best < math.inf and event.value < lowest
        self._low = self._low + 1 if low else 0
        if event.value > best:
            self._show(best=at, best_value=event.value)
        if self._low >= self._plan.collapse_after:
            return self._collapsed(lowest)

        def tell() -> None:
            assert self._method is not None
            self._method.tell(np.array([at[name] for name in self._names]), event.value, event.taken_s)
            if self._plan.follow:  # where most was measured an hour ago is not where to go back to
                self._show(best=self._named(self._method.best()))

        return self._with_method(tell, lambda _, now_s: self._decide(now_s), event.now_s)

    def _decide(self, now_s: float) -> Actions:
        """Standing and measured: what next?"""
        self._show(target=None)
        if self._pausing:
            return self._now(Phase.PAUSED)
        if self.progress.exposures >= self._plan.most_exposures:
            if self._plan.dry_run:
                return self._rehearsed()
            used = f"{self.progress.exposures} exposures, allowed {self._plan.most_exposures}"
            return self._end(Outcome.EXHAUSTED, used, back=self._plan.on_stop)
        assert self._method is not None
        self._approved = False
        return self._with_method(self._method.ask, self._proposed, now_s)

    def _proposed(self, point: Point | None, now_s: float) -> Actions:
        if point is not None:
            return self._go(self._named(point), now_s, self._expose)
        assert self._method is not None
        return self._with_method(self._method.failure, self._judged, now_s)

    def _judged(self, failure: str, now_s: float) -> Actions:
        if failure:
            return self._end(Outcome.EXHAUSTED, failure, back=self._plan.on_stop)
        assert self._method is not None
        return self._with_method(
            self._method.best, lambda best, now_s: self._go(self._named(best), now_s, self._at_best), now_s
        )

    def _go(self, target: Positions, now_s: float, arrived: Step) -> Actions:
        self._arrived = arrived
        self._show(target=target)
        self._way.aim(target)
        return self._leg(now_s)

    def _leg(self, now_s: float) -> Actions:
        """The next part of the way to the target, once every rule allows it."""
        if self._pausing and not self._restoring:
            return self._now(Phase.PAUSED)
        leg = self._way.leg(self.progress.positions or {})
        known = self._way.known(self.progress, now_s, self._result_s, restoring=bool(self._restoring))
        ready_s = self._way.earliest_s(known, leg)
        if ready_s > now_s and not self._plan.dry_run:
            return self._wait(ready_s - now_s, lambda _: self._look(self._leg))
        found = self._way.refusal(replace(known, now_s=max(now_s, ready_s)) if self._plan.dry_run else known, leg)
        if found:
            return self._refused(found, now_s)
        if self._plan.approve and not (self._approved or self._restoring):
            return self._now(Phase.APPROVING)
        if self._plan.dry_run:
            measured = self._arrived == self._expose
            return self._now(Phase.EXPOSING, events.Expose(instead_of=leg)) if measured else self._arrived(now_s)
        self._way.go(leg, known)
        self._refreshed = 0
        self._show(moves=self.progress.moves + 1)
        return self._now(Phase.MOVING, events.Move(targets=leg))

    def _refused(self, found: Refusal, now_s: float) -> Actions:
        self._show(refused=self.progress.refused + 1)
        if found.rule in FINAL or self._restoring:
            return self._end(Outcome.FAILED, str(found))
        if found.rule in DARK:
            return self._dark(now_s, lambda _: self._look(self._leg))
        if found.rule == "staleness":
            self._refreshed += 1
            if self._refreshed > RETRIES:
                return self._end(Outcome.LOST, f"{found}, {self._refreshed} times in a row", back=self._plan.on_stop)
            return self._renew(self._leg, now_s)
        return self._other(found, now_s)

    def _other(self, found: Refusal, now_s: float) -> Actions:
        """A move that may not be made: is there another?"""
        self._refusals += 1
        if self._arrived == self._at_best:
            if self._way.trims:  # it stands at the best point, but for what play keeps it short of
                return self._at_best(now_s)
            return self._end(Outcome.EXHAUSTED, str(found), back=self._plan.on_stop)
        if self._refusals >= MOST_REFUSED:
            why = f"{found}; {self._refusals} proposals refused in a row, allowed {MOST_REFUSED - 1}"
            return self._end(Outcome.EXHAUSTED, why, back=self._plan.on_stop)
        assert self._method is not None
        return self._with_method(self._method.refused, lambda _, now_s: self._decide(now_s), now_s)

    def _at_best(self, now_s: float) -> Actions:
        if self._pausing:
            return self._now(Phase.PAUSED)
        positions = self.progress.positions or {}
        if self._plan.dry_run:
            return self._rehearsed()
        if self._way.trims < self._plan.most_trims and self._way.trim(positions):
            return self._leg(now_s)
        off = self._way.off(positions)
        if off:
            return self._end(Outcome.FAILED, str(off))
        best = self.progress.target or positions  # where most was measured may lie beside it
        self._show(phase=Phase.ENDED, outcome=Outcome.ALIGNED, reason="the best point is found", best=best)
        return ()

    def _rehearsed(self) -> Actions:
        judged = f"{self.progress.exposures} proposals were judged, {self.progress.refused} refused"
        return self._end(Outcome.REHEARSED, f"dry run: no move was made; {judged}")

    def _expose(self, now_s: float) -> Actions:
        return self._now(Phase.EXPOSING, events.Expose())

    def _renew(self, then: Step, now_s: float) -> Actions:
        """Measure where the axes stand, not for the method, and go on."""
        self._renewed = then
        return self._expose(now_s)

    def _again(self, why: str, rest: bool = False) -> Actions:
        self._odd += 1
        if self._odd > RETRIES:
            return self._end(Outcome.LOST, f"{why}, {self._odd} times in a row", back=self._plan.on_stop)
        return self._wait(LOOK_AGAIN_S, self._expose) if rest else self._now(Phase.EXPOSING, events.Expose())

    def _dark(self, now_s: float, then: Step) -> Actions:
        self._dark_s = now_s if self._dark_s is None else self._dark_s
        waited_s, patience_s = now_s - self._dark_s, self._plan.light_patience_s
        if waited_s > patience_s:
            why = "no beam" if not self.progress.beam else "shutter closed"
            return self._end(Outcome.LOST, f"{why} for {waited_s:.6g} s, allowed {patience_s:.6g} s")
        return self._wait(LOOK_AGAIN_S, then)

    def _collapsed(self, lowest: float) -> Actions:
        progress = self.progress
        low = f"{self._low} values below {lowest:.6g}, the last {progress.value:.6g}"
        why = f"collapse: {low}; the best was {progress.best_value:.6g}"
        return self._end(Outcome.LOST, why, back="stay" if self._plan.approve else "best")

    # Ends

    def _end(self, outcome: Outcome, reason: str, back: str = "stay") -> Actions:
        """Stop every axis; then, where they stand, go back if that is wanted. An end on the way back keeps the first
        reason.
        """
        if self._restoring and self.progress.outcome:
            self._show(reason=f"{self.progress.reason}; not restored: {reason}")
            back = "stay"
        else:
            self._show(outcome=outcome, reason=reason)
        self._restoring, self._back, self._renewed = "", back, None
        return self._now(Phase.HALTING, events.Halt(why=reason))

    def _halted(self, now_s: float) -> Actions:
        self._way.forget()
        if self._back == "stay" or self._destination(self._back) is None:
            return self._ended()
        self._restoring = self._back
        return self._go_back(now_s)

    def _go_back(self, now_s: float) -> Actions:
        """To the start or the best point: past beam, shutter and old results, by every other rule."""
        return self._go(self._destination(self._restoring) or {}, now_s, self._is_back)

    def _is_back(self, now_s: float) -> Actions:
        restored, self._restoring = self._restoring, ""
        reason = self.progress.reason or f"back at the {restored} point"
        self._show(restored=restored, reason=reason, outcome=self.progress.outcome or Outcome.STOPPED)
        return self._ended()

    def _ended(self, more: str = "") -> Actions:
        self._restoring = ""
        self._show(phase=Phase.ENDED, reason=self.progress.reason + more)
        return ()

    def _disarmed(self) -> Actions:
        armed = self.progress.phase is Phase.ARMED
        self._show(armed_until_s=None, **({"phase": Phase.IDLE} if armed else {}))
        return ()

    # Small things

    def _overdue(self, event: events.Event) -> Actions:
        if self.progress.phase is Phase.HALTING or isinstance(event, events.Beat) or event.now_s < self.deadline_s:
            return ()
        armed_until_s = self.progress.armed_until_s
        if armed_until_s is None or event.now_s >= armed_until_s:
            past_s = event.now_s - (armed_until_s or event.now_s)
            return self._end(Outcome.FAILED, f"the arming ended {past_s:.6g} s ago")
        return self._end(Outcome.FAILED, self._way.silence(event.now_s))

    def _with_method(self, call: Callable[[], Any], then: Callable[[Any, float], Actions], now_s: float) -> Actions:
        try:
            result = call()
        except METHOD_ERRORS as error:
            why = f"method {self._plan.method}: {one_line(error) or type(error).__name__}"
            return self._end(Outcome.FAILED, why, back=self._plan.on_stop)
        return then(result, now_s)

    def _named(self, point: Point) -> dict[str, float]:
        return dict(zip(self._names, point.tolist(), strict=True))

    def _destination(self, to: str) -> Positions | None:
        return {"start": self.progress.start, "best": self.progress.best}.get(to)

    def _look(self, then: Step) -> Actions:
        self._looked = then
        return self._now(Phase.LOOKING, events.Look())

    def _wait(self, seconds: float, then: Step) -> Actions:
        self._waited = then
        return self._now(Phase.WAITING, events.Wait(seconds=seconds))

    def _now(self, phase: Phase, *actions: events.Action) -> Actions:
        self._show(phase=phase)
        return actions

    def _show(self, **changes: object) -> None:
        self.progress = replace(self.progress, **changes)  # type: ignore[arg-type]
