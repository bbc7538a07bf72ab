"""What CrystalAlignment is configured with: its [alignment] section, from the session's axes and its YAML."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

NEEDED = ("width", "tolerance", "largest_step")  # what no limit of Bliss tells
HEARTBEAT_S = 15.0  # a session that hangs or ends must not leave a loop behind


def section(axes: Mapping[str, Mapping[str, Any]], plan: Mapping[str, Any]) -> str:
    """Return the TOML of a plan whose moves and measurements are this session's; `axes`: name -> its settings."""
    head = {"client": True, "heartbeat_s": HEARTBEAT_S, **plan}
    lines = ["[alignment]", *_pairs(head)]
    for name, settings in axes.items():
        lines += [f"[alignment.axes.{json.dumps(name)}]", *_pairs(settings)]
    return "\n".join(lines) + "\n"


def axis_settings(
    name: str, bliss_limits: tuple[float, float], known: Mapping[str, Any], said: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the settings of one axis: `said` now, else `known` from YAML; limits those of Bliss unless told otherwise.

    Raises ValueError where something is missing, or beyond Bliss's limits.
    """
    low, high = bliss_limits
    settings = {"low": low, "high": high, **known, **said}
    missing = [key for key in NEEDED if key not in settings]
    if missing:
        raise ValueError(
            f"{name} has no {', '.join(missing)}: say so in the YAML, or align(..., settings={{'{name}': {{...}}}})"
        )
    if not (math.isfinite(settings["low"]) and math.isfinite(settings["high"])):
        raise ValueError(f"{name} has no limits: set {name}.limits, or low and high in the YAML")
    if settings["low"] < low or settings["high"] > high:
        raise ValueError(
            f"{name}: limits {settings['low']:g} to {settings['high']:g}, but Bliss allows {low:g} to {high:g}"
        )
    return settings


def _pairs(values: Mapping[str, Any]) -> list[str]:
    return [f"{name} = {_toml(value)}" for name, value in values.items()]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, float) or hasattr(value, "dtype"):
        return repr(float(value))  # inf and nan as TOML writes them
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(name)} = {_toml(item)}" for name, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)
