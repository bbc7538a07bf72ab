"""What the lab starts ends with it, whatever ends the lab; what that started ends too."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.bliss import lab
from tests.helpers.streams import until

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(0, flush=True); time.sleep(60)"
LEAVES_ONE = "sleep 60 & echo $!;"  # a shell tells whom it started


class Kept:
    """A keeper of a program that prints the process which it started; `family` is all of them."""

    def __init__(self, folder: Path, *command: str) -> None:
        self.keeper = subprocess.Popen(
            [sys.executable, str(lab.KEEP), str(folder), *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.keeper.stdout is not None
        started = int(self.keeper.stdout.readline())
        self.family = {started, *(child.pid for child in psutil.Process(self.keeper.pid).children())} - {0}

    def left(self) -> list[int]:
        return [pid for pid in self.family if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "lab"
    folder.mkdir()
    return folder


@contextlib.contextmanager
def kept(folder: Path, *command: str) -> Iterator[Kept]:
    one = Kept(folder, *command)
    with one.keeper:
        yield one
        if one.keeper.poll() is None:
            one.keeper.communicate(lab.KILL)


def test_the_end_of_the_lab_ends_all_and_leaves_no_folder(folder: Path) -> None:
    with kept(folder, "sh", "-c", f"{LEAVES_ONE} sleep 60") as one:
        assert len(one.left()) == 2
        one.keeper.communicate(lab.CLOSED)
        assert one.left() == []
    assert not folder.exists()


def test_who_does_not_hear_is_killed_at_once_and_the_folder_stays(folder: Path) -> None:
    with kept(folder, sys.executable, "-c", DEAF) as one:
        assert len(one.left()) == 1
        one.keeper.communicate(lab.KILL)
        assert one.left() == []
    assert folder.exists()


def test_what_a_program_left_behind_is_killed_and_its_code_is_told(folder: Path) -> None:
    with kept(folder, "sh", "-c", f"{LEAVES_ONE} exit 7") as one:
        assert one.keeper.wait(10.0) == 7
        assert one.left() == []
    assert folder.exists()


def test_a_keeper_that_is_killed_takes_its_program_with_it(folder: Path) -> None:
    with kept(folder, "sh", "-c", "echo 0; exec sleep 60") as one:
        assert len(one.left()) == 1
        one.keeper.kill()
        until(lambda: one.left() == [], 10.0)
