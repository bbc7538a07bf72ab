"""`braggloop align` on the twin: it aligns, tells where its files are, and says in one line what was wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.alignment import events
from service.alignment.journal import replayed
from service.alignment.loop import Loop
from service.alignment.methods.choose import chosen
from service.cli import app
from service.commands.procedures import Interrupts
from service.commands.report import DONE, FAILED, WRONG_USE

runner = CliRunner()


def align(folder: Path, *options: str) -> tuple[int, dict[str, Any]]:
    result = runner.invoke(app, ["align", *options, "--out", str(folder), "--json"])
    return result.exit_code, json.loads(result.stdout.splitlines()[-1])


def test_the_twins_crystal_is_aligned(tmp_path: Path) -> None:
    code, told = align(tmp_path, "--seed", "3")
    assert (code, told["ok"], told["aligned"]) == (DONE, True, True)
    assert abs(told["offset"]["x_m"]) < 25e-9
    assert abs(told["offset"]["eta_deg"]) < 0.005
    assert 0 < told["exposures"] < 60
    assert Path(told["picture"]).read_bytes().startswith(b"\x89PNG")
    assert replayed(Path(told["journal"][0]), lambda plan: Loop(plan, chosen)) == []


@pytest.mark.slow
def test_a_crystal_far_away_is_found(tmp_path: Path) -> None:
    code, told = align(tmp_path, "--far", "--seed", "1")
    assert (code, told["aligned"]) == (DONE, True)
    assert len(told["journal"]) > 4


def test_a_dry_run_aligns_nothing_and_says_so(tmp_path: Path) -> None:
    code, told = align(tmp_path, "--dry-run", "--method", "parabola")
    assert (code, told["ok"], told["aligned"], told["outcome"]) == (DONE, True, False, "rehearsed")
    assert "dry run: no move was made; 20 proposals were judged" in told["reason"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--method", "luck"), "settings: method: "),
        (("--seconds", "-1"), "give a time above 0"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    code, told = align(tmp_path, *options)
    assert code in (FAILED, WRONG_USE)
    assert said in told["error"]
    assert "\n" not in told["error"]


def test_axes_without_devices_are_refused(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text("[alignment.axes.x]\nlow = 0.0\nhigh = 1.0\nwidth = 1.0\ntolerance = 0.1\nlargest_step = 0.1\n")
    code, told = align(tmp_path, "--settings", str(settings))
    assert code == WRONG_USE
    assert "devices and value say nothing" in told["error"]


@pytest.mark.parametrize("given", ['value = "a/b/c/d"', "client = true", '[alignment.devices]\nx = "a/b/c"'])
def test_what_is_said_of_devices_without_axes_is_not_taken_for_the_twin(given: str, tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(f"[alignment]\n{given}\n")
    code, told = align(tmp_path, "--settings", str(settings))
    assert code == WRONG_USE
    assert "no axes; name them in" in told["error"]


@pytest.mark.parametrize(
    ("what", "options", "told_too"),
    [
        ("rocking", ("--points", "31"), {"centre", "width", "height", "background", "width_deviation"}),
        ("rotation", ("--correct",), {"off", "deviation", "moves", "corrected"}),
        ("reflection", (), {"positions", "off_px", "true_off_px"}),
        ("track", ("--exposures", "30", "--hours", "0.1"), {"walked", "ended"}),
    ],
)
def test_a_procedure_tells_its_figures(what: str, options: tuple[str, ...], told_too: set[str], tmp_path: Path) -> None:
    code, told = align(tmp_path, what, "--seed", "3", *options)
    assert (code, told["ok"], told["procedure"]) == (DONE, True, what)
    assert told_too < set(told)
    assert len(told["journal"]) == len(told["stages"])
    assert Path(told["picture"]).read_bytes().startswith(b"\x89PNG")
    for journal in told["journal"]:
        assert replayed(Path(journal), lambda plan: Loop(plan, chosen)) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("luck",), "choose one of crystal, rocking, rotation, height, reflection, track"),
        (("--correct",), "--correct is for rotation, not for crystal"),
        (("rotation", "--hours", "2"), "--hours is for track, not for rotation"),
        (("track", "--far"), "--far is for a crystal, not for track"),
        (("rocking", "--axis", "mu"), "no axis 'mu' in alignment.axes"),
        (("height", "--seconds", "1"), "the arming ended"),
        (("rotation", "--dry-run"), "--dry-run is for a crystal, not for rotation"),
        (("rocking", "--method", "golden"), "--method is not for rocking"),
        (("rocking", "--widths", "1000"), "41 places lie 50 widths apart"),
    ],
)
def test_what_a_procedure_cannot_do_is_told(options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    code, told = align(tmp_path, *options)
    assert code in (FAILED, WRONG_USE)
    assert said in told["error"]


def test_ctrl_c_ends_a_track_at_its_best_point_and_the_next_one_at_once() -> None:
    interrupts = Interrupts()
    assert interrupts() is None
    interrupts.ask()
    assert isinstance(interrupts(), events.Stop)
    assert interrupts() is None
    with pytest.raises(KeyboardInterrupt):
        interrupts.ask()
