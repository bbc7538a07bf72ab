"""Runs of CrystalAlignment in processes of their own: motors, counter and alignment are killed, hung or made to fail.

Who watches reads the motors' device himself, shares no code with the guard and knows when they may move.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
import tango

from benchmarks.align.counter_device import NAME as COUNTER
from service.adapters.tango import alive, device_url
from service.commands.children import Children, free_ports
from service.errors import DeviceError

AXES = ("x", "y")
LOW, HIGH, STEP, RATE, TRAVEL = -4.0, 4.0, 1.5, 3.0, 60.0
VELOCITY = 2.0
CORNER = 3.0  # x + y beyond it is forbidden
SLACK = 0.1
ARMED_S, DEAD_MAN_S, PATIENCE_S = 20.0, 2.0, 2.0
START_S = 60.0
# A stop that a kill brings: the pipe ends, the dead man asks each axis. A hang is known after DEAD_MAN_S.
KILLED_S, HUNG_S = 1.5, DEAD_MAN_S + 1.5
FAULTS = (
    "none", "alignment killed", "alignment hung", "motors killed", "counter killed", "nan", "lost", "no beam",
    "shutter", "stuck", "lying", "slow", "Stop", "Abort",
)  # fmt: skip
METHODS = ("peak", "seeking", "parabola", "golden")
MEMBERS = ("motors", "counter", "alignment")


class Ended(NamedTuple):
    """How a run ended: `outcome` and `reason` of the device, or of the dead man; seconds from the fault to a stand."""

    fault: str
    method: str
    outcome: str
    reason: str
    stand_s: float
    wrong: tuple[str, ...]
    orders: int

    @property
    def safe(self) -> bool:
        allowed_s = {"alignment killed": KILLED_S, "alignment hung": HUNG_S}.get(self.fault, np.inf)
        return bool(self.outcome and self.reason) and not self.wrong and self.stand_s <= allowed_s


@dataclass(slots=True)
class Watcher:
    """Reads the motors again and again: each new target is an order."""

    proxies: Mapping[str, tango.DeviceProxy]
    armed_until_s: float
    wrong: list[str] = field(default_factory=list)
    orders: int = 0
    moving: bool = True
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Watcher:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        assert self._thread is not None
        self._thread.join()

    def _watch(self) -> None:
        targets = dict.fromkeys(AXES, np.nan)
        gone = dict.fromkeys(AXES, 0.0)
        while not self._ended.wait(0.01):
            with suppress(tango.DevFailed):  # a server that was killed
                at, aims, moving = {}, {}, False
                for name, proxy in self.proxies.items():
                    read = proxy.read_attributes(["position", "target", "State"])
                    at[name], aims[name] = read[0].value, read[1].value
                    moving |= read[2].value is tango.DevState.MOVING
                self.moving = moving
                for name in AXES:
                    if moving and np.isfinite(targets[name]) and aims[name] != targets[name]:
                        gone[name] += abs(aims[name] - targets[name])
                        self._ordered(name, at[name], targets[name], aims[name], gone[name])
                targets = aims
                if sum(at.values()) > CORNER + 2.0 * SLACK:
                    self.wrong.append(f"in the forbidden corner: {at}")

    def _ordered(self, name: str, at: float, before: float, target: float, gone: float) -> None:
        self.orders += 1
        # A stop makes the place where it stood its target.
        way = min(abs(target - at), abs(target - before))
        late_s = time.monotonic() - self.armed_until_s
        checks = {
            "outside limits": not LOW <= target <= HIGH,
            "step too large": way > STEP + SLACK,
            "travelled too far": gone > 2.0 * TRAVEL,
            "not armed": late_s > 0.5 and abs(target - at) > SLACK,
        }
        self.wrong += [f"{what}: {name} from {at} to {target}" for what, is_so in checks.items() if is_so]


class Lab:
    """The three servers, each of which can be killed and is started anew before the next run."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="braggloop-align-")
        self._family: dict[str, Children] = {}
        self._ports = dict(zip(MEMBERS, free_ports(len(MEMBERS)), strict=True))

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in reversed(MEMBERS):
            self._end(name)
        self._folder.cleanup()

    def url(self, member: str, name: str) -> str:
        return device_url("127.0.0.1", self._ports[member], name)

    def motor(self, axis: str) -> str:
        return self.url("motors", f"braggloop/goniometer/{axis}")

    @property
    def alignment(self) -> str:
        return self.url("alignment", "braggloop/alignment/1")

    @property
    def counter(self) -> str:
        return self.url("counter", COUNTER)

    @property
    def log(self) -> Path:
        return Path(self._folder.name) / "alignment" / "alignment.log"

    def ready(self) -> None:
        """Start who does not run."""
        started = {
            "motors": (self.motor("x"), self._start_motors),
            "counter": (self.counter, self._start_counter),
            "alignment": (self.alignment, self._start_alignment),
        }
        for name, (device, start) in started.items():
            if name not in self._family:
                self._family[name] = Children(Path(self._folder.name) / name).__enter__()
                start(self._family[name])
                self._family[name].wait_until(lambda device=device: alive(device), name, START_S)

    def signal(self, member: str, how: signal.Signals) -> None:
        os.kill(self._family[member].pid(member), how)

    def lost(self, member: str) -> None:
        """Forget a server that was killed or hangs."""
        with suppress(ProcessLookupError, DeviceError):
            self.signal(member, signal.SIGKILL)
        self._end(member)

    def _end(self, member: str) -> None:
        if member in self._family:
            self._family.pop(member).stop()

    def _start_motors(self, children: Children) -> None:
        given = ", ".join(f"{axis} = {{ velocity = {VELOCITY} }}" for axis in AXES)
        devices = ",".join(f"VirtualGoniometer::braggloop/goniometer/{axis}" for axis in AXES)
        self._serve(children, "motors", f"[goniometer]\naxes = {{ {given} }}\n", devices)

    def _start_counter(self, children: Children) -> None:
        axes = [f"{axis}={self.motor(axis)}" for axis in AXES]
        children.start("counter", "benchmarks.align.counter_device", str(self._ports["counter"]), *axes)

    def _start_alignment(self, children: Children) -> None:
        self._serve(
            children, "alignment", f'out = "{self._folder.name}/out"\n', "CrystalAlignment::braggloop/alignment/1"
        )

    def _serve(self, children: Children, name: str, settings: str, devices: str) -> None:
        file = Path(self._folder.name) / f"{name}.toml"
        file.write_text(settings)
        where = ["-nodb", "-dlist", devices, "-ORBendPoint", f"giop:tcp:127.0.0.1:{self._ports[name]}"]
        children.start(name, "tango_devices", "Braggloop", name, "--settings", str(file), *where)


def settings(lab: Lab, method: str, on_stop: str) -> str:
    def attribute(name: str) -> str:
        return lab.counter.replace("#", f"/{name}#")

    axes = "\n".join(
        f"[axes.{name}]\nlow = {LOW}\nhigh = {HIGH}\nwidth = 1.0\ntolerance = 0.05\nlargest_step = {STEP}\n"
        f"largest_rate = {RATE}\nlargest_travel = {TRAVEL}\ndisagreement = 0.3\n"
        for name in AXES
    )
    devices = "\n".join(f'{name} = "{lab.motor(name)}"' for name in AXES)
    return (
        f'method = "{method}"\nbackground = 5.0\non_stop = "{on_stop}"\nmost_exposures = 60\n'
        f"zones = ['x + y > {CORNER}']\nlight_patience_s = {PATIENCE_S}\nsettle_s = 0.0\nvalue_s = 2.0\n"
        f'dead_man_s = {DEAD_MAN_S}\nbeam = "{attribute("beam")}"\nleast_beam = 1.0\n'
        f'shutter = "{attribute("shutter")}"\nvalue = "{attribute("value")}"\n[devices]\n{devices}\n{axes}'
    )


def faulty_process_run(lab: Lab, seed: int) -> Ended:
    """Align once with a fault at a random time; return how it ended and what the watcher saw."""
    random = np.random.default_rng((seed, 7))
    fault, method = FAULTS[seed % len(FAULTS)], str(random.choice(METHODS))
    lab.ready()
    motors = {axis: tango.DeviceProxy(lab.motor(axis)) for axis in AXES}
    counter, alignment = tango.DeviceProxy(lab.counter), tango.DeviceProxy(lab.alignment)
    for proxy in motors.values():
        proxy.failure, proxy.position = "none", 0.0
    counter.trouble, counter.peak = "none", random.uniform(-1.2, 1.2, len(AXES)).tolist()
    _until(lambda: all(proxy.state() is not tango.DevState.MOVING for proxy in motors.values()), START_S)
    _until(lambda: _rests(alignment), START_S)
    alignment.Configure(settings(lab, method, str(random.choice(["stay", "start", "best"]))))
    alignment.Arm(["processes", str(ARMED_S)])
    with Watcher(motors, time.monotonic() + ARMED_S) as watcher:
        alignment.Start()
        time.sleep(float(random.uniform(0.05, 1.5)))
        if fault in ("alignment killed", "alignment hung"):  # in mid-move
            with suppress(TimeoutError):
                _until(lambda: watcher.moving and alignment.phase == "moving", 5.0)
        began_s = time.monotonic()
        _strike(lab, fault, random, motors, counter, alignment)
        outcome, reason = _end_of(lab, fault, alignment, watcher)
        stand_s = time.monotonic() - began_s
        time.sleep(0.3)  # nothing may begin to move again
        if watcher.moving and fault != "motors killed":
            watcher.wrong.append("an axis moves after the end")
    if fault in ("alignment killed", "alignment hung"):
        lab.lost("alignment")
    return Ended(fault, method, outcome, reason, stand_s, tuple(watcher.wrong), watcher.orders)


def _rests(alignment: tango.DeviceProxy) -> bool:
    """Whether the loop of the run before has let go of its axes."""
    try:
        alignment.Reset()
    except tango.DevFailed:
        return False
    return True


def _strike(
    lab: Lab, fault: str, random: np.random.Generator, motors: Mapping[str, tango.DeviceProxy],
    counter: tango.DeviceProxy, alignment: tango.DeviceProxy,
) -> None:  # fmt: skip
    match fault:
        case "alignment killed":
            lab.signal("alignment", signal.SIGKILL)
        case "alignment hung":
            lab.signal("alignment", signal.SIGSTOP)
        case "motors killed" | "counter killed":
            lab.lost(fault.split()[0])
        case "nan" | "lost" | "no beam" | "shutter":
            counter.trouble = fault
        case "stuck" | "lying" | "slow":
            motors[str(random.choice(AXES))].failure = fault
        case "Stop" | "Abort":
            with suppress(tango.DevFailed):  # it may have ended by itself
                alignment.command_inout(fault)


def _end_of(lab: Lab, fault: str, alignment: tango.DeviceProxy, watcher: Watcher) -> tuple[str, str]:
    """Wait for the end; return outcome and reason, of the dead man where the device can say nothing any more."""
    if fault in ("alignment killed", "alignment hung"):
        with suppress(TimeoutError):
            _until(lambda: not watcher.moving, HUNG_S + 2.0)
            _until(lambda: "dead man" in lab.log.read_text(), DEAD_MAN_S + 3.0)
        said = [line for line in lab.log.read_text().splitlines() if "dead man" in line]
        return ("stopped", said[-1]) if said and "all axes stand" in said[-1] else ("", "")
    with suppress(TimeoutError):
        _until(lambda: alignment.phase == "ended", ARMED_S + 20.0)
        return str(alignment.outcome), str(alignment.reason)
    return "", ""


def _until(done: Callable[[], bool], seconds: float) -> None:
    until_s = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until_s:
            raise TimeoutError
        time.sleep(0.02)
