"""Renders a status dataclass as Tango attributes: every field that has a Reading becomes one, in its order."""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tango import AttrWriteType, CmdArgType
from tango.server import Device, attribute

from service.devices.status import Reading, readings
from service.errors import SettingsError

REFERENCE = "docs/reference/tango.md"
NUMBERS = (CmdArgType.DevDouble, CmdArgType.DevLong64)
DISPLAY_UNIT = "1"  # a factor for Bliss, which multiplies by it: our unit is the one to show
LONGEST_SPECTRUM = 256
LARGEST_IMAGE = 4096
IMAGE = ((np.float32,),)
UNIT_SUFFIXES = ("_s", "_hz", "_nm", "_nm3", "_deg", "_percent")  # the unit is the attribute's own property
TANGO_TYPES: Mapping[Any, Any] = {
    bool: bool,
    int: int,
    float: float,
    str: str,
    tuple[str, ...]: (str,),
    tuple[float, ...]: (float,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One field as an attribute: `name` in Tango, `field` in the status, `dtype` as PyTango writes it."""

    name: str
    field: str
    dtype: Any
    reading: Reading


def shown(status: type[Any]) -> tuple[Shown, ...]:
    """Attributes of a status dataclass, in the order of its fields."""
    types = typing.get_type_hints(status)
    return tuple(
        Shown(name=attribute_name(field), field=field, dtype=_dtype(types[field]), reading=how)
        for field, how in readings(status).items()
    )


def attribute_name(field: str) -> str:
    """`rate_hz` -> `rate`, `series_id` -> `seriesId`."""
    for suffix in UNIT_SUFFIXES:
        field = field.removesuffix(suffix)
    first, *rest = field.split("_")
    return first + "".join(word.capitalize() for word in rest)


def rendered(status: type[Any], base: type[Device]) -> type[Device]:
    """Subclass of `base` with one attribute for each reading of `status`; a device class inherits from it."""
    attributes = {item.name: _attribute(item) for item in shown(status)}
    return type(base)(f"{status.__name__}Device", (base,), attributes)


def require_numbers(devices: Sequence[type[Device]], alarms: Mapping[str, tuple[float | None, float | None]]) -> None:
    """Raise SettingsError where alarm limits are set for what is no number of any of the devices, or leave no room."""
    numbers = {
        name
        for device in devices
        for name, described in device.TangoClassClass.attr_list.items()
        if described.attr_type in NUMBERS
    }
    if strange := sorted(set(alarms) - numbers):
        raise SettingsError(f"tango.alarms: {', '.join(strange)}: none of the devices' numbers ({REFERENCE})")
    for name, (low, high) in alarms.items():
        if low is not None and high is not None and not low < high:
            raise SettingsError(
                f"tango.alarms: {name} = [{low:g}, {high:g}]: what is no alarm lies between them; -inf, inf: open"
            )


def default_alarms(device: type[Device], alarms: Mapping[str, tuple[float | None, float | None]]) -> None:
    """Make alarm limits the defaults of a device class, before a server starts; the Tango database overrules them.

    None and infinite limits are open. Limits of a count are rounded outwards to whole numbers.
    """
    for name, (low, high) in alarms.items():
        described = device.TangoClassClass.attr_list.get(name)
        if described is None:
            continue
        whole = described.attr_type is CmdArgType.DevLong64
        if low is not None and math.isfinite(low):
            described.att_prop.set_min_alarm(str(math.floor(low) if whole else low))
        if high is not None and math.isfinite(high):
            described.att_prop.set_max_alarm(str(math.ceil(high) if whole else high))


def _dtype(hint: Any) -> Any:
    return TANGO_TYPES.get(hint, IMAGE)


def _attribute(item: Shown) -> attribute:
    how = item.reading
    access: dict[str, Any] = {"access": AttrWriteType.READ}
    if how.writable:
        access = {"access": AttrWriteType.READ_WRITE, "fset": _writer(item.field)}
    low, high = how.limits
    bounds = {"min_value": low, "max_value": high, "min_alarm": how.alarm[0], "max_alarm": how.alarm[1]}
    return attribute(
        fget=_reader(item.field),
        name=item.name,
        dtype=item.dtype,
        label=how.label,
        doc=how.description,
        unit=how.unit,
        standard_unit=DISPLAY_UNIT,
        display_unit=DISPLAY_UNIT,
        format=how.format,
        **_sizes(item.dtype),
        **access,
        **{key: value for key, value in bounds.items() if value is not None},
    )


def _sizes(dtype: Any) -> dict[str, int]:
    if not isinstance(dtype, tuple):
        return {}
    if isinstance(dtype[0], tuple):
        return {"max_dim_x": LARGEST_IMAGE, "max_dim_y": LARGEST_IMAGE}
    return {"max_dim_x": LONGEST_SPECTRUM}


def _reader(field: str) -> Callable[[Any], Any]:
    def read(device: Any) -> Any:
        return getattr(device.controller.status, field)

    return read


def _writer(field: str) -> Callable[[Any, Any], None]:
    def write(device: Any, value: Any) -> None:
        device.write_field(field, value)

    return write
