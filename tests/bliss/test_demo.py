"""`braggloop bliss-demo` as a person runs it: a tour by script, a session in tmux, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.image
import psutil
import pytest

from models.simulate.goniometer import offset
from service.adapters.twin_scene import BEAM_M, ROCKING_DEG, near
from service.commands.bliss_lab import MARK, SETTINGS_FILE
from service.commands.report import DONE, FAILED
from tests.bliss.conftest import LAB, ROOT

pytestmark = [pytest.mark.bliss, pytest.mark.skipif(not os.environ.get(LAB), reason=f"{LAB} names no lab")]

QUICK = f"""
{SETTINGS_FILE.read_text().partition("[phasing]")[0]}
[twin]
rows = 48
columns = 48
[phasing]
recipe = "30*ER+60*HIO+20*ER"
starts = 4
keep = 2
size = 48
"""
TERMINAL = "tmux: server"  # that of the test names the folder too
TOUR_S, SAID_S = 200.0, 90.0


def line(folder: Path, *options: str) -> list[str]:
    (folder / "quick.toml").write_text(QUICK)
    given = ["--out", str(folder / "out"), "--settings", str(folder / "quick.toml"), *options]
    return [sys.executable, "-m", "service.cli", "bliss-demo", *given]


def left(folder: Path) -> list[str]:
    """What a demo with that folder still runs: its own processes, and sessions with all that they started."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = [process.environ().get(MARK, ""), *(process.cmdline() if process.name() != TERMINAL else ())]
            if any(str(folder) in word for word in words):
                found.append(" ".join(process.cmdline()))
    return found


def test_a_tour_by_script_tells_the_figures_and_leaves_a_picture(tmp_path: Path) -> None:
    done = subprocess.run(
        line(tmp_path, "--json"), cwd=ROOT, capture_output=True, text=True, timeout=TOUR_S, check=False
    )
    assert done.returncode == DONE, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["ok"]
    assert (told["points"], told["seriesStatus"], told["outcome"]) == (64, "done", "aligned")
    off = offset(near(0).goniometer, told["best"], 0.0)  # it drifts, by less than 100 nm until then
    assert max(abs(off.x_m), abs(off.y_m)) < 0.4 * BEAM_M
    assert abs(off.eta_deg) < 0.4 * ROCKING_DEG
    assert 0.0 < told["rFactor"] < 0.5
    assert matplotlib.image.imread(told["picture"]).std() > 0.05
    assert ">>> ascan(theta" in done.stderr
    assert not left(tmp_path)


def test_a_demo_that_is_told_to_end_takes_its_session_along(tmp_path: Path) -> None:
    with subprocess.Popen(
        line(tmp_path, "--no-tmux"), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for said in process.stderr:
            if ">>> ascan" in said:
                break
        assert any("tour.py" in command for command in left(tmp_path))
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
    assert process.returncode == FAILED
    assert not left(tmp_path)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux here")
def test_a_session_opens_in_tmux_and_all_ends_with_it(tmp_path: Path) -> None:
    terminal = ["tmux", "-L", f"test-{os.getpid()}", "-f", os.devnull]
    started = [*terminal, "new-session", "-d", "-x", "150", "-y", "50", *line(tmp_path)]
    screen = {"QT_QPA_PLATFORM": "offscreen", "DISPLAY": ":offscreen"}  # Flint opens as if there were one
    subprocess.run(started, cwd=ROOT, env={**os.environ, **screen, "TMUX": ""}, check=True)
    try:
        _wait_for(terminal, "[1]:")
        for key in ("braggloop.status()", "Enter"):
            subprocess.run([*terminal, "send-keys", key], check=True)
        _wait_for(terminal, "waiting for a series")
        _wait_for(terminal, "shown in Flint")
        for key in ("quit()", "Enter"):
            subprocess.run([*terminal, "send-keys", key], check=True)
        until_s = time.monotonic() + SAID_S
        while left(tmp_path):
            assert time.monotonic() < until_s, left(tmp_path)
            time.sleep(0.5)
    finally:
        subprocess.run([*terminal, "kill-server"], stderr=subprocess.DEVNULL, check=False)


def _wait_for(terminal: list[str], words: str) -> None:
    until_s, screen = time.monotonic() + SAID_S, ""
    while words not in screen:
        assert time.monotonic() < until_s, screen
        time.sleep(0.5)
        screen = subprocess.run([*terminal, "capture-pane", "-p"], capture_output=True, text=True, check=False).stdout
