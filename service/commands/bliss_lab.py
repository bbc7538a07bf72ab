"""A Bliss lab with Braggloop in it: Tango database, Beacon, the devices, and a worker on the twin."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.adapters.tango import TangoDevice, alive, device_names
from service.commands.children import Children, free_ports, local_wiring
from service.errors import DeviceError, SettingsError
from service.settings import Settings, to_environment

BLISS = Path(__file__).resolve().parents[2] / "deploy" / "bliss"
MARK = "BLISS_LAB_SESSION"  # environment variable that a session hands down to all that it starts
SETTINGS_FILE = BLISS / "settings.toml"
START_S = 90.0  # worker and devices import torch and Tango; a loaded machine takes its time
END_S = 10.0
LOOK_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class BlissLab:
    """A lab that runs: `environment` is that of a session, `python` runs one; `children` are what Braggloop runs."""

    python: Path
    environment: Mapping[str, str]
    children: Children

    def device(self, name: str) -> TangoDevice:
        """Return the device braggloop/`name`, from outside of a session."""
        return TangoDevice(f"tango://{self.environment['TANGO_HOST']}/{name}")


def lab_maker() -> Any:
    """Return deploy/bliss/lab.py as a module; raise SettingsError where Braggloop was not installed from a checkout."""
    file = BLISS / "lab.py"
    if not file.exists():
        raise SettingsError(f"no {file}: the lab comes with a checkout; clone Braggloop, then pip install -e .")
    if "bliss_lab" not in sys.modules:
        spec = importlib.util.spec_from_file_location("bliss_lab", file)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules["bliss_lab"] = importlib.util.module_from_spec(spec)  # where dataclasses look it up
        spec.loader.exec_module(module)
    return sys.modules["bliss_lab"]


def lab_settings() -> Path:
    """Return the settings that fit the lab's session; raise SettingsError where there is no checkout."""
    lab_maker()
    return SETTINGS_FILE


@contextlib.contextmanager
def running_lab(
    prefix: Path, configuration: Path, settings: Settings, settings_file: Path, logs: Path
) -> Iterator[BlissLab]:
    """Run the lab of `prefix` with Beacon's `configuration`, and Braggloop on free ports, as long as the block lasts.

    Results go to `settings.out`. Whatever was started with the environment of a session ends too. Raises DeviceError
    where something does not come up.
    """
    maker = lab_maker()
    with (
        tempfile.TemporaryDirectory(prefix="braggloop-bliss-") as spool,
        _lab_errors(maker),
        maker.running(prefix, configuration, logs) as lab,
        Children(logs) as children,
    ):
        mark = f"{logs} {uuid.uuid4().hex}"
        environment = {**maker.environment_of(prefix), **lab.environment, "PYTHONPATH": str(BLISS), MARK: mark}
        running = BlissLab(python=lab.python, environment=environment, children=children)
        try:
            _start(running, settings, settings_file, Path(spool))
            yield running
        finally:
            _end_marked(f"{MARK}={mark}".encode())


@contextlib.contextmanager
def _lab_errors(maker: Any) -> Iterator[None]:
    try:
        yield
    except maker.LabError as error:
        raise DeviceError(f"lab: {error}") from error


def made_lab(prefix: Path) -> bool:
    """Make the lab where it is missing and return whether it was; raise DeviceError where it cannot be made."""
    maker = lab_maker()
    if maker.made(prefix):
        return False
    with _lab_errors(maker):
        maker.make(prefix)
    return True


def _start(lab: BlissLab, settings: Settings, settings_file: Path, spool: Path) -> None:
    tree = {"out": settings.out.resolve(), "spool": {"folder": spool}, **local_wiring(*free_ports(3))}
    environment = to_environment(tree)
    host = lab.environment["TANGO_HOST"]
    given = ("--settings", str(settings_file))
    lab.children.start("worker", "service.cli", "worker", *given, environment=environment)
    serve = ("serve", "--database", host, "--instance", "lab", *given)
    lab.children.start("devices", "service.cli", *serve, environment=environment)
    names = [f"tango://{host}/{name}" for listed in device_names(settings).values() for name in listed]
    lab.children.wait_until(lambda: all(map(alive, names)), "the devices", START_S)
    reconstruction = lab.device(next(iter(device_names(settings)["Reconstruction"])))
    lab.children.wait_until(lambda: reconstruction.state == "ON", "the worker", START_S)


def _end_marked(mark: bytes) -> None:
    """End what still runs with that in its environment: a session that hangs, a Flint that it opened."""
    until_s, number = time.monotonic() + END_S, signal.SIGTERM
    while pids := _marked(mark):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        time.sleep(LOOK_S)
        number = signal.SIGTERM if time.monotonic() < until_s else signal.SIGKILL


def _marked(mark: bytes) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended, or is another user's
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found
