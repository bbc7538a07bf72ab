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

from service.adapters.tango import device_names, obeying_virtual_axes
from service.children import free_ports
from service.compose import controllers_of_devices
from service.errors import BraggloopError
from service.settings import Settings, load_settings
from tango_devices.attributes import default_alarms
from tango_devices.controlled import ControlledDevice
from tango_devices.controllers import Controllers
from tango_devices.frame_streamer import FrameStreamer
from tango_devices.reconstruction import Reconstruction
from tango_devices.virtual_goniometer import VirtualGoniometer

DEVICES = (FrameStreamer, Reconstruction, VirtualGoniometer)


def main(argv: Sequence[str]) -> int:
    """Run until told to end; 0 done, 1 failed, 2 wrong use."""
    own, tango_arguments = _parser().parse_known_args(argv)
    try:
        settings = load_settings(own.settings)
        arguments = _placed(tango_arguments, settings)
        if "VirtualGoniometer" in "".join(arguments):
            address = arguments[arguments.index("-ORBendPoint") + 1].removeprefix("giop:tcp:")
            settings = obeying_virtual_axes(settings, address)
        for device in DEVICES:
            default_alarms(device, settings.tango.alarms)
        with Controllers(controllers_of_devices(), settings) as controllers:
            ControlledDevice.controllers = controllers
            run(DEVICES, args=[own.server, own.instance, *arguments], msg_stream=None, raises=True, post_init_callback=_announce)
    except BraggloopError as error:
        return _failed(str(error))
    except tango.DevFailed as error:
        return _failed(error.args[0].desc)
    except RuntimeError as error:  # all that PyTango says of an address that it cannot have
        return _failed(f"cannot listen at {arguments[-1]}; is the port taken? ({error})")
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


def _announce() -> None:
    """Tell where the devices are, one a line, when they can be called."""
    util = tango.Util.instance()
    for device in util.get_device_list("*"):
        if isinstance(device, ControlledDevice):
            print(f"ready: {device.get_name()}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
