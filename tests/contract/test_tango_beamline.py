"""A loop on real Tango devices, without a database: it moves them, measures, and stops them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tango
from numpy.typing import NDArray
from tango.server import Device, attribute, command
from tango.test_context import MultiDeviceTestContext
from typer.testing import CliRunner

from service.adapters.tango import AxisPositions, TangoAxis, TangoDevice, device_url
from service.adapters.tango_beamline import TangoBeamline
from service.adapters.twin import NOMINAL_POSITIONS, TwinSource
from service.alignment import events
from service.alignment.drive import Driver
from service.alignment.journal import Journal, read_journal, replayed
from service.alignment.loop import Loop
from service.alignment.methods.choose import chosen
from service.alignment.plan import AlignmentSettings
from service.alignment.progress import Outcome
from service.cli import app
from service.commands.report import DONE, FAILED, WRONG_USE
from service.devices.goniometer import VirtualAxis
from service.devices.oriented_alignment import OrientedAlignment
from service.devices.streamer import Streamer
from service.errors import DeviceError, SettingsError
from service.settings import Settings, TwinSettings, parse_section, parse_settings
from tango_devices.controlled import ControlledDevice
from tango_devices.controllers import Controllers
from tango_devices.crystal_alignment import CrystalAlignment
from tango_devices.frame_streamer import FrameStreamer
from tango_devices.virtual_goniometer import VirtualGoniometer
from tests.helpers.orienting import GOLD, found_axes
from tests.helpers.streams import ListSink, until

CIRCLES = ("theta", "chi", "phi", "delta", "gamma")  # of 34-ID-C
FIRST, SECOND, TARGET = (1, 1, -1), (0, 0, -2), (-1, 1, -1)
BEYOND = (1, -1, 1)  # needs gamma below its limit
QUIET_S = 0.5  # a server that ends in the middle of a push takes the process with it
AXES = {
    "x": {"velocity": 20.0, "low_limit": -10.0, "high_limit": 10.0},
    "slow": {"velocity": 0.5},
    # The twin's detector, its reflection 19 and 16 pixels off the middle.
    "delta": {"velocity": 20.0, "position": NOMINAL_POSITIONS["delta"] + 0.12},
    "gamma": {"velocity": 20.0, "position": NOMINAL_POSITIONS["gamma"] - 0.12},
}
TWIN = TwinSettings(frames=2, rows=96, columns=96)


class Camera(Device):
    """Shows a spot where the test says, and a number for each trigger; some attributes fail or have no value."""

    spot: ClassVar[tuple[float, float]] = (30.0, 20.0)
    numbers: ClassVar[list[float]] = []
    triggers: ClassVar[int] = 0

    @command
    def Snap(self) -> None:
        type(self).triggers += 1

    @attribute(dtype=((np.uint32,),), max_dim_x=64, max_dim_y=64)
    def image(self) -> NDArray[np.uint32]:
        row, column = self.spot
        y, x = np.mgrid[:48, :64]
        return np.rint(500.0 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 18.0)).astype(np.uint32)

    @attribute(dtype=(float,), max_dim_x=64)
    def latent(self) -> list[float]:
        return [1.0, 2.0, 3.0]

    @attribute(dtype=float)
    def number(self) -> float:
        return self.numbers[(self.triggers - 1) % len(self.numbers)]

    @attribute(dtype=int)
    def snapped(self) -> int:
        return self.triggers

    @attribute(dtype=float)
    def invalid(self) -> tuple[float, float, tango.AttrQuality]:
        return 7.0, time.time(), tango.AttrQuality.ATTR_INVALID

    @attribute(dtype=float)
    def dead(self) -> float:
        raise RuntimeError("the camera is off")


def build(settings: Settings, axis: str) -> VirtualAxis:
    return VirtualAxis(axis, settings.goniometer.axes[axis])


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Axis -> address of its device."""
    circles = {
        f"circle_{axis}": {"position": angle + 0.5, "velocity": 500.0}
        for axis, angle in found_axes(GOLD, FIRST).items()
    }
    settings = parse_settings(
        {
            "out": tmp_path_factory.mktemp("journals"),
            "goniometer": {"axes": {**AXES, **circles}},
            "geometry": {"energy_kev": GOLD.energy_kev},
            "orientation": {"element": "Au"},
        }
    )
    standing = dict[str, Callable[[], Mapping[str, float]]]()
    builders = {
        "FrameStreamer": lambda settings, _: Streamer(
            settings.streamer, lambda _: TwinSource(TWIN, standing["now"]), lambda _: ListSink()
        ),
        "VirtualGoniometer": build,
        "CrystalAlignment": lambda settings, _: OrientedAlignment(settings, TangoBeamline),
    }
    with Controllers(builders, settings, {}) as controllers:
        ControlledDevice.controllers = controllers
        listed = [{"name": f"test/goniometer/{axis}"} for axis in (*AXES, *(f"circle_{axis}" for axis in CIRCLES))]
        aligning = [{"name": "test/alignment/1"}]
        described = (
            {"class": VirtualGoniometer, "devices": listed},
            {"class": CrystalAlignment, "devices": aligning},
            {"class": Camera, "devices": [{"name": "test/camera/1"}]},
            {"class": FrameStreamer, "devices": [{"name": "test/streamer/1"}]},
        )
        with MultiDeviceTestContext(described, process=False, timeout=30) as context:
            urls = {axis: device_url(context.host, context.port, f"test/goniometer/{axis}") for axis in AXES}
            standing["now"] = AxisPositions({axis: urls[axis] for axis in ("delta", "gamma")})
            yield urls
            time.sleep(QUIET_S)


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


def looking(names: dict[str, str], objective: dict[str, dict[str, Any]], **changes: Any) -> TangoBeamline:
    """A beamline whose objective is of attributes of the camera, named by their last part."""

    def whole(attribute: str) -> str:
        return names["x"].replace("goniometer/x", f"camera/1/{attribute}")

    terms = {name: {**how, "attribute": whole(how["attribute"])} for name, how in objective.items()}
    return TangoBeamline(settings(names, "x", value="", objective=terms, trigger=whole("Snap"), **changes))


def test_an_objective_is_read_from_images_spectra_and_numbers(names: dict[str, str]) -> None:
    Camera.numbers, Camera.spot, Camera.triggers = [4.0], (30.0, 20.0), 0
    spot = {"attribute": "image", "measure": "centring", "target": (27.0, 24.0), "scale": 5.0}
    close = {"attribute": "latent", "measure": "distance", "target": (1.0, 2.0, 1.0), "scale": 2.0, "weight": -3.0}
    sharp = {"attribute": "number", "weight": 0.5}
    beamline = looking(names, {"spot": spot, "close": close, "sharp": sharp}, readings=3)
    assert beamline.expose().value == pytest.approx(-1.0 - 3.0 + 2.0, abs=0.01)
    assert Camera.triggers == 3


def test_a_wild_reading_is_left_out_and_written_down(names: dict[str, str], tmp_path: Path) -> None:
    Camera.numbers, Camera.triggers = [10.0, 11.0, 900.0, 9.0, 10.0], 0
    beamline = looking(names, {"sharp": {"attribute": "number"}}, readings=5, outliers=5.0)
    exposure = beamline.expose()
    assert (exposure.value, exposure.left_out) == (10.0, 1)


def test_what_is_invalid_is_no_number_and_what_is_dead_is_told(names: dict[str, str]) -> None:
    Camera.numbers = [4.0]
    sharp = {"attribute": "number"}
    assert np.isnan(looking(names, {"sharp": sharp, "none": {"attribute": "invalid"}}).expose().value)
    with pytest.raises(DeviceError, match="the camera is off"):
        looking(names, {"sharp": sharp, "dead": {"attribute": "dead"}}).expose()
    with pytest.raises(DeviceError, match=r"objective sharp: got shape .* expected a number"):
        looking(names, {"sharp": {"attribute": "latent"}}).expose()
    with pytest.raises(DeviceError, match=r"objective part: region .* is not within an image"):
        looking(names, {"part": {"attribute": "image", "measure": "region", "region": (0, 9, 0, 99)}}).expose()


def test_a_result_is_waited_for_until_it_is_another(names: dict[str, str]) -> None:
    Camera.numbers, Camera.triggers = [10.0, 20.0], 1
    snapped = names["x"].replace("goniometer/x", "camera/1/snapped")
    sharp = {"sharp": {"attribute": "number"}}
    assert looking(names, sharp, fresh=snapped).expose().value == 20.0
    position = names["x"].replace("#", "/position#")
    with pytest.raises(DeviceError, match=r"position is still .* after 0\.1 s"):
        looking(names, sharp, fresh=position, value_s=0.1).expose()


def test_the_twins_reflection_is_brought_to_a_pixel(names: dict[str, str]) -> None:
    axes, width = ("delta", "gamma"), {"width": 0.12, "tolerance": 0.002, "largest_step": 0.5}
    streamer = names["x"].replace("goniometer/x#", "streamer/1/{}#")
    target = (50.0, 44.0)
    spot = {"attribute": streamer.format("image"), "measure": "centring", "target": target}
    asked = parse_section(
        AlignmentSettings,
        {
            "axes": {n: {"low": NOMINAL_POSITIONS[n] - 1.0, "high": NOMINAL_POSITIONS[n] + 1.0, **width} for n in axes},
            "devices": {name: names[name] for name in axes},
            "objective": {"spot": spot},
            "trigger": streamer.format("Start"),
            "settle_s": 0.0,
            "method": "paraboloid",
        },
    )
    beamline = TangoBeamline(asked)
    before = beamline.expose().value
    progress = Driver(Loop(asked.plan(), chosen), beamline).run(*start(beamline))
    assert progress.outcome is Outcome.ALIGNED
    after = beamline.expose().value
    assert before < -100.0  # square pixels
    assert after > -(0.5**2)


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
    journal = Path(device.journal)
    device.Restore("start")
    until(lambda: device.restored == "start" and device.phase == "ended", 30.0)
    assert Path(device.journal) == journal
    assert replayed(journal, lambda plan: Loop(plan, chosen)) == []


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


def test_a_client_that_owns_its_motors_is_told_what_to_do(device: tango.DeviceProxy) -> None:
    planned = {"low": -5.0, "high": 5.0, "width": 1.0, "tolerance": 0.05, "largest_step": 10.0}
    device.Configure(
        'client = true\nmethod = "golden"\n[axes.own]\n'
        + "\n".join(f"{key} = {value}" for key, value in planned.items())
    )
    with pytest.raises(tango.DevFailed, match="the loop is idle; Arm and Start it first"):
        device.Suggest()
    device.Arm(["a test", "60"])
    device.Start()
    own = 0.0
    while (wanted := json.loads(device.Suggest()))["kind"] != "end":
        own = wanted.get("targets", {}).get("own", own)
        kind = "exposed" if wanted["kind"] == "expose" else "standing"
        report = {"number": wanted["number"], "kind": kind, "positions": {"own": own}, "value": -((own - 2.0) ** 2)}
        device.Report(json.dumps(report))
    assert (wanted["outcome"], own) == ("aligned", pytest.approx(2.0, abs=0.1))
    assert device.outcome == "aligned"


CENTRING = """
value = "{position}"
trigger = "{streamer}"
settle_s = 0.0
[procedures]
image = "{image}"
target = [46.0, 47.0]
[devices]
delta = "{delta}"
gamma = "{gamma}"
"""


def test_the_device_brings_a_reflection_onto_a_pixel(device: tango.DeviceProxy, names: dict[str, str]) -> None:
    streamer = names["x"].replace("goniometer/x#", "streamer/1/{}#")
    text = CENTRING.format(
        position=names["delta"].replace("#", "/position#"), streamer=streamer.format("Start"),
        image=streamer.format("image"), **{name: names[name] for name in ("delta", "gamma")},
    )  # fmt: skip
    for name in ("delta", "gamma"):
        at = NOMINAL_POSITIONS[name]
        limits = f"low = {at - 1.0}\nhigh = {at + 1.0}\nwidth = 0.12\ntolerance = 0.002\nlargest_step = 0.5"
        text += f"[axes.{name}]\n{limits}\n"
    device.Configure(text)
    device.Arm(["a test", "120"])
    device.CentreReflection()
    until(lambda: device.phase == "ended", 100.0)
    assert (device.outcome, device.procedure) == ("aligned", "CentreReflection")
    assert json.loads(device.result)["off_px"] < 1.0


def test_axes_of_the_server_are_not_suggested(device: tango.DeviceProxy, names: dict[str, str]) -> None:
    device.Configure(as_toml(names, "x"))
    with pytest.raises(tango.DevFailed, match="set client = true"):
        device.Suggest()


ORIENTING = """
out = "{out}"
[geometry]
energy_kev = 9.0
[orientation]
element = "Au"
[alignment]
value = "{value}"
settle_s = 0.0
[alignment.devices]
{devices}
"""
LIMITS = "[alignment.axes.{0}]\nlow = {1}\nhigh = {2}\nwidth = 0.1\ntolerance = 0.001\nlargest_step = 40.0\n"


@pytest.fixture
def circles(names: dict[str, str]) -> dict[str, str]:
    return {axis: names["x"].replace("goniometer/x", f"goniometer/circle_{axis}") for axis in CIRCLES}


def oriented(circles: Mapping[str, str], folder: Path) -> Path:
    """A settings file: theta, delta and gamma may move, chi and phi may not."""
    devices = "\n".join(f'{axis} = "{url}"' for axis, url in circles.items())
    text = ORIENTING.format(out=folder, value=circles["theta"].replace("#", "/position#"), devices=devices)
    limits = [("theta", -170, 170), ("delta", -5, 80), ("gamma", -5, 80)]
    path = folder / "settings.toml"
    path.write_text(text + "".join(LIMITS.format(*limit) for limit in limits))
    return path


def orient(settings: Path, *line: str) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(app, ["orient", *line, "--settings", str(settings), "--json"])
    return result.exit_code, json.loads(result.stdout.splitlines()[-1])


def stand(circles: Mapping[str, str]) -> dict[str, float]:
    return {axis: TangoAxis(axis, TangoDevice(url)).read() for axis, url in circles.items()}


def place(circles: Mapping[str, str], hkl: tuple[int, int, int]) -> None:
    axes = {axis: TangoAxis(axis, TangoDevice(url)) for axis, url in circles.items()}
    for axis, angle in found_axes(GOLD, hkl).items():
        axes[axis].move(angle)
    until(lambda: not any(axis.moving for axis in axes.values()))


def test_a_crystal_is_oriented_and_gone_to(circles: dict[str, str], tmp_path: Path) -> None:
    settings = oriented(circles, tmp_path)
    for hkl in (FIRST, SECOND):
        place(circles, hkl)
        code, told = orient(settings, "add", *map(str, hkl))
        assert (code, told["hkl"]) == (DONE, list(hkl))
    code, told = orient(settings, "fit")
    assert (code, max(told["residuals_deg"])) == (DONE, pytest.approx(0.0, abs=1e-3))

    before = stand(circles)
    code, told = orient(settings, "goto", *map(str, TARGET), "--dry-run")
    assert (code, told["moved"], told["outcome"], stand(circles)) == (DONE, False, "rehearsed", before)
    code, told = orient(settings, "goto", *map(str, BEYOND))
    assert (code, stand(circles)) == (FAILED, before)
    assert "deg, limits -5 to 80 deg" in told["error"]
    assert "\n" not in told["error"]

    asked = tmp_path / "approving.toml"
    asked.write_text(settings.read_text().replace("settle_s", "approve = true\nsettle_s"))
    code, told = orient(asked, "goto", *map(str, TARGET))
    assert (code, stand(circles)) == (WRONG_USE, before)
    assert "each move waits for a person" in told["error"]

    code, told = orient(settings, "goto", *map(str, TARGET), "--by", "a test")
    assert (code, told["moved"], told["outcome"]) == (DONE, True, "aligned")
    np.testing.assert_allclose(told["hkl_there"], TARGET, atol=1e-4)
    assert stand(circles) == pytest.approx(found_axes(GOLD, TARGET), abs=1e-3)
    assert {axis: stand(circles)[axis] for axis in ("chi", "phi")} == {axis: before[axis] for axis in ("chi", "phi")}
    plan, _ = read_journal(Path(told["journal"]))
    assert (plan.method, tuple(plan.axes)) == ("goto", ("theta", "delta", "gamma"))
    assert replayed(Path(told["journal"]), lambda plan: Loop(plan, chosen)) == []


def test_the_device_orients_and_goes(device: tango.DeviceProxy, circles: dict[str, str], tmp_path: Path) -> None:
    text = oriented(circles, tmp_path).read_text()
    device.Configure(text[text.index("[alignment]") :])
    place(circles, FIRST)
    device.AddReflection([*map(str, FIRST), "first"])
    place(circles, SECOND)
    device.AddReflection(list(map(str, SECOND)))
    assert device.reflections == ("1: 1 1 -1 (first)", "2: 0 0 -2")
    device.FitOrientation()
    assert np.linalg.norm(device.ub.reshape(3, 3) @ (1.0, 0.0, 0.0)) == pytest.approx(2 * np.pi / 4.078)
    assert device.residual == pytest.approx(0.0, abs=1e-3)
    np.testing.assert_allclose(device.Hkl(), SECOND, atol=1e-4)
    with pytest.raises(tango.DevFailed, match="GotoHkl: the loop is idle; Arm it first"):
        device.GotoHkl(list(TARGET))
    device.Arm(["a test", "60"])
    for hkl, said in [(BEYOND, "deg, limits -5 to 80 deg"), ((1, 1), "is not h, k, l: expected three numbers")]:
        with pytest.raises(tango.DevFailed, match=said):
            device.GotoHkl(list(hkl))
    device.GotoHkl(list(TARGET))
    until(lambda: device.phase == "ended", 30.0)
    assert (device.outcome, device.method) == ("aligned", "goto")
    np.testing.assert_allclose(device.Hkl(), TARGET, atol=1e-4)
    assert replayed(Path(device.journal), lambda plan: Loop(plan, chosen)) == []
    device.RemoveReflection(1)
    with pytest.raises(tango.DevFailed, match="there is no reflection 1: there are 2"):
        device.RemoveReflection(1)
