"""The loop on the twin's clock: it aligns, obeys, refuses, ends with a reason, and replays from its journal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.align.safety import faulty_run
from models.simulate.goniometer import Goniometer
from service.adapters import twin_scene
from service.adapters.twin_beamline import Trouble, TwinBeamline
from service.alignment import events, guard
from service.alignment.drive import Driver
from service.alignment.journal import Journal, read_journal, replayed
from service.alignment.loop import Loop
from service.alignment.methods.choose import chosen
from service.alignment.methods.port import Point
from service.alignment.plan import Plan
from service.alignment.progress import Outcome, Phase, Progress
from service.errors import DeviceError, RefusedError, ResultError, SourceError
from service.settings import AxisSettings

ARM = events.Arm(now_s=0.0, by="a person", seconds=1000.0)
START = events.Start(now_s=0.0)


class Script:
    """A method that proposes points in their order and believes the last one."""

    def __init__(self, points: Iterable[float]) -> None:
        self._points, self.told = list(points), []
        self._best = self._points[-1] if self._points else 0.0

    def ask(self) -> Point | None:
        return np.array([self._points.pop(0)]) if self._points else None

    def tell(self, at: Point, value: float, time_s: float) -> None:
        self.told.append(float(at[0]))

    def refused(self) -> None:
        self.told.append(math.nan)

    def failure(self) -> str:
        return ""

    def best(self) -> Point:
        return np.array([self._best])


def twin(**axis: float) -> TwinBeamline:
    settings = AxisSettings(**{"position": 0.0, "velocity": 1.0, "low_limit": -100.0, "high_limit": 100.0, **axis})
    return TwinBeamline(Goniometer(rocking_fwhm_deg=5.0), {"eta": settings})


def plan(**changes: object) -> Plan:
    eta = {"low": -10.0, "high": 10.0, "width": 5.0, "tolerance": 0.05, "largest_step": 1.0}
    eta |= {
        name: changes.pop(name) for name in list(changes) if name in ("largest_rate", "largest_travel", "disagreement")
    }
    return Plan.model_validate({"axes": {"eta": eta}, "collapse_share": 0.0, **changes})


class Run:
    """One loop, what it made of a script, and every step."""

    def __init__(self, asked: Plan, points: Iterable[float], beamline: TwinBeamline | None = None) -> None:
        self.twin = beamline or twin()
        self.method = Script(points)
        self.loop = Loop(asked, lambda _, __: self.method)
        self.steps: list[Progress] = []
        self.commands: list[tuple[Callable[[Progress], bool], type[events.Event]]] = []

    def __call__(self, *first: events.AnyEvent) -> Progress:
        driver = Driver(self.loop, self.twin, None, self._command, self.steps.append, move_s=20.0)
        return driver.run(*(first or (ARM, START)))

    def when(self, condition: Callable[[Progress], bool], command: type[events.Event]) -> None:
        self.commands.append((condition, command))

    def _command(self) -> events.AnyEvent | None:
        if self.commands and self.commands[0][0](self.loop.progress):
            return self.commands.pop(0)[1](now_s=0.0)  # type: ignore[return-value]
        return None


def moving(progress: Progress) -> bool:
    return progress.phase is Phase.MOVING


@pytest.mark.parametrize("method", ["peak", "scan", "seeking"])
def test_a_crystal_is_aligned_and_the_journal_replays(method: str, tmp_path: Path) -> None:
    beamline, asked = twin_scene.beamline(twin_scene.near(2)), twin_scene.plan(method, 600)
    journal = Journal(tmp_path / "journal.jsonl", asked)
    progress = Driver(Loop(asked, chosen), beamline, journal).run(ARM, START)
    journal.close()
    assert progress.outcome is Outcome.ALIGNED
    if method != "seeking":  # which arrives near, not to the tolerance
        assert twin_scene.aligned(beamline.off())
    assert replayed(journal.path, lambda plan: Loop(plan, chosen)) == []


def test_a_journal_tells_plan_events_and_actions_and_a_cut_line_is_left_out(tmp_path: Path) -> None:
    path, asked = tmp_path / "journal.jsonl", plan()
    journal = Journal(path, asked)
    run = Run(asked, [0.5])
    Driver(run.loop, run.twin, journal).run(ARM, START)
    journal.close()
    read, entries = read_journal(path)
    assert read == asked
    assert [entry.event.kind for entry in entries[:3]] == ["arm", "start", "standing"]
    path.write_text(path.read_text()[:-5])
    assert len(read_journal(path)[1]) == len(entries) - 1


@pytest.mark.parametrize("text", ["", "nonsense\n", "{}\n", '{"format": "another 1", "plan": {}}\n'])
def test_what_is_no_journal_is_told_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "journal").write_text(text)
    with pytest.raises(SourceError, match=r"^journal [^\n]*$"):
        read_journal(tmp_path / "journal")


def test_nothing_moves_unarmed_or_without_a_name() -> None:
    run = Run(plan(), [1.0])
    with pytest.raises(RefusedError, match="Arm it first"):
        run(START)
    with pytest.raises(RefusedError, match="not by whom"):
        run(events.Arm(now_s=0.0, by=" ", seconds=10.0))
    assert run.twin.axes["eta"].read() == 0.0


def test_an_abort_disarms() -> None:
    run = Run(plan(), [1.0])
    run(ARM)
    run.loop.handle(events.Abort(now_s=1.0))
    with pytest.raises(RefusedError):
        run.loop.handle(START)


def test_long_ways_are_made_in_steps_and_no_step_is_larger() -> None:
    run = Run(plan(), [5.0])
    progress = run()
    assert progress.moves >= 5
    assert run.twin.axes["eta"].read() == pytest.approx(5.0)


def test_the_rate_is_waited_for() -> None:
    run = Run(plan(largest_rate=0.1), [2.0])
    assert run().outcome is Outcome.ALIGNED
    assert run.twin.now_s() >= 20.0


@pytest.mark.parametrize("command", [events.Stop, events.Abort])
def test_stop_and_abort_stop_the_axes_where_they_are(command: type[events.Event]) -> None:
    run = Run(plan(), [8.0])
    run.when(lambda progress: progress.moves == 2, command)
    progress = run()
    assert (progress.outcome, progress.reason) == (
        (Outcome.STOPPED, "Stop") if command is events.Stop else (Outcome.ABORTED, "Abort")
    )
    assert not run.twin.axes["eta"].moving
    assert run.twin.axes["eta"].read() < 2.5


@pytest.mark.parametrize(("on_stop", "where"), [("start", 0.0), ("best", 1.0), ("stay", 2.0)])
def test_a_stopped_loop_leaves_the_axes_where_the_plan_says(on_stop: str, where: float) -> None:
    run = Run(
        plan(on_stop=on_stop), [1.0, 2.0, 3.0], TwinBeamline(Goniometer(reflection_deg=1.0), {"eta": AxisSettings()})
    )
    run.when(lambda progress: progress.exposures == 2, events.Stop)
    progress = run()
    assert progress.outcome is Outcome.STOPPED
    assert run.twin.axes["eta"].read() == pytest.approx(where, abs=0.3)
    assert progress.restored == ("" if on_stop == "stay" else on_stop)


def test_a_restore_comes_from_where_the_axes_stand_then() -> None:
    run = Run(plan(), [3.0])
    run()
    run.twin.axes["eta"].move(6.0)
    progress = run(events.Restore(now_s=run.twin.now_s(), to="start"))
    assert progress.restored == "start"
    assert run.twin.axes["eta"].read() == pytest.approx(0.0)


def test_a_pause_holds_between_legs_and_a_resume_goes_on() -> None:
    run = Run(plan(), [5.0])
    run.when(lambda progress: progress.moves == 1, events.Pause)
    run.when(lambda progress: progress.phase is Phase.PAUSED, events.Resume)
    assert run().outcome is Outcome.ALIGNED
    assert run.method.told == [pytest.approx(5.0)]
    assert Phase.PAUSED in {step.phase for step in run.steps}


def test_a_pause_on_the_way_to_the_best_point_holds_there() -> None:
    run = Run(plan(), [0.5])
    run.when(lambda progress: moving(progress) and progress.exposures == 1, events.Pause)
    run.when(lambda progress: progress.phase is Phase.PAUSED, events.Resume)
    assert run().outcome is Outcome.ALIGNED
    assert Phase.PAUSED in {step.phase for step in run.steps}


def test_each_move_waits_for_a_person_where_the_plan_says_so() -> None:
    run = Run(plan(approve=True), [0.5, 0.8])
    waits = lambda progress: progress.phase is Phase.APPROVING  # noqa: E731
    run.when(waits, events.Approve)
    run.when(waits, events.Reject)
    run.when(waits, events.Approve)
    progress = run()
    assert progress.outcome is Outcome.ALIGNED
    assert run.method.told[0] == pytest.approx(0.5)
    assert math.isnan(run.method.told[1])


def test_a_dry_run_moves_nothing_and_writes_moves_down(tmp_path: Path) -> None:
    asked = plan(dry_run=True)
    run, journal = Run(asked, [0.5, 5.0]), Journal(tmp_path / "journal", asked)
    progress = Driver(run.loop, run.twin, journal).run(ARM, START)
    journal.close()
    assert (progress.outcome, progress.moves) == (Outcome.REHEARSED, 0)
    assert run.twin.axes["eta"].read() == 0.0
    planned = [
        each.instead_of for _, actions in read_journal(journal.path)[1] for each in actions if each.kind == "expose"
    ]
    assert planned == [{"eta": 0.5}, {"eta": 1.0}]


def test_a_refused_proposal_is_told_to_the_method_and_named_at_last() -> None:
    run = Run(plan(), [20.0] * 50)
    progress = run()
    assert progress.outcome is Outcome.EXHAUSTED
    assert run.twin.axes["eta"].read() <= 10.0
    assert "soft limit of eta: " in progress.reason or "largest" in progress.reason


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("lost", "told nothing"),
        ("stale", "staleness: a result 60"),
        ("nan", "the value is nan"),
        ("no beam", "no beam for"),
        ("shutter", "shutter closed for"),
    ],
)
def test_a_lost_result_or_light_ends_it_with_the_reason(trouble: str, said: str) -> None:
    run = Run(plan(light_patience_s=5.0), [1.0, 2.0])
    run.twin.trouble = Trouble(trouble)
    progress = run()
    assert progress.outcome is Outcome.LOST
    assert said in progress.reason
    assert not math.isfinite(progress.best_value)


def test_light_that_comes_back_is_waited_for() -> None:
    run = Run(plan(), [1.0])
    run.twin.trouble = Trouble.SHUTTER

    def opened(progress: Progress) -> bool:
        if run.twin.now_s() > 5.0:
            run.twin.trouble = Trouble.NONE
        return False

    run.when(opened, events.Beat)
    assert run().outcome is Outcome.ALIGNED


@pytest.mark.parametrize("failure", ["stuck", "lying"])
def test_an_axis_that_does_not_obey_ends_it(failure: str) -> None:
    run = Run(plan(), [0.9, 1.8, 2.7])
    run.twin.axes["eta"].fail(failure)
    progress = run()
    assert progress.outcome is Outcome.FAILED
    assert progress.reason.startswith("disagreement of eta: ")


def test_a_slow_axis_is_given_up_and_stopped() -> None:
    run = Run(plan(), [1.0])
    run.twin.axes["eta"].set_velocity(0.01)
    progress = run()
    assert progress.reason == "eta still moves after 20 s"
    assert not run.twin.axes["eta"].moving


def test_the_end_of_arming_stops_a_move() -> None:
    run = Run(plan(), [9.0])
    progress = run(events.Arm(now_s=0.0, by="a person", seconds=3.0), START)
    assert progress.outcome is Outcome.FAILED
    assert "the arming ended" in progress.reason
    assert run.twin.now_s() < 4.0


def test_silence_stops_it_and_signs_of_life_keep_it_going() -> None:
    assert "heartbeat: silent for" in Run(plan(heartbeat_s=2.0), [9.0])().reason
    run = Run(plan(heartbeat_s=2.0), [9.0])
    for _ in range(100):
        run.when(lambda _: True, events.Beat)
    run.commands = [(lambda _, at=at: run.twin.now_s() >= at, events.Beat) for at in np.arange(0.0, 30.0, 0.5)]
    assert run().outcome is Outcome.ALIGNED


def test_values_that_collapse_bring_it_back_to_the_best_point() -> None:
    run = Run(plan(collapse_share=0.5, collapse_after=3), [0.5, 8.0, 8.5, 9.0, 9.5], twin())
    progress = run()
    assert progress.outcome is Outcome.LOST
    assert progress.reason.startswith("collapse: 3 values below ")
    assert progress.restored == "best"
    assert run.twin.axes["eta"].read() == pytest.approx(0.5)


def test_a_method_that_raises_ends_it_with_what_it_said() -> None:
    run = Run(plan(on_stop="start"), [2.0])

    def tell(*_: object) -> None:
        raise np.linalg.LinAlgError("singular")

    run.method.tell = tell  # type: ignore[method-assign]
    progress = run()
    assert (progress.outcome, progress.reason) == (Outcome.FAILED, "method peak: singular")
    assert progress.restored == "start"


class Refusing:
    """An axis whose abort fails for a while, and one beside it."""

    def __init__(self, axis: object, times: int, error: Exception) -> None:
        self._axis, self._times, self._error = axis, times, error

    def __getattr__(self, name: str) -> object:
        return getattr(self._axis, name)

    def abort(self) -> None:
        if self._times > 0:
            self._times -= 1
            raise self._error
        self._axis.abort()  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [DeviceError("timeout"), RuntimeError("broken")])
def test_axes_are_told_to_stop_until_they_stand(error: Exception) -> None:
    run = Run(plan(), [8.0])
    run.twin.axes["eta"] = Refusing(run.twin.axes["eta"], 3, error)  # type: ignore[assignment]
    run.when(lambda progress: progress.moves == 2, events.Stop)
    assert run().outcome is Outcome.STOPPED
    assert not run.twin.axes["eta"].moving


def test_a_read_back_that_is_missing_when_halting_ends_it() -> None:
    run = Run(plan(), [8.0])
    run.when(moving, events.Stop)
    read = run.twin.axes["eta"].read
    run.twin.axes["eta"].read = lambda: math.nan if run.loop.progress.phase is Phase.HALTING else read()  # type: ignore[method-assign]
    assert "no read-back of eta" in run().reason


def test_a_journal_that_cannot_be_written_stops_the_axes(tmp_path: Path) -> None:
    asked = plan()
    run, journal = Run(asked, [8.0]), Journal(tmp_path / "journal", asked)
    written = journal.record

    def full(event: events.AnyEvent, actions: object) -> None:
        if run.loop.progress.moves >= 2:
            raise ResultError("journal: no space left")
        written(event, actions)  # type: ignore[arg-type]

    journal.record = full  # type: ignore[method-assign]
    with pytest.raises(ResultError, match="no space left"):
        Driver(run.loop, run.twin, journal).run(ARM, START)
    journal.close()
    assert not run.twin.axes["eta"].moving
    assert "no space left" in run.loop.progress.reason


def test_runs_with_faults_are_safe_and_end_with_a_reason() -> None:
    ended = [faulty_run(seed) for seed in range(60)]
    assert [each for each in ended if not each.safe] == []
    assert len({each.fault for each in ended}) > 6


@pytest.mark.parametrize("rule", ["_inside", "_zones", "_steps", "_rates", "_armed", "_travel"])
def test_the_watcher_sees_what_each_rule_holds_back(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weaker = tuple(each for each in guard.RULES if each.__name__ != rule)
    monkeypatch.setattr(guard, "RULES", weaker)
    if rule == "_rates":
        monkeypatch.setattr(guard, "earliest_s", lambda limits, known, targets: known.now_s)
    if rule == "_armed":
        monkeypatch.setattr(Loop, "deadline_s", math.inf)
    if rule == "_steps":
        monkeypatch.setattr(guard, "next_leg", lambda limits, positions, targets: dict(targets))
    assert any(faulty_run(seed).wrong for seed in range(150)), rule
