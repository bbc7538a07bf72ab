"""The reference page of the devices: `python -m tango_devices.reference > docs/reference/tango.md`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from tango import CmdArgType
from tango.server import Device, device_property

from tango_devices.__main__ import DEVICES
from tango_devices.attributes import Shown, shown

HEAD = """# Tango devices

Every attribute and command, written by `python -m tango_devices.reference`; a test keeps this page true.

- Attributes push change events from one thread; none needs polling. Images are float32 image attributes [row, column].
- `display_unit` is 1 everywhere, because Bliss multiplies by it; `format` is what Bliss rounds through.
- Commands return within 3 s: long work is begun, and State and Status tell how it goes.
- `Reset` acknowledges a fault or an alarm; `Init` reads the properties again and acknowledges nothing.
- Alarm limits come from `tango.alarms` of the settings; in a Tango database they are attribute properties and win.
- A device whose settings are wrong comes up in FAULT, says why in Status, and tries again at `Init`.
"""

STATES = {
    "FrameStreamer": (
        "STANDBY not prepared; INIT preparing; ON prepared; RUNNING a series is sent or waits for its receiver; "
        "ALARM frames were dropped in the last series; FAULT the source or the endpoint failed, `Reset` is the way out."
    ),
    "Reconstruction": (
        "UNKNOWN the worker was never heard; INIT it starts; ON it waits; RUNNING it works on a series; ALARM it is "
        "silent or not well, the last series failed or its result is doubtful (until `Reset` or the next good one), or "
        "a figure is beyond its alarm limits."
    ),
    "CrystalAlignment": (
        "STANDBY not armed, or ended; ON armed, or a move waits for a person; MOVING axes move; RUNNING it measures, "
        "waits or is paused; ALARM beam, shutter or results were lost; FAULT an axis or the method failed, the arming "
        "ended or a sign of life did not come, `Reset` is the way out. Axes, limits and value are those of `alignment` "
        "in the settings."
    ),
    "VirtualGoniometer": (
        "ON standing; MOVING, which is set before the write of `position` returns; ALARM the position is beyond its "
        "alarm limits. Unit and limits are those of the axis in the settings (`goniometer.axes`); velocity is in that "
        "unit a second."
    ),
    "VirtualCounter": (
        "ON; ALARM an axis did not answer, until the next count or `Reset`. It is there where the settings have axes "
        "x, y and eta (`counter.axes`, or else `goniometer.axes`)."
    ),
}


def page() -> str:
    """The whole page, Markdown."""
    return "\n".join([HEAD, *(line for device in DEVICES for line in _chapter(device))])


def _chapter(device: type[Device]) -> Iterator[str]:
    yield from (f"## {device.__name__}", "", inspect.getdoc(device) or "", "", f"State: {STATES[device.__name__]}", "")
    yield from ("| attribute | type | unit | format | access | range | meaning |", "|---|---|---|---|---|---|---|")
    yield from (_row(item) for item in shown(device.status_class))
    yield from ("", "| command | meaning |", "|---|---|")
    yield from (f"| `{name}` | {_meaning(device, name)} |" for name in device.TangoClassClass.cmd_list)
    yield from ("", "| property | meaning |", "|---|---|")
    yield from (f"| `{name}` | {found.doc} |" for name, found in _properties(device))
    yield ""


def _row(item: Shown) -> str:
    how = item.reading
    access = "read, write" if how.writable else "read"
    cells = (f"`{item.name}`", _type(item), how.unit, f"`{how.format}`", access, _range(item), how.description)
    return f"| {' | '.join(cells)} |".replace("  ", " ")


def _type(item: Shown) -> str:
    if not isinstance(item.dtype, tuple):
        return str(item.dtype.__name__)
    return "image of float32" if isinstance(item.dtype[0], tuple) else f"spectrum of {item.dtype[0].__name__}"


def _range(item: Shown) -> str:
    (low, high), (_, alarm) = item.reading.limits, item.reading.alarm
    words = [f"from {low:g}" if low is not None else "", f"to {high:g}" if high is not None else ""]
    words += [f"(alarm from {alarm:g})" if alarm is not None else ""]
    return " ".join(word for word in words if word)


def _meaning(device: type[Device], command: str) -> str:
    (kind, argument), _, _ = device.TangoClassClass.cmd_list[command]
    said = inspect.getdoc(getattr(device, command)) or ""
    return said if kind is CmdArgType.DevVoid else f"{said} Argument: {argument}."


def _properties(device: type[Device]) -> list[tuple[str, device_property]]:
    names = device.TangoClassClass.device_property_list
    return [(name, inspect.getattr_static(device, name)) for name in names]


if __name__ == "__main__":
    print(page(), end="")
