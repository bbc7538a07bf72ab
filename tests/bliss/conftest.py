"""A lab with Braggloop's devices in its Tango database, and sessions of Bliss in it.

Bliss has an environment of its own: a session is a script of `sessions/` that the lab's Python runs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tango

from deploy.bliss import lab as bliss_lab
from service.commands.children import Children
from service.settings import Settings
from tests.helpers.streams import until

LAB = "BRAGGLOOP_BLISS_LAB"
ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTION = ROOT / "deploy" / "bliss"
SESSIONS = Path(__file__).parent / "sessions"
# A peak to rehearse with over two axes of Braggloop's; axes of Bliss's own, which live on when Braggloop's devices do
# not, and a peak over one of them.
MORE = """
- plugin: generic
  package: braggloop_bliss.rehearsal
  class: SimulatedPeak
  name: rehearsal
  height: 10000.0
  background: 3.0
  axes:
    - {axis: $theta, centre: 0.31, width: 0.2}
    - {axis: $chi, centre: 89.6, width: 0.5}

- plugin: generic
  package: braggloop_bliss.align
  class: Braggloop
  name: rehearsing
  alignment: braggloop/alignment/1
  reconstruction: braggloop/reconstruction/1
  counter: $rehearsal
  count_time: 0.01
  axes:
    - {axis: $theta, width: 0.2, tolerance: 0.01, largest_step: 0.5}
    - {axis: $chi, width: 0.5, tolerance: 0.02, largest_step: 1.0}

- plugin: emotion
  class: mockup
  axes:
    - name: mu
      steps_per_unit: 10000
      velocity: 0.05
      acceleration: 1.0
      low_limit: -5.0
      high_limit: 5.0
      unit: deg

- plugin: generic
  package: braggloop_bliss.rehearsal
  class: SimulatedPeak
  name: mu_peak
  height: 10000.0
  axes:
    - {axis: $mu, centre: 0.31, width: 0.2}

- plugin: generic
  package: braggloop_bliss.align
  class: Braggloop
  name: early
  alignment: braggloop/alignment/1
  reconstruction: braggloop/reconstruction/1
  counter: $mu_peak.regions.roi1
  axes:
    - {axis: $mu, width: 0.2, tolerance: 0.01, largest_step: 0.5}
"""
SETTINGS = """
[twin]
rows = 48
columns = 48
[phasing]
recipe = "30*ER+60*HIO+20*ER"
starts = 3
keep = 2
size = 32
"""
GONIOMETER = (DISTRIBUTION / "settings.toml").read_text().partition("[phasing]")[0]
DEVICES = 9
START_S = 60.0
SESSION_S = 90.0


class Lab:
    """The running lab and Braggloop's devices in it."""

    def __init__(self, running: bliss_lab.Lab, children: Children, folder: Path) -> None:
        self._running, self._children, self._folder = running, children, folder
        self._file = folder / "settings.toml"
        self._file.write_text(f"out = {json.dumps(str(folder / 'results'))}\n{GONIOMETER}{SETTINGS}{_wiring(folder)}")
        self.environment = {
            **bliss_lab.environment_of(running.prefix), **running.environment, "PYTHONPATH": str(DISTRIBUTION),
        }  # fmt: skip

    def register(self) -> None:
        self._register("Braggloop/lab", self._file)

    def _register(self, server: str, settings: Path, *devices: str) -> None:
        register = [sys.executable, str(ROOT / "deploy/tango/register.py"), "--server", server]
        subprocess.run(
            [*register, "--settings", str(settings), *devices], check=True, stdout=subprocess.DEVNULL, cwd=ROOT,
            env={**os.environ, **self._running.environment, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    def start_devices(self) -> None:
        self._start("devices", "lab", self._file, DEVICES)
        self.began_s = time.monotonic()  # from when on the crystal of the twin drifts

    def _start(self, name: str, instance: str, settings: Path, devices: int) -> None:
        arguments = ("Braggloop", instance, "--settings", str(settings))
        self._children.start(name, "tango_devices", *arguments, environment=self._running.environment)
        log = self._children.log_of(name)
        self._children.wait_until(lambda: log.read_text().count("ready:") == devices, "the devices", START_S)

    def start_worker(self, children: Children) -> None:
        """Start the worker that the devices listen to, and wait until it takes frames."""
        children.start("worker", "service.cli", "worker", "--settings", str(self._file))
        reconstruction = self.device("reconstruction/1")
        children.wait_until(lambda: reconstruction.state() is tango.DevState.ON, "the worker", START_S)

    def device(self, name: str) -> Any:
        return self.device_named(f"braggloop/{name}")

    def device_named(self, name: str) -> Any:
        return tango.DeviceProxy(f"tango://{self._running.environment['TANGO_HOST']}/{name}")

    def put(self, server: str, kind: str, name: str, **properties: str) -> None:
        """Enter a device of another server into the Tango database."""
        database = tango.Database(*self._running.environment["TANGO_HOST"].split(":"))
        entry = tango.DbDevInfo()
        entry.server, entry._class, entry.name = server, kind, name
        database.add_device(entry)
        database.put_device_property(name, {key: [value] for key, value in properties.items()})

    def reconstruction_of(self, settings: Settings) -> Any:
        """Another Reconstruction, which shows the worker of those settings, by a server of its own."""
        file, worker = self._folder / "second.toml", settings.worker
        file.write_text(f'[worker]\nresults = "{worker.results}"\nrequests = "{worker.requests}"\n')
        self._register("Braggloop/second", file, "Reconstruction::braggloop/reconstruction/2")
        self._start("second", "second", file, 1)
        return self.device("reconstruction/2")

    def kill_devices(self) -> None:
        os.kill(self._children.pid("devices"), signal.SIGKILL)

    def restart_devices(self) -> None:
        self._children.stop()
        self.start_devices()

    def end_beacon(self) -> None:
        """Its Redis saves what it holds."""
        self._running.end("beacon")

    def kill_beacon(self) -> None:
        """With its Redis and all that it held."""
        self._running.kill("beacon")
        for saved in self._running.configuration.glob("*.rdb"):
            saved.unlink()

    def restart_beacon(self) -> None:
        self._running.start_again("beacon")

    def session(self, script: str, *arguments: str) -> Session:
        return self.program(str(self._running.python), "-W", "ignore", str(SESSIONS / script), *arguments)

    def program(self, *command: str) -> Session:
        """A program of Bliss's environment."""
        return Session(list(command), self.environment, self._log())

    def module(self, *arguments: str) -> Session:
        """A module of Braggloop's own environment."""
        environment = {**os.environ, **self._running.environment, "PYTHONPATH": str(ROOT)}
        return Session([sys.executable, "-m", *arguments], environment, self._log())

    def _log(self) -> Path:
        return self._folder / f"{time.monotonic_ns()}.log"


def _wiring(folder: Path) -> str:
    """The settings of a worker of this lab's own, which previews."""
    frames, results, requests = (f"tcp://127.0.0.1:{port}" for port in bliss_lab.free_ports(3))
    spool = json.dumps(str(folder / "spool"))
    return f"""
[streamer]
endpoint = "{frames}"
[worker]
endpoint = "{frames}"
results = "{results}"
requests = "{requests}"
http_port = 0
preview_frames = 20
late_s = 0.3
[spool]
folder = {spool}
max_bytes = 200_000_000
segment_bytes = 20_000_000
"""


class Session:
    """A session that runs: what it prints, line by line, and what it says of itself at its end, as JSON."""

    def __init__(self, command: list[str], environment: dict[str, str], output: Path) -> None:
        self._output, self._seen = output, 0
        with open(output, "wb") as file:
            self.process = subprocess.Popen(
                command, env=environment, cwd=SESSIONS, stdin=subprocess.DEVNULL, stdout=file,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def wait_for(self, words: str) -> None:
        """Wait until it says them; `end` returns what comes after."""
        until(lambda: words in self._said() or self.process.poll() is not None, SESSION_S)
        assert words in self._said(), self._said()
        self._seen = self._said().index(words) + len(words)

    def end(self) -> list[str]:
        """Wait for its end and return what it still printed."""
        try:
            self.process.wait(SESSION_S)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the session goes on: {self._said()}")
        assert self.process.returncode == 0, self._said()
        return self._said()[self._seen :].strip().splitlines()

    def _said(self) -> str:
        return self._output.read_text()

    def told(self) -> dict[str, Any]:
        """Wait for its end and return what it tells in its last line."""
        return dict(json.loads(self.end()[-1]))


@pytest.fixture(scope="package")  # gone before the tests of other folders begin
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    prefix = os.environ.get(LAB, "")
    if not prefix:
        pytest.skip(f"{LAB} names no lab; python deploy/bliss/lab.py make --prefix DIR")
    folder = tmp_path_factory.mktemp("bliss")
    configuration = folder / "beacon"
    shutil.copytree(bliss_lab.CONFIGURATION, configuration)
    (configuration / "more.yml").write_text(MORE)
    with (
        bliss_lab.running(Path(prefix).absolute(), configuration, folder / "logs") as running,
        Children(folder / "logs") as children,
    ):
        one = Lab(running, children, folder)
        one.register()
        one.start_devices()
        yield one


@pytest.fixture
def standing(lab: Lab) -> None:
    """Axes where every test begins, and at their full speed."""
    for name, position in (("theta", 0.5), ("chi", 90.0)):
        axis = lab.device(f"goniometer/{name}")
        axis.velocity, axis.position = 5.0, position
        until(lambda axis=axis: axis.state() is tango.DevState.ON)


def stands(axis: Any) -> bool:
    """Whether an axis does not move, by its device."""
    before = axis.position
    time.sleep(0.2)
    return bool(axis.state() is tango.DevState.ON and axis.position == before)
