"""Child processes: told when ready, mourned in one line, ended with all that they started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from service.commands import children as module
from service.commands.children import Children, ending, free_ports
from service.errors import DeviceError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of modules that the children can run."""
    (tmp_path / "fails.py").write_text("print('all is lost')\nraise SystemExit(3)\n")
    (tmp_path / "silent.py").write_text("raise SystemExit(0)\n")
    (tmp_path / "stubborn.py").write_text(
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(os.environ['GREETING'], flush=True)\n"
        "time.sleep(600)\n"
    )
    (tmp_path / "follower.py").write_text(
        "import time\nfrom service.signals import follow_parent\n"
        "follow_parent()\nprint('began', flush=True)\ntime.sleep(600)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    return tmp_path


def test_child_that_ends_is_told_with_its_last_words(programs: Path) -> None:
    with Children(programs / "logs") as children:
        children.start("one", "fails")
        with pytest.raises(DeviceError, match=r"one ended with code 3: all is lost"):
            children.wait_until(lambda: False, "one", 20.0)
    with Children(programs / "logs") as children:
        children.start("two", "silent")
        with pytest.raises(DeviceError, match="it said nothing"):
            children.wait_until(lambda: False, "two", 20.0)


def test_stubborn_child_is_killed_with_its_own(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE_S", 0.2)
    with Children(programs / "logs") as children:
        children.start("stubborn", "stubborn", environment={"GREETING": "hello"})
        children.wait_until(lambda: "hello" in children.log_of("stubborn").read_text(), "it", 20.0)
        family = psutil.Process().children(recursive=True)
        assert len(family) >= 2
        with pytest.raises(DeviceError, match=r"it was not ready within 0\.1 s"):
            children.wait_until(lambda: False, "it", 0.1)
    _, alive = psutil.wait_procs(family, 5)
    assert not alive


def test_child_ends_with_a_parent_that_was_killed(programs: Path) -> None:
    folder = programs / "logs"
    parent = (
        "import sys, time; from pathlib import Path; from service.commands.children import Children\n"
        "with Children(Path(sys.argv[1])) as children:\n"
        "    children.start('child', 'follower')\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent, str(folder)], env={**os.environ}) as process:
        log, until_s = folder / "child.log", time.monotonic() + 20.0
        while not (log.exists() and "began" in log.read_text()):
            assert time.monotonic() < until_s
            time.sleep(0.05)
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        process.kill()
    _, alive = psutil.wait_procs(family, 10)
    assert not alive


def test_ports_are_free_and_distinct() -> None:
    ports = free_ports(8)
    assert len(set(ports)) == 8


def test_nohup_is_respected() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending() as ended:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not ended.wait(0.1)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_ends_and_the_former_handler_returns(number: signal.Signals) -> None:
    def own(*_: object) -> None: ...

    before = signal.signal(number, own)  # whatever nohup has set
    try:
        with ending() as ended:
            threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
            assert ended.wait(5.0)
            time.sleep(0.01)
        assert signal.getsignal(number) is own
    finally:
        signal.signal(number, before)
