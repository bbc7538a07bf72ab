"""What Tango devices show, read many attributes at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tango import AttrDataFormat, CmdArgType

from braggloop_bliss.bliss_api import DevFailed

NUMBERS = frozenset(
    {
        CmdArgType.DevBoolean,  # a flag, 0 or 1
        CmdArgType.DevDouble,
        CmdArgType.DevFloat,
        CmdArgType.DevLong,
        CmdArgType.DevLong64,
        CmdArgType.DevShort,
        CmdArgType.DevUChar,
        CmdArgType.DevULong,
        CmdArgType.DevULong64,
        CmdArgType.DevUShort,
    }
)


def numbers(device: Any) -> list[Any]:
    """Return the configuration of every attribute that is one number, or a flag. Raises DevFailed."""
    return [
        attribute
        for attribute in device.attribute_list_query()
        if attribute.data_format == AttrDataFormat.SCALAR and CmdArgType.values[attribute.data_type] in NUMBERS
    ]


def values(device: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return what attributes are now, by name; None where one has no value yet. Raises DevFailed."""
    readings = device.read_attributes(list(names))
    for reading in readings:
        if reading.has_failed:
            raise DevFailed(*reading.get_err_stack())
    return {name: reading.value for name, reading in zip(names, readings, strict=True)}
