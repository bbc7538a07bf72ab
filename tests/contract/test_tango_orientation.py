"""A crystal oriented with real Tango motors, without a database: `braggloop orient`, and CrystalAlignment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tango
from tango.test_context import MultiDeviceTestContext
from typer.testing import CliRunner

from service.adapters.tango import device_url
from service.adapters.tango_beamline import TangoBeamline
from service.alignment.journal import read_journal, replayed
from service.alignment.loop import Loop
from service.alignment.methods.choose import chosen
from service.cli import app
from service.commands.report import DONE, FAILED
from service.devices.goniometer import VirtualAxis
from service.devices.oriented_alignment import OrientedAlignment
from service.settings import Settings, load_settings
from tango_devices.controlled import ControlledDevice
from tango_devices.controllers import Controllers
from tango_devices.crystal_alignment import CrystalAlignment
from tango_devices.virtual_goniometer import VirtualGoniometer
from tests.helpers.orienting import GOLD, found_axes, shifted
from tests.helpers.streams import until

AXES = ("theta", "chi", "phi", "delta", "gamma")
FIRST, SECOND, TARGET = (1, 1, -1), (0, 0, -2), (-1, 1, -1)
BEYOND = (1, -1, 1)  # needs gamma below its limit
START = shifted(GOLD, FIRST)
AXIS = "low = {low}\nhigh = {high}\nwidth = 0.1\ntolerance = 0.001\nlargest_step = 40.0\n"


class Beamline(NamedTuple):
    settings: Path
    motors: dict[str, tango.DeviceProxy]
    alignment: tango.DeviceProxy


def build(settings: Settings, axis: str) -> VirtualAxis:
    return VirtualAxis(axis, settings.goniometer.axes[axis])


def written(folder: Path, host: str = "", port: int = 0) -> Path:
    """A settings file; the motors stand where they stand at the start."""
    lines = [f'out = "{folder}"', "[geometry]", "energy_kev = 9.0", "[orientation]", 'element = "Au"']
    for axis in AXES:
        lines += [f"[goniometer.axes.{axis}]", f"position = {START[axis]}", "velocity = 500.0"]
    if host:
        urls = {axis: device_url(host, port, f"test/circles/{axis}") for axis in AXES}
        value = urls["theta"].replace("#", "/position#")
        lines += ["[alignment]", f'value = "{value}"', "settle_s = 0.0", 'zones = ["delta > 60 and gamma > 60"]']
        lines += ["[alignment.devices]", *(f'{axis} = "{url}"' for axis, url in urls.items())]
        for axis in ("theta", "delta", "gamma"):
            low, high = (-170.0, 170.0) if axis == "theta" else (-5.0, 80.0)
            lines += [f"[alignment.axes.{axis}]", AXIS.format(low=low, high=high)]
    path = folder / "settings.toml"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def beamline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beamline]:
    folder = tmp_path_factory.mktemp("orientation")
    path = written(folder)
    settings: list[Settings] = [load_settings(path)]
    builders = {
        "VirtualGoniometer": build,
        "CrystalAlignment": lambda given, _: OrientedAlignment(given, TangoBeamline),
    }
    with Controllers(builders, settings[0], {}) as controllers:
        ControlledDevice.controllers = controllers
        described = (
            {"class": VirtualGoniometer, "devices": [{"name": f"test/circles/{axis}"} for axis in AXES]},
            {"class": CrystalAlignment, "devices": [{"name": "test/oriented/1"}]},
        )
        with MultiDeviceTestContext(described, process=False, timeout=30) as context:
            written(folder, context.host, context.port)
            urls = {axis: device_url(context.host, context.port, f"test/circles/{axis}") for axis in AXES}
            motors = {axis: tango.DeviceProxy(url) for axis, url in urls.items()}
            oriented = tango.DeviceProxy(device_url(context.host, context.port, "test/oriented/1"))
            oriented.Configure(str(alignment_of(path)))
            yield Beamline(path, motors, oriented)


def alignment_of(path: Path) -> Path:
    """The [alignment] section of a settings file alone."""
    text = path.read_text()
    alone = path.with_name("alignment.toml")
    alone.write_text(text[text.index("[alignment]") :])
    return alone


def orient(beamline: Beamline, *line: str) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(app, ["orient", *line, "--settings", str(beamline.settings), "--json"])
    return result.exit_code, json.loads(result.stdout.splitlines()[-1])


def stand(beamline: Beamline) -> dict[str, float]:
    return {axis: motor.position for axis, motor in beamline.motors.items()}


def place(beamline: Beamline, axes_deg: dict[str, float]) -> None:
    for axis, motor in beamline.motors.items():
        motor.position = axes_deg[axis]
    until(lambda: all(motor.state() is tango.DevState.ON for motor in beamline.motors.values()))


def test_a_crystal_is_oriented_and_gone_to(beamline: Beamline) -> None:
    for hkl in (FIRST, SECOND):
        place(beamline, found_axes(GOLD, hkl))
        code, told = orient(beamline, "add", *map(str, hkl))
        assert (code, told["hkl"]) == (DONE, list(hkl))
        assert told["two_theta_deg"] == pytest.approx(told["lattice_two_theta_deg"], abs=1e-4)
    code, told = orient(beamline, "fit")
    assert (code, max(told["residuals_deg"])) == (DONE, pytest.approx(0.0, abs=1e-3))

    before = stand(beamline)
    code, told = orient(beamline, "goto", *map(str, TARGET), "--dry-run")
    assert (code, told["moved"], told["outcome"]) == (DONE, False, "rehearsed")
    assert stand(beamline) == before

    code, told = orient(beamline, "goto", *map(str, TARGET), "--by", "a test")
    assert (code, told["moved"], told["outcome"]) == (DONE, True, "aligned")
    np.testing.assert_allclose(told["hkl_there"], TARGET, atol=1e-4)
    assert stand(beamline) == pytest.approx(told["axes_deg"], abs=1e-3)
    assert (stand(beamline)["chi"], stand(beamline)["phi"]) == (before["chi"], before["phi"])
    plan, _ = read_journal(Path(told["journal"]))
    assert (plan.method, tuple(plan.axes)) == ("goto", ("theta", "delta", "gamma"))
    assert replayed(Path(told["journal"]), lambda plan: Loop(plan, chosen)) == []
    code, told = orient(beamline, "where")
    np.testing.assert_allclose(told["hkl"], TARGET, atol=1e-4)

    before = stand(beamline)
    code, told = orient(beamline, "goto", *map(str, BEYOND))
    assert code == FAILED
    assert "deg, limits -5 to 80 deg" in told["error"]
    assert "\n" not in told["error"]
    assert stand(beamline) == before


def test_the_device_orients_and_goes(beamline: Beamline) -> None:
    device = beamline.alignment
    place(beamline, found_axes(GOLD, FIRST))
    until(lambda: len(device.reflections or ()) == 2)  # those of the commands, from the file
    known = 2
    device.AddReflection([*map(str, FIRST), "first"])
    place(beamline, found_axes(GOLD, SECOND))
    device.AddReflection(list(map(str, SECOND)))
    assert [each.partition(": ")[2] for each in device.reflections[known:]] == ["1 1 -1 (first)", "0 0 -2"]
    device.FitOrientation()
    assert np.linalg.norm(device.ub.reshape(3, 3) @ (1.0, 0.0, 0.0)) == pytest.approx(2 * np.pi / 4.078)
    assert device.residual == pytest.approx(0.0, abs=1e-3)
    np.testing.assert_allclose(device.Hkl(), SECOND, atol=1e-4)
    with pytest.raises(tango.DevFailed, match="GotoHkl: the loop is idle; Arm it first"):
        device.GotoHkl(list(TARGET))
    device.Arm(["a test", "60"])
    with pytest.raises(tango.DevFailed, match="deg, limits -5 to 80 deg"):
        device.GotoHkl(list(BEYOND))
    with pytest.raises(tango.DevFailed, match=r"is not h, k, l: expected three numbers"):
        device.GotoHkl([1, 1])
    device.GotoHkl(list(TARGET))
    until(lambda: device.phase == "ended", 30.0)
    assert (device.outcome, device.method) == ("aligned", "goto")
    np.testing.assert_allclose(device.Hkl(), TARGET, atol=1e-4)
    assert replayed(Path(device.journal), lambda plan: Loop(plan, chosen)) == []
    device.RemoveReflection(known + 1)
    with pytest.raises(tango.DevFailed, match="there is no reflection"):
        device.RemoveReflection(known + 1)
