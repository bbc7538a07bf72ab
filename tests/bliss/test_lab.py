"""The lab itself: labs beside each other, ports that others took, and nothing left where it is killed."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from deploy.bliss import lab as bliss_lab
from tests.bliss.conftest import LAB, ROOT
from tests.helpers.streams import until

pytestmark = pytest.mark.bliss

RUN = """
import sys, time
from pathlib import Path
from deploy.bliss import lab
with lab.running(Path(sys.argv[1]), logs=Path(sys.argv[2])):
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def prefix() -> Path:
    if not os.environ.get(LAB):
        pytest.skip(f"{LAB} names no lab; python deploy/bliss/lab.py make --prefix DIR")
    return Path(os.environ[LAB]).absolute()


@pytest.mark.parametrize("after_s", [0.5, 2.0, None])  # in mid-start, and when it is ready
def test_a_lab_that_is_killed_leaves_nothing(prefix: Path, tmp_path: Path, after_s: float | None) -> None:
    command = [sys.executable, "-c", RUN, str(prefix), str(tmp_path / "log")]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as lab:
        if after_s is None:
            assert lab.stdout is not None
            assert lab.stdout.readline() == b"ready\n"
            assert len(_inside(tmp_path)) >= 6, "two keepers, database, Beacon, two of Redis"
        else:
            time.sleep(after_s)
        lab.kill()
    until(lambda: not _inside(tmp_path), 20.0)
    assert not list(tmp_path.glob("bliss-lab-*"))


def test_two_labs_run_beside_each_other_and_a_third_where_ports_are_taken(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bliss_lab.running(prefix, logs=tmp_path / "1") as one, bliss_lab.running(prefix, logs=tmp_path / "2") as two:
        assert one.environment != two.environment
        taken = [int(where.rpartition(":")[2]) for where in one.environment.values()]
        free = bliss_lab.free_ports
        offered = iter([[*taken, *free(2)]])
        monkeypatch.setattr(bliss_lab, "free_ports", lambda count: next(offered, None) or free(count))
        with bliss_lab.running(prefix, logs=tmp_path / "3") as three:
            assert set(three.environment.values()).isdisjoint(one.environment.values())
        for lab in (one, two):
            for where in lab.environment.values():
                host, port = where.split(":")
                socket.create_connection((host, int(port)), 5.0).close()


def test_make_does_not_touch_a_lab_that_runs(prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with bliss_lab.running(prefix, logs=tmp_path):
        monkeypatch.setattr(bliss_lab, "_wanted", lambda: "another")
        with pytest.raises(bliss_lab.LabError, match="or a lab runs there"):
            bliss_lab.make(prefix)
    assert bliss_lab.made(prefix)


def _inside(folder: Path) -> list[psutil.Process]:
    """Processes that work below a folder, whoever their parent is by now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd().startswith(str(folder)) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
