"""What is wrong with a configuration: classes that do not exist, `$names` that nobody has. Nothing is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bliss.config.plugins.utils import find_top_class_and_node
from bliss.config.static import ConfigReference, get_config
from braggloop_bliss.plan import axis_settings, section
from lab_session import tell

config = get_config()
known = set(config.names_list)


def referred(value: Any) -> Iterator[str]:
    """Names of other objects in a tree of YAML."""
    if isinstance(value, ConfigReference):
        yield value.object_name
    elif hasattr(value, "raw_items"):
        for _, item in value.raw_items():
            yield from referred(item)
    elif hasattr(value, "raw_list"):
        for item in value.raw_list:
            yield from referred(item)


classes = {}
for name in sorted(known):
    node = config.get_config(name)
    if node.plugin != "session":
        classes[name] = find_top_class_and_node(node)[0].__name__
braggloop = config.get_config("braggloop")
aligned = {
    item.raw_get("axis").object_name: {key: value for key, value in item.raw_items() if key != "axis"}
    for item in braggloop["axes"]
}


def limits(name: str) -> tuple[float, float]:
    axis = config.get_config(name)
    return axis["low_limit"], axis["high_limit"]


session = config.get_config("bcdi")
tell(
    classes=classes,
    referred=sorted({other for name in known for other in referred(config.get_config(name))}),
    asked=list(session["config-objects"]),
    outside=[name for name in sorted(known) if "tango_server" in config.get_config(name)],
    plan=section(
        {name: axis_settings(name, limits(name), settings, {}) for name, settings in aligned.items()},
        braggloop["plan"].to_dict(),
    ),
)
