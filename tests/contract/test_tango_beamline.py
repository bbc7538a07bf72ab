"""A loop on real Tango devices, without a database: it moves them, measures, and stops them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tango
from tango.test_context import MultiDeviceTestContext

from service.adapters.tango import TangoAxis, TangoDevice, device_url
from service.adapters.tango_beamline import TangoBeamline
from service.alignment import events
from service.alignment.drive import Driver
from service.alignment.journal import Journal, read_journal
from service.alignment.loop import Loop
from service.alignment.methods.choose import chosen
from service.alignment.plan import AlignmentSettings
from service.alignment.progress import Outcome
from service.devices.alignment import Alignment
from service.devices.goniometer import VirtualAxis
from service.errors import DeviceError, SettingsError
from service.settings import Settings, parse_section, parse_settings
from tango_devices.controlled import ControlledDevice
from tango_devices.controllers import Controllers
from tango_devices.crystal_alignment import CrystalAlignment
from tango_devices.virtual_goniometer import VirtualGoniometer
from tests.helpers.streams import until

AXES = {"x": {"velocity": 20.0, "low_limit": -10.0, "high_limit": 10.0}, "slow": {"velocity": 0.5}}


def build(settings: Settings, axis: str) -> VirtualAxis:
    return VirtualAxis(axis, settings.goniometer.axes[axis])


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Axis -> address of its device."""
    settings = parse_settings({"goniometer": {"axes": AXES}})
    out = tmp_path_factory.mktemp("journals")
    builders = {
        "VirtualGoniometer": build,
        "CrystalAlignment": lambda settings, _: Alignment(settings.alignment, TangoBeamline, out),
    }
    with Controllers(builders, settings, {}) as controllers:
        ControlledDevice.controllers = controllers
        listed = [{"name": f"test/goniometer/{axis}"} for axis in AXES]
        aligning = [{"name": "test/alignment/1"}]
        described = (
            {"class": VirtualGoniometer, "devices": listed},
            {"class": CrystalAlignment, "devices": aligning},
        )
        with MultiDeviceTestContext(described, process=False, timeout=30) as context:
            yield {axis: device_url(context.host, context.port, f"test/goniometer/{axis}") for axis in AXES}


def settings(names: dict[str, str], axis: str, **changes: object) -> AlignmentSettings:
    planned = {"low": -5.0, "high": 5.0, "width": 2.0, "tolerance": 0.05, "largest_step": 2.0}
    given = {
        "axes": {axis: planned},
        "devices": names,
        "value": names[axis].replace("#", "/position#"),  # the farther up, the better
        "settle_s": 0.0,
        "method": "golden",
    }
    return parse_section(AlignmentSettings, {**given, **changes})


def start(beamline: TangoBeamline) -> tuple[events.Arm, events.Start]:
    now_s = beamline.now_s()
    return events.Arm(now_s=now_s, by="a test", seconds=60.0), events.Start(now_s=now_s)


def test_axes_are_moved_to_where_the_value_is_largest(names: dict[str, str], tmp_path: Path) -> None:
    asked = settings(names, "x")
    beamline, journal = TangoBeamline(asked), Journal(tmp_path / "journal", asked.plan())
    progress = Driver(Loop(asked.plan(), chosen), beamline, journal).run(*start(beamline))
    journal.close()
    assert progress.outcome is Outcome.ALIGNED
    assert beamline.axes["x"].read() == pytest.approx(5.0, abs=0.2)
    assert len(read_journal(journal.path)[1]) > 10


def test_a_stop_in_mid_move_stops_the_device(names: dict[str, str]) -> None:
    asked = settings(names, "slow", method="goto", goto=(5.0,))
    beamline, stops = TangoBeamline(asked), [events.Stop(now_s=0.0)]

    def stop() -> events.AnyEvent | None:
        return stops.pop() if stops and beamline.axes["slow"].moving else None

    progress = Driver(Loop(asked.plan(), chosen), beamline, commands=stop).run(*start(beamline))
    assert progress.outcome is Outcome.STOPPED
    where = beamline.axes["slow"].read()
    time.sleep(0.1)
    assert beamline.axes["slow"].read() == where < 2.0


def test_a_device_that_dies_ends_it_with_its_name(names: dict[str, str]) -> None:
    nowhere = names["x"].replace("goniometer/x", "goniometer/nobody")
    asked = settings({**names, "x": nowhere}, "x", value=names["slow"].replace("#", "/position#"))
    beamline = TangoBeamline(asked)
    progress = Driver(Loop(asked.plan(), chosen), beamline).run(*start(beamline))
    assert progress.outcome is Outcome.FAILED
    assert "nobody" in progress.reason


def test_light_is_read_from_attributes(names: dict[str, str]) -> None:
    velocity = names["slow"].replace("#", "/velocity#")
    assert TangoBeamline(settings(names, "x", beam=velocity, least_beam=0.4)).light().beam
    assert not TangoBeamline(settings(names, "x", beam=velocity, least_beam=0.6)).light().beam
    assert TangoBeamline(settings(names, "x", shutter=velocity)).light().shutter


def test_a_triggered_value_is_waited_for_and_given_up(names: dict[str, str]) -> None:
    beamline = TangoBeamline(settings(names, "x", trigger=names["slow"].replace("#", "/Init#"), value_s=0.2))
    assert beamline.expose().beam
    beamline.axes["slow"].move(beamline.axes["slow"].read() + 5.0)
    with pytest.raises(DeviceError, match=r"Init is not done after 0\.2 s"):
        beamline.expose()
    beamline.axes["slow"].abort()


def test_what_is_no_name_is_told(names: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="'counts' is no domain/family/member/name"):
        TangoBeamline(settings(names, "x", value="counts"))
    with pytest.raises(DeviceError):
        TangoBeamline(settings(names, "x", value=names["x"].replace("#", "/counts#"))).expose()


SETTINGS = """
[alignment]
method = "goto"
goto = [100.0]
value = "{value}"
dead_man_s = 3.0
[alignment.devices]
slow = "{device}"
[alignment.axes.slow]
low = -180.0
high = 180.0
width = 1.0
tolerance = 0.1
largest_step = 100.0
"""


def aligning(names: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
    """`braggloop align` in a process of its own, once its axis moves."""
    file = folder / "settings.toml"
    file.write_text(SETTINGS.format(value=names["slow"].replace("#", "/position#"), device=names["slow"]))
    command = [sys.executable, "-m", "service.cli", "align", "--settings", str(file), "--out", str(folder / "out")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    slow = TangoAxis("slow", TangoDevice(names["slow"]))
    until(lambda: slow.moving, 60.0)
    return process


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP, signal.SIGINT, signal.SIGTERM])
def test_axes_stop_whatever_becomes_of_who_moves_them(
    names: dict[str, str], tmp_path: Path, how: signal.Signals
) -> None:
    process = aligning(names, tmp_path)
    slow = TangoAxis("slow", TangoDevice(names["slow"]))
    try:
        process.send_signal(how)
        until(lambda: not slow.moving, 10.0)
        where = slow.read()
        time.sleep(0.2)
        assert slow.read() == where < 90.0
    finally:
        process.kill()
        process.wait(10.0)


@pytest.fixture
def device(names: dict[str, str]) -> Iterator[tango.DeviceProxy]:
    proxy = tango.DeviceProxy(names["x"].replace("goniometer/x", "alignment/1"))
    yield proxy
    if proxy.state() in (tango.DevState.MOVING, tango.DevState.RUNNING):
        proxy.Abort()
    until(lambda: proxy.phase in ("idle", "armed", "ended", "approving"))
    if proxy.phase == "approving":
        proxy.Abort()
    until(lambda: proxy.phase in ("idle", "armed", "ended"))
    until(lambda: _resets(proxy))


def _resets(proxy: tango.DeviceProxy) -> bool:
    try:
        proxy.Reset()
    except tango.DevFailed:  # its thread is about to end
        return False
    return True


def as_toml(names: dict[str, str], axis: str, **changes: object) -> str:
    planned = {"low": -5.0, "high": 5.0, "width": 2.0, "tolerance": 0.05, "largest_step": 10.0}
    given = {"value": names[axis].replace("#", "/position#"), "settle_s": 0.0, "method": "golden", **changes}

    def lines(tree: dict[str, object]) -> str:
        return "\n".join(f"{key} = {json.dumps(value)}" for key, value in tree.items())

    return f"{lines(given)}\n[devices]\n{lines({axis: names[axis]})}\n[axes.{axis}]\n{lines(dict(planned))}\n"


def test_the_device_aligns_and_shows_how(device: tango.DeviceProxy, names: dict[str, str]) -> None:
    device.Configure(as_toml(names, "x"))
    device.Arm(["a test", "60"])
    assert (device.state(), device.armedBy) == (tango.DevState.ON, "a test")
    device.Start()
    until(lambda: device.phase == "ended", 30.0)
    assert (device.outcome, device.state()) == ("aligned", tango.DevState.STANDBY)
    assert device.best[0] == pytest.approx(5.0, abs=0.2)
    assert len(device.history) == device.exposures > 5
    assert Path(device.journal).exists()
    device.Restore("start")
    until(lambda: device.restored == "start" and device.phase == "ended", 30.0)


def test_the_device_refuses_what_does_not_fit(device: tango.DeviceProxy, names: dict[str, str]) -> None:
    device.Configure(as_toml(names, "x"))
    for refused, said in [
        (device.Start, "Arm it first"),
        (device.Pause, "Pause: the loop is idle"),
        (lambda: device.Arm(["a test"]), "is not a name and a number"),
        (lambda: device.Arm(["a test", "-1"]), "give a time above 0"),
        (lambda: device.Restore("start"), "no start point is known"),
        (lambda: device.Configure("value = 3"), "alignment|value"),
        (lambda: device.Configure("/nowhere/settings.toml"), "Configure: "),
    ]:
        with pytest.raises(tango.DevFailed, match=said):
            refused()


def test_a_procedure_of_the_device_is_refused_unarmed_and_ends_with_its_reason(
    device: tango.DeviceProxy, names: dict[str, str]
) -> None:
    device.Configure(as_toml(names, "x"))
    for refused, said in [
        (lambda: device.RockingCurve("x"), "RockingCurve: the loop is idle; Arm it first"),
        (lambda: device.Track(5.0), "Track: the loop is idle"),
    ]:
        with pytest.raises(tango.DevFailed, match=said):
            refused()
    device.Arm(["a test", "60"])
    with pytest.raises(tango.DevFailed, match="CentreOfRotation: no eta, y, z in alignment"):
        device.CentreOfRotation()
    device.RockingCurve("x")
    until(lambda: device.phase == "ended", 30.0)
    # An axis that ends at 5 counts its own position.
    assert (device.outcome, device.procedure, device.result) == ("exhausted", "RockingCurve", "")
    assert device.reason.startswith("no peak: the most was 5")
    assert Path(device.journal).exists()


def test_the_device_stops_and_waits_for_a_person(device: tango.DeviceProxy, names: dict[str, str]) -> None:
    device.Configure(as_toml(names, "slow", method="goto", goto=[4.0], approve=True))
    device.Arm(["a test", "60"])
    device.Start()
    until(lambda: device.phase == "approving")
    device.Approve()
    until(lambda: device.state() is tango.DevState.MOVING)
    device.Stop()
    until(lambda: device.phase == "ended")
    assert (device.outcome, device.reason) == ("stopped", "Stop")
    assert TangoAxis("slow", TangoDevice(names["slow"])).moving is False
