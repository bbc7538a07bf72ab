"""The command line: help with examples, exit codes, one-line errors, JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from service import compose
from service.cli import app
from service.commands.options import report_for, settings_from
from service.commands.report import DONE, FAILED, WRONG_USE, HumanReport, JsonReport, one_line_errors
from service.errors import DataError, SettingsError
from tests.helpers.results import write_scan


def commands(group: Any) -> Iterator[str]:
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from (f"{name} {below}" for below in commands(command))
        else:
            yield name


COMMANDS = list(commands(typer.main.get_command(app)))
runner = CliRunner()


def test_all_commands_are_there() -> None:
    assert set(COMMANDS) >= {"demo", "stream", "worker", "serve", "reconstruct", "check", "models", "version"}
    assert set(COMMANDS) >= {"engines build", "engines bench"}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_the_shared_options(command: str) -> None:
    result = runner.invoke(app, [*command.split(), "--help"], env={"COLUMNS": "160", "TERM": "dumb", "NO_COLOR": "1"})
    assert result.exit_code == DONE
    assert f"braggloop {command}" in result.stdout.split("Example:")[1]
    for option in ("--json", "--out", "--settings", "--debug") if command != "version" else ("--json",):
        assert option in result.stdout


@pytest.mark.parametrize(
    "line",
    [
        ["nonsense"],
        ["reconstruct"],
        ["reconstruct", "/does/not/exist.h5"],
        ["reconstruct", "--starts", "many", __file__],
        ["check", "tcp://127.0.0.1:1", "--seconds", "-1"],
        ["version", "--unknown"],
        ["stream", "--source", "replay"],
        ["stream", "--source", "nonsense"],
        ["stream", "--endpoint", "nonsense"],
        ["worker", "--endpoint", "nonsense"],
        ["check", "nonsense"],
    ],
)
def test_wrong_use_is_two(line: list[str]) -> None:
    assert runner.invoke(app, line).exit_code == WRONG_USE


def test_wrong_use_is_one_line_and_one_json_object() -> None:
    result = runner.invoke(app, ["reconstruct", "/does/not/exist.h5"])
    (line,) = result.stderr.splitlines()
    assert line.startswith("error Invalid value for 'FILE': path '/does/not/exist.h5' does not exist; see ")
    assert line.endswith("reconstruct --help'")
    for wrong in (["reconstruct", "/does/not/exist.h5"], ["check"], ["version", "--unknown"], ["nonsense"]):
        result = runner.invoke(app, [*wrong, "--json"])
        assert result.exit_code == WRONG_USE
        assert json.loads(result.stdout)["ok"] is False
        assert result.stderr == ""


def test_a_stream_that_nobody_would_trigger_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAGGLOOP__STREAMER__TRIGGER", "software")
    result = runner.invoke(app, ["stream", "--json"])
    assert result.exit_code == WRONG_USE
    assert "only FrameStreamer takes triggers" in json.loads(result.stdout)["error"]


def test_no_arguments_is_the_help() -> None:
    result = runner.invoke(app, [])
    assert result.exit_code == WRONG_USE
    assert "Commands" in result.output


@pytest.mark.parametrize(
    "line", [["reconstruct", ""], ["worker", "--http-port", "0"], ["demo"], ["serve"]], ids=lambda line: line[0]
)
def test_folder_that_cannot_be_written_is_told_before_the_work(line: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = [part or str(write_scan(tmp_path / "scan.h5")) for part in line]
    spool = ["--spool", str(tmp_path / "spool")] if line[0] == "worker" else []
    result = runner.invoke(app, [*line, *spool, "--out", str(tmp_path / "file" / "results"), "--json"])
    assert result.exit_code == WRONG_USE
    assert "choose a folder that can be written" in json.loads(result.stdout)["error"]


@pytest.mark.parametrize("option", ["--results", "--requests"])
def test_address_that_cannot_be_bound_does_not_start_a_worker(option: str, tmp_path: Path) -> None:
    line = ["worker", option, "nonsense", "--http-port", "0", "--spool", str(tmp_path / "spool"), "--json"]
    result = runner.invoke(app, line)
    assert result.exit_code == WRONG_USE
    assert "endpoint nonsense" in json.loads(result.stdout)["error"]


@pytest.mark.parametrize(
    ("requests", "warnings"), [([], 0), (["--requests", "tcp://127.0.0.1:0"], 0), (["--requests", "tcp://*:0"], 1)]
)
def test_requests_that_other_machines_reach_are_warned_of_in_one_line(
    requests: list[str], warnings: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "worker", lambda settings, tell: SimpleNamespace(run=lambda: DONE))
    result = runner.invoke(app, ["worker", *requests, "--spool", str(tmp_path / "spool"), "--out", str(tmp_path)])
    assert result.exit_code == DONE
    assert [line.startswith("warning: worker.requests") for line in result.stderr.splitlines()].count(True) == warnings


def test_wrong_setting_is_two_and_one_line(tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text("[phasing]\nstart = 3\n")
    result = runner.invoke(app, ["reconstruct", __file__, "--settings", str(tmp_path / "wrong.toml")])
    assert result.exit_code == WRONG_USE
    assert "phasing.start" in result.stderr
    assert "Traceback" not in result.stderr


def test_foreign_file_is_one_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, ["reconstruct", __file__])
    assert result.exit_code == FAILED
    assert result.stdout == ""
    assert "not HDF5" in result.stderr
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in result.stderr


def test_failure_is_one_json_object() -> None:
    result = runner.invoke(app, ["reconstruct", __file__, "--json"])
    assert result.exit_code == FAILED
    record = json.loads(result.stdout.splitlines()[-1])
    assert record["ok"] is False
    assert record["kind"] == "SourceError"


def test_debug_lets_the_traceback_through() -> None:
    result = runner.invoke(app, ["reconstruct", __file__, "--debug"])
    assert result.exit_code == FAILED
    assert result.exception is not None
    assert not isinstance(result.exception, SystemExit)


def test_version_for_both() -> None:
    assert json.loads(runner.invoke(app, ["version", "--json"]).stdout)["ok"] is True
    assert "braggloop" in runner.invoke(app, ["version"]).stdout


def test_options_win_over_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("out = 'from-file'\n[phasing]\nstarts = 3\nseed = 4\n")
    settings = settings_from(tmp_path / "a.toml", None, phasing={"starts": 7, "size": None})
    assert (settings.phasing.starts, settings.phasing.seed, settings.out) == (7, 4, Path("from-file"))
    assert settings_from(tmp_path / "a.toml", tmp_path).out == tmp_path


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DataError("no\ncounts"), FAILED, "no counts"),
        (SettingsError("wrong key"), WRONG_USE, "wrong key"),
        (RuntimeError("deep inside"), FAILED, "RuntimeError: deep inside (--debug shows where)"),
        (RuntimeError(), FAILED, "RuntimeError"),
        (KeyboardInterrupt(), FAILED, "interrupted"),
    ],
)
def test_errors_become_one_line_and_a_code(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for report in (HumanReport(), JsonReport()):
        with pytest.raises(SystemExit) as stopped, one_line_errors(report, debug=False):
            raise error
        assert stopped.value.code == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert said in json.loads(captured.out)["error"]


def test_progress_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    for report in (report_for(False), report_for(True)):
        with report.progress() as advance:
            for share in (0.0, 0.01, 0.5, 1.0):
                advance("phase [1]", share)
        report.note("[red]said")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("phase [1] 0 %") == 2
    assert captured.err.count("[red]said") == 2


def test_tables_are_for_people_and_records_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    report_for(False).table("title", [("name", "[value]")])
    report_for(False).finish({"name": 1})
    assert "[value]" in capsys.readouterr().out
    report_for(True).table("title", [("name", "value")])
    report_for(True).finish({"name": Path("a")})
    assert json.loads(capsys.readouterr().out) == {"ok": True, "name": "a"}
