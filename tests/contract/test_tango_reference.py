"""What is written about the devices is what the devices have."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from service.adapters.tango import device_names
from service.devices.status import readings
from service.settings import Settings, load_settings
from tango_devices.__main__ import DEVICES
from tango_devices.attributes import shown
from tango_devices.reference import page

ROOT = Path(__file__).resolve().parents[2]
BEACON = yaml.safe_load((ROOT / "deploy/bliss/beacon/braggloop.yml").read_text())
ATTRIBUTES = {device.__name__: {item.name: item for item in shown(device.status_class)} for device in DEVICES}


def test_the_reference_page_is_true() -> None:
    written = (ROOT / "docs/reference/tango.md").read_text()
    assert written == page(), "run: python -m tango_devices.reference > docs/reference/tango.md"


@pytest.mark.parametrize("device", DEVICES)
def test_every_reading_is_described(device: type) -> None:
    for field, how in readings(device.status_class).items():
        assert how.label, field
        assert how.description.endswith("."), field


def test_the_example_settings_are_settings() -> None:
    settings = load_settings(ROOT / "deploy/tango/settings.toml", environment={})
    assert set(settings.goniometer.axes) == {"theta", "chi"}
    known = {name for attributes in ATTRIBUTES.values() for name in attributes}
    assert set(settings.tango.alarms) <= known


def test_the_devices_of_the_beacon_example_exist() -> None:
    names = device_names(Settings())
    counters = {entry["device"] for entry in BEACON if entry["class"] == "TangoCounters"}
    assert counters == {*names["Reconstruction"], *names["CrystalAlignment"]}
    (braggloop,) = (entry for entry in BEACON if entry["class"] == "Braggloop")
    assert braggloop["alignment"] in names["CrystalAlignment"]
    assert braggloop["reconstruction"] in names["Reconstruction"]


def test_no_name_of_the_beacon_example_is_used_twice() -> None:
    items = [item for entry in BEACON for item in (entry, *entry.get("axes", ())) if "name" in item]
    names = [item["name"] for item in items]
    assert len(set(names)) == len(names), "Beacon would leave out the later entry without a word"


def test_the_motors_of_the_beacon_example_exist() -> None:
    (motors,) = (entry for entry in BEACON if entry["class"] == "tango_attr_as_motor")
    for axis in motors["axes"]:
        assert axis["uri"] in device_names(Settings())["VirtualGoniometer"]
        assert axis["uri"].endswith(f"/{axis['name']}")
        assert {"position", axis["velocity_attr"]} <= set(ATTRIBUTES["VirtualGoniometer"])
