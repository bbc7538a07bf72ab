"""Clients of Tango devices, and how devices of our own are reached without a database."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tango

from service.errors import DeviceError
from service.settings import Settings

TIMEOUT_S = 3.0  # Tango's own; a device of ours answers within it
SERVER = "Braggloop"
COUNTED = {"x", "y", "eta"}  # axes without which there is no VirtualCounter


@contextlib.contextmanager
def answers(device: str) -> Iterator[None]:
    """Turn DevFailed into DeviceError, in one line that names the device."""
    try:
        yield
    except tango.DevFailed as error:
        reason = error.args[0]
        raise DeviceError(f"{device}: {' '.join(reason.desc.split())} ({reason.reason})") from error


class TangoDevice:
    """One device from the outside; connects at the first use, and again after the device came back."""

    def __init__(self, name: str, timeout_s: float = TIMEOUT_S) -> None:
        self.name = name
        self._timeout_s = timeout_s
        self._proxy: tango.DeviceProxy | None = None

    def read(self, attribute: str) -> Any:
        """Value of an attribute; raise DeviceError where the device does not answer or refuses."""
        with answers(self.name):
            return self._connected().read_attribute(attribute).value

    def read_all(self, attributes: Sequence[str]) -> list[Any]:
        """Values of attributes, read at once; None where one has no valid value. Raises DeviceError as `read`."""
        with answers(self.name):
            found = self._connected().read_attributes(list(attributes))
            for read in found:
                if read.has_failed:
                    raise tango.DevFailed(*read.get_err_stack())
            return [read.value for read in found]

    def write(self, attribute: str, value: Any) -> None:
        with answers(self.name):
            self._connected().write_attribute(attribute, value)

    def command(self, command: str, *argument: Any) -> Any:
        """Run a command with at most one argument."""
        with answers(self.name):
            return self._connected().command_inout(command, *argument)

    @property
    def state(self) -> str:
        with answers(self.name):
            return str(self._connected().state())

    def _connected(self) -> tango.DeviceProxy:
        if self._proxy is None:
            if "://" not in self.name and not tango.ApiUtil.get_env_var("TANGO_HOST"):
                # Tango itself would say so in three hundred lines.
                raise DeviceError(f"{self.name}: TANGO_HOST is not set; set it, or give tango://host:port/{self.name}")
            proxy = tango.DeviceProxy(self.name)
            proxy.set_timeout_millis(int(1000 * self._timeout_s))
            self._proxy = proxy
        return self._proxy


class TangoAxis:
    """A motor behind a Tango device with a position attribute and an Abort command, as an Actuator."""

    def __init__(self, name: str, device: TangoDevice, position: str = "position") -> None:
        self._name, self._device, self._position = name, device, position

    @property
    def name(self) -> str:
        return self._name

    def read(self) -> float:
        return float(self._device.read(self._position))

    def move(self, position: float) -> None:
        self._device.write(self._position, position)

    @property
    def moving(self) -> bool:
        return self._device.state == "MOVING"

    def abort(self) -> None:
        self._device.command("Abort")


class AxisPositions:
    """Where the axes stand now: what the twin obeys. Call it for {axis: position}; raises DeviceError."""

    def __init__(self, devices: Mapping[str, str]) -> None:
        self._axes = {axis: TangoAxis(axis, TangoDevice(name)) for axis, name in devices.items()}

    def __call__(self) -> dict[str, float]:
        return {name: axis.read() for name, axis in self._axes.items()}


def device_names(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Class -> devices that one installation has; the counter where its axes are."""
    domain, axes = settings.tango.domain, settings.counter.axes or settings.goniometer.axes
    return {
        "FrameStreamer": (f"{domain}/streamer/1",),
        "Reconstruction": (f"{domain}/reconstruction/1",),
        "CrystalAlignment": (f"{domain}/alignment/1",),
        "VirtualGoniometer": tuple(f"{domain}/goniometer/{axis}" for axis in settings.goniometer.axes),
        "VirtualCounter": (f"{domain}/counter/1",) if set(axes) >= COUNTED else (),
    }


def device_url(host: str, port: int, name: str) -> str:
    """Address of a device without a database."""
    return f"tango://{host}:{port}/{name}#dbase=no"


def virtual_axes(devices: Iterable[str]) -> dict[str, str]:
    """Axis -> device, for VirtualGoniometer devices by name or address: the last part of the name is the axis."""
    return {device.partition("#")[0].rpartition("/")[2]: device for device in devices}


def obeying(settings: Settings, axes: Mapping[str, str]) -> Settings:
    """Settings whose twin and counter follow `axes` (axis -> device), where they do not say whom they follow."""
    changes = {
        name: part.model_copy(update={"axes": dict(axes)})
        for name, part in (("twin", settings.twin), ("counter", settings.counter))
        if not part.axes
    }
    return settings.model_copy(update=changes) if axes and changes else settings


def device_server_arguments(settings: Settings, port: int, settings_file: Path | None = None) -> list[str]:
    """Arguments of `python -m tango_devices` for every device of the settings, without a database, on `port`."""
    listed = ",".join(f"{kind}::{name}" for kind, names in device_names(settings).items() for name in names)
    arguments = [SERVER, "nodb", "-nodb", "-dlist", listed]
    arguments += ["-ORBendPoint", f"giop:tcp:{settings.tango.host}:{port}"]
    return [*arguments, "--settings", str(settings_file)] if settings_file else arguments


def device_urls(settings: Settings, port: int) -> tuple[str, ...]:
    """Addresses of every device of the settings, without a database, on `port`."""
    names = device_names(settings).values()
    return tuple(device_url(settings.tango.host, port, name) for listed in names for name in listed)


def alive(device: str) -> bool:
    """Whether the device answers at this moment."""
    try:
        return bool(TangoDevice(device).state)
    except DeviceError:
        return False


def register_devices(settings: Settings, instance: str) -> tuple[str, ...]:
    """Enter every device of the settings into the Tango database of TANGO_HOST, as SERVER/instance; return their names.

    Raises DeviceError where the database does not answer.
    """
    listed = [(kind, name) for kind, names in device_names(settings).items() for name in names]
    for kind, name in listed:
        register_device(f"{SERVER}/{instance}", kind, name)
    return tuple(name for _, name in listed)


def register_device(server: str, kind: str, name: str, settings_file: Path | None = None) -> None:
    """Enter one device into the Tango database of TANGO_HOST, and where its settings are. Raises DeviceError."""
    with answers(f"the Tango database at {os.environ.get('TANGO_HOST', 'TANGO_HOST')}"):
        database = tango.Database()
        entry = tango.DbDevInfo()
        entry.server, entry._class, entry.name = server, kind, name
        database.add_device(entry)
        if settings_file is not None:
            database.put_device_property(name, {"SettingsFile": [str(settings_file.resolve())]})
