"""The Tango devices as a child process, with a Tango database or without."""

from __future__ import annotations

import os
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


def _name(device: str) -> str:
    """Family and member, such as streamer/1, of a device's name or address."""
    return "/".join(device.partition("#")[0].split("/")[-2:])
