"""A Bliss session on the twin in one command: the lab, the devices, a worker, and a tmux or a tour by script."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service.commands.bliss_lab import BLISS, BlissLab, lab_maker, made_lab, running_lab
from service.commands.report import Report
from service.errors import DeviceError, SettingsError
from service.results.durable import require_writable
from service.settings import Settings

TOUR_S = 600.0  # a session that hangs must not keep the lab
PICTURE = "bliss-demo.png"
# Flint, as soon as the session is there; one that does not open must not keep the session from opening.
SHOW = """
import os

if os.environ.get("DISPLAY"):
    try:
        braggloop.show()
    except RuntimeError as error:
        print(error)
"""
HINT = " ascan(theta, -0.5, 0.5, 63, 0.01, frames, reconstruction)  braggloop.align()  braggloop.show()  quit() "


def demo(settings: Settings, settings_file: Path, prefix: Path, report: Report) -> None:
    """Open a session in tmux, with Flint where there is a screen; all ends with the session.

    Raises SettingsError where there is no terminal or no tmux, DeviceError where the lab does not come up.
    """
    if shutil.which("tmux") is None or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise SettingsError("no terminal with tmux to open a session in; --no-tmux runs a tour by script")
    with _lab(settings, settings_file, prefix, report, SHOW) as lab:
        name = f"braggloop-{os.getpid()}"
        tmux = ["tmux", "-L", name, "-f", os.devnull]
        session = ["new-session", "bliss -s lab --no-tmux", ";", "set-option", "status-left-length", "200"]
        options = ["status-left", HINT, ";", "set-option", "status-right", "", ";", "set-option", "mouse", "on"]
        try:
            environment = {key: value for key, value in lab.environment.items() if key != "TMUX"}  # one within another
            subprocess.run([*tmux, *session, ";", "set-option", *options], env=environment, check=False)
        finally:
            subprocess.run([*tmux, "kill-server"], stderr=subprocess.DEVNULL, check=False)
    report.note(f"results and logs are in {settings.out.resolve()}")
    report.finish({"out": str(settings.out.resolve())})


def tour(settings: Settings, settings_file: Path, prefix: Path, report: Report) -> None:
    """Have a script scan, reconstruct, align and show in Flint without a screen, and tell the figures.

    Raises DeviceError where the lab or the script fails.
    """
    began_s = time.monotonic()
    picture = settings.out.resolve() / PICTURE
    with _lab(settings, settings_file, prefix, report) as lab:
        told = run_script(lab, BLISS / "tour.py", str(picture), note=report.note)
    seconds = time.monotonic() - began_s
    report.table("tour", [(name, _shown(value)) for name, value in told.items()])
    report.note(f"done in {seconds:.0f} s; results, pictures and logs are in {settings.out.resolve()}")
    report.finish({**told, "seconds": seconds, "lab": str(prefix)})


@contextmanager
def _lab(settings: Settings, settings_file: Path, prefix: Path, report: Report, setup: str = "") -> Iterator[BlissLab]:
    """The lab on a copy of its configuration, whose session runs `setup` after its own."""
    require_writable(settings.out, "out")
    if not lab_maker().made(prefix):
        report.note(f"making the lab in {prefix}: Bliss and Redis, 1.5 GB; some minutes, the first time")
        made_lab(prefix)
    configuration = settings.out.resolve() / "beacon"
    shutil.copytree(BLISS / "beacon", configuration, dirs_exist_ok=True)
    with open(configuration / "sessions" / "lab_setup.py", "a", encoding="utf-8") as script:
        script.write(setup)
    report.note("starting Tango database, Beacon, Braggloop's devices and a worker on the twin")
    with running_lab(prefix, configuration, settings, settings_file, settings.out.resolve() / "logs") as lab:
        yield lab


def run_script(lab: BlissLab, script: Path, *arguments: str, note: Any) -> dict[str, Any]:
    """Run a session by script, without a screen, and return what its last line tells as JSON; `note` hears the others.

    Raises DeviceError where it fails.
    """
    screenless = {"QT_QPA_PLATFORM": "offscreen", "DISPLAY": ":offscreen"}  # Bliss opens no Flint without a name
    environment = {**lab.environment, **screenless}
    with open(lab.children.log_of("session"), "w+b") as log:
        process = subprocess.Popen(
            [str(lab.python), "-W", "ignore", "-u", str(script), *arguments], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True, env=environment,
        )  # fmt: skip
        limit = threading.Timer(TOUR_S, process.kill)
        limit.start()
        last = ""
        assert process.stdout is not None
        try:
            for line in process.stdout:
                last = line.rstrip("\n")
                if not last.startswith("{"):
                    note(last)
        finally:
            limit.cancel()
            process.kill()
            code = process.wait()
    if not last.startswith("{"):
        said = lab.children.log_of("session").read_text(errors="replace").strip().splitlines() or [last or "nothing"]
        raise DeviceError(f"session ended with code {code}: {said[-1]} (all of it in {lab.children.log_of('session')})")
    return dict(json.loads(last))


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
