"""What a Bliss session configures CrystalAlignment with is a plan that CrystalAlignment takes."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.bliss.braggloop_bliss.lines import Told, one_line, places
from deploy.bliss.braggloop_bliss.plan import axis_settings, section
from service.alignment.plan import AlignmentSettings
from service.settings import parse_section

LIMITS = (-5.0, 5.0)
KNOWN = {"width": 0.2, "tolerance": 0.01, "largest_step": 0.5}
positive = st.floats(1e-9, 1e9)
names = st.text(st.characters(max_codepoint=0x24F, categories=("L", "N")), min_size=1)


def taken(axes: Mapping[str, Mapping[str, Any]], **plan: Any) -> AlignmentSettings:
    """What `Configure` of the device makes of it."""
    return parse_section(AlignmentSettings, tomllib.loads(section(axes, plan))["alignment"])


@given(name=names, width=positive, tolerance=positive, step=positive, low=st.floats(-1e9, -1e-9))
def test_every_axis_arrives_as_it_was_told(name: str, width: float, tolerance: float, step: float, low: float) -> None:
    settings = axis_settings(name, (low, math.pi), {"width": width, "tolerance": tolerance, "largest_step": step}, {})
    axis = taken({name: settings}).axes[name]
    assert (axis.low, axis.high, axis.width, axis.tolerance) == (low, math.pi, width, tolerance)
    assert axis.largest_step == step


def test_the_plan_is_of_a_client_and_takes_everything_else() -> None:
    plan = taken(
        {"eta": axis_settings("eta", LIMITS, KNOWN, {"fringed": True})},
        method="parabola", counts=False, zones=("eta > 3",), stale_s=math.inf, most_exposures=np.int64(7),
    )  # fmt: skip
    assert plan.client
    assert math.isfinite(plan.heartbeat_s), "a session that dies would leave its loop behind"
    assert plan.axes["eta"].fringed
    assert (plan.method, plan.counts, plan.zones) == ("parabola", False, ("eta > 3",))
    assert (plan.stale_s, plan.most_exposures) == (math.inf, 7)


def test_what_is_said_now_stands_above_the_yaml_and_that_above_bliss() -> None:
    settings = axis_settings("eta", LIMITS, {**KNOWN, "low": -2.0}, {"width": 0.3, "high": 1.0})
    assert (settings["low"], settings["high"], settings["width"]) == (-2.0, 1.0, 0.3)


@pytest.mark.parametrize(
    ("limits", "known", "said", "words"),
    [
        (LIMITS, {"width": 0.2}, {}, "eta has no tolerance, largest_step"),
        ((-math.inf, math.inf), KNOWN, {}, "eta has no limits"),
        (LIMITS, KNOWN, {"high": 6.0}, "eta: limits -5 to 6, but Bliss allows -5 to 5"),
    ],
)
def test_what_is_missing_or_beyond_is_one_line(
    limits: tuple[float, float], known: dict[str, float], said: dict[str, float], words: str
) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        axis_settings("eta", limits, known, said)
    assert "\n" not in str(refused.value)


def test_lines_for_people() -> None:
    assert one_line(ValueError("first\n  second")) == "first second"
    assert one_line(KeyError()) == "KeyError"
    assert places({"eta": 25.01, "phi": -3.0}) == "eta 25.01, phi -3"
    assert str(Told("title:", {"a": 1, "long": "x"})) == "title:\n  a     1\n  long  x"
