"""The Tango devices as a child process, with a Tango database or without."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from service.adapters.tango import (
    SERVER,
    alive,
    device_server_arguments,
    device_urls,
    register_devices,
)
from service.commands.children import Children, ending, free_ports
from service.commands.report import Report
from service.errors import SettingsError
from service.results.durable import require_writable
from service.settings import Settings, to_environment

START_S = 60.0  # importing everything on a loaded machine takes ten
LOOK_S = 0.5


def serve(settings: Settings, settings_file: Path | None, database: str, instance: str, report: Report) -> None:
    """Run the devices until SIGTERM or Ctrl-C; tell their addresses when they answer.

    `database` is host:port of a Tango database, where the devices are registered for `instance`; empty: without one.
    Raises DeviceError where they do not come up, or end.
    """
    require_writable(settings.out, "out")
    with ending() as ended, Children(settings.out / "logs") as children:
        if database:
            os.environ["TANGO_HOST"] = database  # for the client library, here and in the child
            devices = register_devices(settings, instance)
            given = ["--settings", str(settings_file)] if settings_file else []
            arguments = [SERVER, instance, *given]
        else:
            port = settings.tango.port or free_ports(1)[0]
            _require_free(settings.tango.host, port)
            devices = device_urls(settings, port)
            arguments = device_server_arguments(settings, port, settings_file)
        out = to_environment({"out": settings.out})
        children.start("tango_devices", "tango_devices", *arguments, environment=out)
        children.wait_until(
            lambda: ended.is_set() or all(alive(device) for device in devices), "Tango devices", START_S
        )
        if ended.is_set():
            raise KeyboardInterrupt
        report.table("devices", [(_name(device), device) for device in devices])
        report.finish({"devices": list(devices), "log": str(children.log_of("tango_devices"))})
        report.note("running; Ctrl-C ends")
        while not ended.wait(LOOK_S):
            children.check()


def _require_free(host: str, port: int) -> None:
    """Raise SettingsError where somebody listens already, whose devices would be taken for ours."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what a server before left behind does not count
        try:
            one.bind((host, port))
        except OSError as error:
            raise SettingsError(
                f"tango.port {host}:{port}: {error.strerror}; end who has it, or choose another"
            ) from error


def _name(device: str) -> str:
    """Family and member, such as streamer/1, of a device's name or address."""
    return "/".join(device.partition("#")[0].split("/")[-2:])
