"""Settings: layers, refusals in one line, and what children are told."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bcdi.phasing import PhasingConfig
from service.errors import SettingsError
from service.settings import (
    PhasingSettings,
    Section,
    Settings,
    load_settings,
    merge,
    parse_section,
    parse_settings,
    to_environment,
)


def write(folder: Path, text: str) -> Path:
    (folder / "settings.toml").write_text(text)
    return folder / "settings.toml"


def test_defaults_need_nothing() -> None:
    assert load_settings(environment={}) == Settings()


def test_later_layers_win(tmp_path: Path) -> None:
    file = write(tmp_path, "[phasing]\nstarts = 2\nseed = 3\nsize = 32\n[worker]\nhttp_port = 1\n")
    environment = {"BRAGGLOOP__PHASING__SEED": "4", "BRAGGLOOP__PHASING__SIZE": "48", "PATH": "/bin"}
    settings = load_settings(file, {"phasing": {"size": 64}}, environment)
    assert (settings.phasing.starts, settings.phasing.seed, settings.phasing.size) == (2, 4, 64)
    assert settings.worker.http_port == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[phasing]\nstart = 3\n", "phasing.start: no such setting, did you mean starts?"),
        ("[nonsense]\n", "nonsense: no such setting"),
        ("[phasing]\nsize = 3\n", "phasing.size: expected 0 or 16 to 1024 voxels (got 3)"),
        ("[phasing]\nsize = 1000000\n", "phasing.size: Input should be less than or equal to 1024 (got 1000000)"),
        ("[spool]\nmax_bytes = 5000\n", "settings: spool: max_bytes 5000 is below two segments"),
        ("[goniometer.axes.theta]\nspeed = 2\n", "goniometer.axes.theta.speed: no such setting"),
        ("[phasing]\nstarts = 0\n", "phasing.starts"),
        ("[phasing]\nrecipe = '20*XX'\n", "phasing.recipe"),
        ("[phasing]\nbinning = [1, 0, 1]\n", "phasing.binning"),
        ("[phasing]\ndevice = 'tpu'\n", "phasing.device"),
        ("[worker]\nhttp_port = 70000\n", "worker.http_port"),
        ("not toml at all", "settings.toml"),
    ],
)
def test_wrong_settings_are_one_line(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(write(tmp_path, text), environment={})
    assert said in str(caught.value)


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "absent.toml", tmp_path / "binary.toml"):
        with pytest.raises(SettingsError, match=path.name):
            load_settings(path, environment={})


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().phasing.seed = 3  # type: ignore[misc]


def test_every_field_says_what_it_is() -> None:
    def undescribed(section: type[Section], path: str = "") -> list[str]:
        found = []
        for name, field in section.model_fields.items():
            inner = field.annotation
            if isinstance(inner, type) and issubclass(inner, Section):
                found += undescribed(inner, f"{path}{name}.")
            elif not field.description:
                found.append(path + name)
        return found

    assert undescribed(Settings) == []


def test_phasing_settings_agree_with_the_model() -> None:
    """The same names and the same defaults, so that the worker and a script invert alike."""
    settings = PhasingSettings()
    for known in dataclasses.fields(PhasingConfig):
        if known.name in PhasingSettings.model_fields:
            assert getattr(settings, known.name) == known.default, known.name


def test_a_section_alone() -> None:
    assert parse_section(PhasingSettings, {"starts": 3}).starts == 3
    with pytest.raises(SettingsError, match="starts"):
        parse_section(PhasingSettings, {"starts": "three"})


leaves = st.integers(0, 9) | st.text("abc", max_size=3)
trees = st.recursive(leaves, lambda inner: st.dictionaries(st.sampled_from("pqrs"), inner, max_size=3), max_leaves=8)


@given(st.dictionaries(st.sampled_from("pqrs"), trees), st.dictionaries(st.sampled_from("pqrs"), trees))
def test_merging_keeps_every_leaf_of_the_upper(base: dict[str, Any], over: dict[str, Any]) -> None:
    merged = merge(base, over)
    assert merge(merged, over) == merged
    assert set(merged) == set(base) | set(over)


def test_children_read_what_the_parent_said() -> None:
    tree = {"out": Path("here"), "phasing": {"starts": 3, "recipe": "5*ER"}, "worker": {"bind": True}}
    settings = load_settings(environment=to_environment(tree))
    assert settings == parse_settings(tree)


def test_open_limits_of_an_alarm_survive_the_file_of_the_stages() -> None:
    settings = parse_settings({"tango": {"alarms": {"rFactor": [-math.inf, 0.3]}}})
    assert parse_settings(json.loads(settings.model_dump_json())) == settings
