"""A loop whose client owns the motors: what it is told to do, what it may answer, and what becomes of silence."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from service.alignment import events
from service.alignment.hand import STOP_S, Hand, parse_report
from service.alignment.journal import Journal, replayed
from service.alignment.loop import Loop
from service.alignment.methods.choose import chosen
from service.alignment.methods.lines import Lines
from service.alignment.plan import Plan
from service.alignment.progress import Outcome, Phase
from service.errors import RefusedError, ResultError, SettingsError

PLAN = {
    "axes": {"x": {"low": -5.0, "high": 5.0, "width": 1.0, "tolerance": 0.02, "largest_step": 2.0}},
    "method": "parabola",
    "heartbeat_s": 30.0,
}


class Client:
    """Owns one axis and counts what a peak at 1.2 gives; `clock_s` stands still but for what the test lets pass."""

    def __init__(self, folder: Path, **changes: object) -> None:
        self.clock_s, self.x = 0.0, 0.0
        self.plan = Plan.model_validate({**PLAN, **changes})
        self.loop = Loop(self.plan, chosen)
        self.journal = Journal(folder / "journal", self.plan)
        self.hand = Hand(self.plan, self.loop, self.journal, clock_s=lambda: self.clock_s)
        self.hand.tell(events.Arm(now_s=0.0, by="a test", seconds=600.0))
        self.hand.tell(events.Start(now_s=0.0))

    def answer(self, kind: str, number: int, **more: object) -> None:
        given = {"kind": kind, "number": number, "positions": {"x": self.x}, **more}
        self.hand.report(parse_report(json.dumps(given)))

    def step(self) -> dict[str, Any]:
        """Do what is suggested, and report it."""
        wanted = self.hand.suggest()
        number, self.clock_s = wanted["number"], self.clock_s + 0.1
        match wanted["kind"]:
            case "move":
                self.x = wanted["targets"]["x"]
                self.answer("standing", number)
            case "look" | "halt":
                self.answer("standing", number)
            case "expose":
                self.answer("exposed", number, value=1e4 * math.exp(-((self.x - 1.2) ** 2)))
            case "wait":
                self.clock_s += wanted["seconds"]
        return wanted

    def until(self, kind: str) -> dict[str, Any]:
        for _ in range(200):
            if self.hand.suggest()["kind"] == kind:
                return self.hand.suggest()
            self.step()
        raise AssertionError(f"{kind} is never suggested")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    one = Client(tmp_path)
    yield one
    one.journal.close()


def test_a_client_that_does_what_is_suggested_aligns_its_axes(client: Client) -> None:
    end = client.until("end")
    assert (end["outcome"], client.x) == ("aligned", pytest.approx(1.2, abs=0.05))
    client.journal.close()
    assert replayed(client.journal.path, lambda plan: Loop(plan, chosen)) == []


def test_a_suggestion_stands_until_it_is_reported_of(client: Client) -> None:
    assert client.hand.suggest() == client.hand.suggest() == {"kind": "look", "number": 2}


def test_reports_that_do_not_fit_change_nothing(client: Client) -> None:
    wanted = client.until("expose")
    with pytest.raises(RefusedError, match=f"of suggestion 0, the present one is {wanted['number']}"):
        client.answer("exposed", 0, value=1.0)
    with pytest.raises(RefusedError, match="'standing', expected of 'expose': exposed or result lost"):
        client.answer("standing", wanted["number"])
    assert client.hand.suggest() == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "content"), ("{}", "number"), ('{"number": 1, "kind": "moved"}', "kind"), ('{"number": 1, "x": 1}', "kind")],
)
def test_what_is_no_report_is_told(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=f"Report: .*{said}"):
        parse_report(text)


def test_a_stop_takes_the_place_of_what_was_suggested(client: Client) -> None:
    move = client.until("move")
    client.hand.tell(events.Stop(now_s=client.clock_s))
    with pytest.raises(RefusedError):
        client.answer("standing", move["number"])
    assert client.hand.suggest()["kind"] == "halt"
    client.step()
    assert client.hand.suggest()["outcome"] == "stopped"


def test_a_client_that_is_silent_ends_it(client: Client) -> None:
    client.until("move")
    client.clock_s += 29.0
    client.hand.suggest()  # a sign of life
    client.clock_s += 31.0
    client.hand.tick()
    assert client.loop.progress.phase is Phase.HALTING
    client.clock_s += STOP_S + 1.0
    client.hand.tick()
    assert client.loop.progress.outcome is Outcome.FAILED
    assert "heartbeat: silent for 31 s, allowed 30 s" in client.loop.progress.reason
    assert "did not say that its axes stand" in client.loop.progress.reason


def test_a_pause_holds_and_a_resume_goes_on(client: Client) -> None:
    client.until("expose")
    client.hand.tell(events.Pause(now_s=client.clock_s))
    client.step()
    held = client.hand.suggest()
    assert (held["kind"], held["why"]) == ("wait", "paused")
    client.hand.tell(events.Resume(now_s=client.clock_s))
    assert client.until("end")["outcome"] == "aligned"


def test_a_value_that_is_too_old_is_measured_again(client: Client) -> None:
    number = client.until("expose")["number"]
    client.answer("exposed", number, value=1.0, age_s=1e3)
    assert client.hand.suggest()["kind"] == "expose"


def test_a_journal_that_cannot_be_written_ends_it(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    number = client.until("look")["number"]

    def full(*_: object) -> None:
        raise ResultError("journal: no space left")

    monkeypatch.setattr(client.journal, "record", full)
    with pytest.raises(ResultError):
        client.answer("standing", number)
    halt = client.hand.suggest()
    assert (halt["kind"], halt["why"]) == ("halt", "journal: no space left")
    client.answer("standing", halt["number"])
    end = client.hand.suggest()
    assert (end["kind"], end["outcome"]) == ("end", "failed")


@pytest.mark.parametrize("second", [events.Abort, events.Beat])
def test_a_second_command_does_not_take_the_halt_away(client: Client, second: type[events.Event]) -> None:
    client.until("move")
    client.hand.tell(events.Stop(now_s=client.clock_s))
    client.hand.tell(second(now_s=client.clock_s))  # type: ignore[arg-type]
    assert client.hand.suggest()["kind"] == "halt"
    assert client.hand.suggest()["kind"] == "halt"
    client.step()
    assert client.hand.suggest()["kind"] == "end"


def test_a_client_that_was_away_is_told_to_halt_before_it_is_told_of_the_end(client: Client) -> None:
    client.until("move")
    client.clock_s += 31.0
    client.hand.tick()
    client.clock_s += STOP_S + 1.0
    client.hand.tick()
    assert client.loop.progress.phase is Phase.ENDED
    halt = client.hand.suggest()
    assert halt["kind"] == "halt"
    client.answer("standing", halt["number"])
    assert client.hand.suggest()["kind"] == "end"


def test_a_method_that_fails_in_its_last_word_ends_the_loop(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.until("expose")

    def broken(_: object) -> str:
        raise ValueError("no curve")

    monkeypatch.setattr(Lines, "failure", broken)
    assert client.until("end")["why"] == "method parabola: no curve"


def test_numbers_go_on_in_the_next_loop(tmp_path: Path) -> None:
    numbers = count(1)
    plan = Plan.model_validate(PLAN)
    with Journal(tmp_path / "one", plan) as journal:
        former = Hand(plan, Loop(plan, chosen), journal, numbers=numbers).suggest()["number"]
    with Journal(tmp_path / "other", plan) as journal:
        assert Hand(plan, Loop(plan, chosen), journal, numbers=numbers).suggest()["number"] > former
