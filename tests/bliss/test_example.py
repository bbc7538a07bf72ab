"""The example of a beamline's configuration is one that Beacon and Bliss take."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from deploy.bliss import lab as bliss_lab
from service.alignment.plan import AlignmentSettings
from service.settings import parse_section
from tests.bliss.conftest import DISTRIBUTION, LAB, SESSIONS

pytestmark = pytest.mark.bliss

AXES = {"eta", "phi", "nu", "delta", "pix", "piy", "piz"}


def test_every_class_and_name_of_it_exists(tmp_path: Path) -> None:
    prefix = os.environ.get(LAB, "")
    if not prefix:
        pytest.skip(f"{LAB} names no lab")
    with bliss_lab.running(Path(prefix).absolute(), DISTRIBUTION / "beacon-id01", tmp_path) as lab:
        done = subprocess.run(
            [str(lab.python), "-W", "ignore", str(SESSIONS / "example.py")], capture_output=True, text=True, check=True,
            env={**bliss_lab.environment_of(lab.prefix), **lab.environment, "PYTHONPATH": str(DISTRIBUTION)},
        )  # fmt: skip
    told = json.loads(done.stdout.splitlines()[-1])
    others = {"mpx": "Lima", "reconstruction": "TangoCounters", "alignment": "TangoCounters", "braggloop": "Braggloop"}
    assert set(told["classes"]) == AXES | set(others)
    assert {name: told["classes"][name] for name in others} == others
    assert set(told["referred"]) == {"mpx", "eta", "phi", "pix", "piy", "piz"}
    assert set(told["asked"]) == set(told["classes"])
    assert told["outside"] == ["pix", "piy", "piz"]
    plan = parse_section(AlignmentSettings, tomllib.loads(told["plan"])["alignment"])
    assert plan.axes["eta"].fringed
    assert (plan.axes["pix"].low, plan.axes["pix"].high) == (0.0, 200.0)
