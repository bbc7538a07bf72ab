"""Register Braggloop's devices in the Tango database that TANGO_HOST names.

    python register.py --settings /etc/braggloop/settings.toml
    python register.py --server Braggloop/id01 VirtualGoniometer::id01/goniometer/theta --settings settings.toml

Without CLASS::DEVICE, every device of the settings is registered. Afterwards start the server with the same name:
`python -m tango_devices Braggloop id01`. Registering again changes nothing but the settings file's name.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from service.adapters.tango import SERVER, device_names, register_device
from service.settings import load_settings


def main() -> None:
    options = _options()
    known = device_names(load_settings(options.settings))
    names = options.devices or [f"{kind}::{name}" for kind, listed in known.items() for name in listed]
    for kind, name in (device.split("::") for device in names):
        register_device(options.server, kind, name, options.settings)
        print(f"{options.server}: {kind} {name}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("devices", nargs="*", metavar="CLASS::DEVICE", help="default: every device of the settings")
    parser.add_argument("--server", default=f"{SERVER}/1", help="server and instance (default: %(default)s)")
    parser.add_argument("--settings", type=Path, help="TOML file that the devices read when they start")
    return parser.parse_args()


if __name__ == "__main__":
    main()
