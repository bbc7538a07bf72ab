"""Runs our devices: `python -m tango_devices SERVER INSTANCE [--settings FILE] [Tango's own arguments]`.

With a Tango database the devices are those registered for SERVER/INSTANCE. Without one (-nodb) they are those of
-dlist, or every device of the settings; -ORBendPoint says where, or the settings do.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import tango
from tango.server import run

from service.adapters.tango import device_names, device_url, virtual_axes
from service.commands.children import free_ports
from service.compose import controllers_of_devices
from service.errors import BraggloopError
from service.settings import Settings, load_settings
from service.signals import follow_parent
from tango_devices.attributes import default_alarms, require_numbers
from tango_devices.controlled import ControlledDevice
from tango_devices.controllers import Controllers
from tango_devices.crystal_alignment import CrystalAlignment
from tango_devices.frame_streamer import FrameStreamer
from tango_devices.reconstruction import Reconstruction
from tango_devices.virtual_counter import VirtualCounter
from tango_devices.virtual_goniometer import VirtualGoniometer

DEVICES = (FrameStreamer, Reconstruction, CrystalAlignment, VirtualGoniometer, VirtualCounter)


def main(argv: Sequence[str]) -> int:
    """Run until told to end; 0 done, 1 failed, 2 wrong use."""
    own, tango_arguments = _parser().parse_known_args(argv)
    try:
        settings = load_settings(own.settings)
        arguments = [own.server, own.instance, *_placed(tango_arguments, settings)]
        axes = virtual_axes(_virtual_goniometers(arguments))
        require_numbers(DEVICES, settings.tango.alarms)
        for device in DEVICES:
            default_alarms(device, settings.tango.alarms)
        with Controllers(controllers_of_devices(), settings, axes) as controllers:
            ControlledDevice.controllers = controllers
            run(_listed(arguments), args=arguments, msg_stream=None, raises=True, post_init_callback=_announce)
    except BraggloopError as error:
        return _failed(str(error))
    except tango.DevFailed as error:
        return _failed(error.args[0].desc)
    except RuntimeError as error:  # all that PyTango says of an address that it cannot have
        return _failed(f"cannot listen at {_value(arguments, '-ORBendPoint')}; is the port taken? ({error})")
    return 0


def _failed(why: str) -> int:
    print(f"tango_devices: {' '.join(why.split())}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tango_devices",
        description="Run Braggloop's Tango devices.",
        epilog="example: python -m tango_devices Braggloop demo --settings settings.toml -nodb",
        allow_abbrev=False,
    )
    parser.add_argument("server", help="name of the server, as registered in the Tango database")
    parser.add_argument("instance", help="name of the instance")
    parser.add_argument("--settings", type=Path, help="TOML file; every device reads its part")
    return parser


def _placed(arguments: Sequence[str], settings: Settings) -> list[str]:
    """Without a database, say which devices there are and where, unless the caller did."""
    placed = list(arguments)
    if "-nodb" not in placed:
        return placed
    if "-dlist" not in placed:
        names = device_names(settings)
        placed += ["-dlist", ",".join(f"{kind}::{name}" for kind, listed in names.items() for name in listed)]
    if "-ORBendPoint" not in placed:
        host, port = settings.tango.host, settings.tango.port or free_ports(1)[0]
        placed += ["-ORBendPoint", f"giop:tcp:{host}:{port}"]
    return placed


def _listed(arguments: Sequence[str]) -> list[type[ControlledDevice]]:
    """The classes to run. Without a database Tango makes a device without a name of each that has none in the list."""
    if "-nodb" not in arguments:
        return list(DEVICES)
    kinds = {device.split("::")[0] for device in _value(arguments, "-dlist").split(",")}
    return [device for device in DEVICES if device.__name__ in kinds]


def _virtual_goniometers(arguments: Sequence[str]) -> list[str]:
    """The virtual axes of this server: names where a database knows them, addresses where there is none."""
    if "-nodb" not in arguments:
        return list(tango.Database().get_device_name("/".join(arguments[:2]), "VirtualGoniometer"))
    host, _, port = _value(arguments, "-ORBendPoint").removeprefix("giop:tcp:").rpartition(":")
    listed = [device.split("::") for device in _value(arguments, "-dlist").split(",")]
    return [device_url(host, int(port), name) for kind, name in listed if kind == "VirtualGoniometer"]


def _value(arguments: Sequence[str], option: str) -> str:
    return arguments[arguments.index(option) + 1] if option in arguments else "its port"


def _announce() -> None:
    """Tell where the devices are, one a line, when they can be called."""
    util = tango.Util.instance()
    for device in util.get_device_list("*"):
        if isinstance(device, ControlledDevice):
            print(f"ready: {device.get_name()}", flush=True)


if __name__ == "__main__":
    follow_parent()
    sys.exit(main(sys.argv[1:]))
