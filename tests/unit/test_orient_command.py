"""`braggloop orient` without motors: a crystal of gold whose reflections our own geometry puts somewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from service.alignment.goto_plan import goto_plan, refusal_on_the_way
from service.alignment.plan import AlignmentSettings
from service.cli import app
from service.commands.report import DONE, FAILED, WRONG_USE
from service.errors import SettingsError
from service.settings import parse_section
from tests.helpers.orienting import GOLD, found_axes

FOUND = ((1, 1, -1), (0, 0, -2), (1, 1, 1))
LIMITS = """
[alignment]
value = "a/b/c/d"
[alignment.devices]
theta = "a/b/theta"
delta = "a/b/delta"
gamma = "a/b/gamma"
"""
AXIS = "[alignment.axes.{0}]\nlow = {1}\nhigh = {2}\nwidth = 0.1\ntolerance = 0.01\nlargest_step = 10.0\n"


class Crystal:
    """A folder with settings, and the command in it."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.folder, self.settings = folder, folder / "settings.toml"
        self.settings.write_text('[geometry]\nenergy_kev = 9.0\n[orientation]\nelement = "Au"\n' + more)

    def orient(self, *line: str) -> tuple[int, dict[str, Any]]:
        shared = ["--settings", str(self.settings), "--out", str(self.folder), "--json"]
        result = CliRunner().invoke(app, ["orient", *line, *shared])
        return result.exit_code, json.loads(result.stdout.splitlines()[-1])

    def add(self, hkl: tuple[int, int, int], *more: str) -> tuple[int, dict[str, Any]]:
        return self.orient("add", *map(str, hkl), *at(found_axes(GOLD, hkl)), *more)


def at(axes_deg: dict[str, float]) -> list[str]:
    return [part for axis, angle in axes_deg.items() for part in ("--angle", f"{axis}={angle}")]


@pytest.fixture
def gold(tmp_path: Path) -> Crystal:
    crystal = Crystal(tmp_path)
    for hkl in FOUND:
        crystal.add(hkl)
    return crystal


def test_reflections_are_kept_before_there_is_ub(tmp_path: Path) -> None:
    crystal = Crystal(tmp_path)
    code, told = crystal.add((1, 1, -1), "--tag", "bright")
    assert (code, told["number"], told["tag"]) == (DONE, 1, "bright")
    assert told["two_theta_deg"] == pytest.approx(told["lattice_two_theta_deg"], abs=1e-4)
    code, told = crystal.orient("fit")
    assert (code, told["error"]) == (FAILED, "an orientation needs two reflections or more, got 1")
    code, told = crystal.orient("show")
    assert code == FAILED
    assert "add two reflections or more, then fit them" in told["error"]
    crystal.add((0, 0, -2))
    assert [each["hkl"] for each in crystal.orient("list")[1]["reflections"]] == [[1, 1, -1], [0, 0, -2]]
    assert crystal.orient("fit")[0] == DONE


def test_what_is_removed_stays_in_the_file_and_numbers_stay(gold: Crystal) -> None:
    assert gold.orient("fit")[1]["of_all_reflections"]
    assert gold.orient("remove", "2")[1]["left"] == [1, 3]
    assert not gold.orient("show")[1]["of_all_reflections"]
    code, told = gold.orient("remove", "2")
    assert (code, told["error"]) == (WRONG_USE, "there is no reflection 2: there are 1, 3")
    kept = json.loads(Path(gold.orient("list")[1]["file"]).read_text())["reflections"]
    assert [each["removed"] is None for each in kept] == [True, False, True]
    assert gold.add((2, 0, 0))[1]["number"] == 4


def test_a_new_fit_keeps_the_former_one(gold: Crystal) -> None:
    former = Path(gold.orient("fit")[1]["file"]).read_bytes()
    gold.orient("remove", "1")
    assert gold.orient("fit")[0] == DONE
    (kept,) = gold.folder.glob("orientation-until-*.json")
    assert kept.read_bytes() == former


def test_ub_gives_each_q_its_length(gold: Crystal) -> None:
    code, told = gold.orient("fit")
    assert (code, told["crystal"]) == (DONE, "Au")
    assert max(told["residuals_deg"]) < 1e-4
    ub = np.array(told["ub_per_angstrom"])
    np.testing.assert_allclose(ub.T @ ub, (2 * np.pi / 4.078) ** 2 * np.eye(3), atol=1e-9)
    assert told["wavelength_angstrom"] == pytest.approx(12.39842 / 9.0)


def test_lattice_is_fitted(gold: Crystal) -> None:
    gold.settings.write_text(
        "[geometry]\nenergy_kev = 9.0\n[orientation.lattice]\nname = 'gold'\nsystem = 'cubic'\na_angstrom = 4.1\n"
    )
    code, told = gold.orient("fit", "--lattice")
    assert (code, told["crystal"]) == (DONE, "gold")
    assert told["cell"][0] == pytest.approx(4.078, abs=1e-4)


@pytest.mark.parametrize("hkl", [(-1, 1, -1), (0, 2, 0), (-2, 0, 0), (-1, -1, -1)])
def test_positions_are_where_our_geometry_finds_them(gold: Crystal, hkl: tuple[int, int, int]) -> None:
    """Three reflections tell where a fourth is: the same axes as by theta turned onto the Ewald sphere."""
    gold.orient("fit")
    expected = found_axes(GOLD, hkl)
    code, told = gold.orient("angles", *map(str, hkl), *at({**found_axes(GOLD, FOUND[0]), "theta": 0.0}))
    assert code == DONE
    assert any(
        all(abs((each["axes_deg"][axis] - angle + 180) % 360 - 180) < 1e-4 for axis, angle in expected.items())
        for each in told["positions"]
    )
    travels = [each["travel_deg"] for each in told["positions"]]
    assert travels == sorted(travels)
    code, told = gold.orient("where", *at(expected))
    np.testing.assert_allclose(told["hkl"], hkl, atol=1e-5)


def limited(crystal: Crystal, theta: tuple[float, float]) -> None:
    axes = {"theta": theta, "delta": (-5.0, 80.0), "gamma": (-5.0, 80.0)}
    limits = "".join(AXIS.format(axis, *limit) for axis, limit in axes.items())
    crystal.settings.write_text(crystal.settings.read_text() + LIMITS + limits)


def test_limits_refuse_in_one_line_with_both_numbers(gold: Crystal) -> None:
    gold.orient("fit")
    stand = at(found_axes(GOLD, FOUND[0]))
    theta = found_axes(GOLD, (-1, 1, -1))["theta"]
    limited(gold, (-25.0, 90.0))
    code, told = gold.orient("angles", "-1", "1", "-1", *stand)
    assert (code, told["error"]) == (
        FAILED,
        "reflection -1 1 -1 has no position within limits:"
        f" the nearest has theta at {theta:.3f} deg, limits -25 to 90 deg",
    )


def test_positions_keep_to_limits_and_to_axes_that_have_none(gold: Crystal) -> None:
    gold.orient("fit")
    limited(gold, (-90.0, 90.0))
    code, told = gold.orient("angles", "-1", "1", "-1", *at(found_axes(GOLD, FOUND[0])))
    assert (code, len(told["positions"])) == (DONE, 1)
    assert told["positions"][0]["axes_deg"] == pytest.approx(found_axes(GOLD, (-1, 1, -1)), abs=1e-4)


@pytest.mark.parametrize("content", ["", "{}x", '{"format": "other"}', '{"reflections": [{"hkl": [1, 1]}]}'])
def test_a_damaged_list_is_one_line_and_is_not_written_over(gold: Crystal, content: str) -> None:
    path = Path(gold.orient("list")[1]["file"])
    path.write_text(content)
    for line in (("list",), ("fit",), ("remove", "1"), ("add", "1", "1", "1", *at(found_axes(GOLD, (1, 1, 1))))):
        code, told = gold.orient(*line)
        assert code == FAILED
        assert "is no list of reflections, or damaged" in told["error"]
        assert "\n" not in told["error"]
    assert path.read_text() == content


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("where", "--angle", "eta=3"), "eta turns no circle: expected theta, chi, phi, delta, gamma"),
        (("where", "--angle", "theta=3"), "nobody says where chi, phi, delta, gamma stands: give --angle chi=DEGREES"),
        (("where", "--angle", "theta"), "--angle 'theta': expected AXIS=DEGREES"),
        (("goto", "1", "1", "1", "--dryrun"), "unexpected extra argument"),
        (("angles", "1", "1"), "takes 3 values"),
        (("add", "0", "0", "0", *at(found_axes(GOLD, (1, 1, 1)))), "hkl is 0 0 0, the direct beam"),
    ],
)
def test_wrong_use_is_told_in_one_line(gold: Crystal, line: tuple[str, ...], said: str) -> None:
    code, told = gold.orient(*line)
    assert code in (FAILED, WRONG_USE)
    assert said in told["error"]
    assert "\n" not in told["error"]


def test_without_energy_or_lattice_it_says_where_they_go(tmp_path: Path) -> None:
    crystal = Crystal(tmp_path)
    crystal.settings.write_text("")
    code, told = crystal.add((1, 1, 1))
    assert (code, told["error"]) == (WRONG_USE, "no photon energy: give --energy, or energy_kev in [geometry]")
    code, told = crystal.add((1, 1, 1), "--energy", "9")
    assert (code, told["lattice_two_theta_deg"]) == (DONE, None)
    assert "no lattice; name an element" in crystal.orient("fit")[1]["error"]


def test_goto_without_limits_moves_nothing(gold: Crystal) -> None:
    gold.orient("fit")
    stand = "".join(f"{axis} = {angle}\n" for axis, angle in found_axes(GOLD, FOUND[0]).items())
    gold.settings.write_text(gold.settings.read_text() + "[geometry.angles_deg]\n" + stand)
    code, told = gold.orient("goto", "-1", "1", "-1")
    assert code == WRONG_USE
    assert "must move, but has no limits: expected it in [alignment.axes]" in told["error"]


PLANNED = {"low": -50.0, "high": 50.0, "width": 1.0, "tolerance": 0.1, "largest_step": 7.0}
number = st.floats(-60, 60)


@settings(deadline=None)
@given(st.tuples(number, number), st.tuples(number, number), st.floats(1.0, 200.0))
def test_a_way_is_judged_whole(start: tuple[float, float], there: tuple[float, float], travel: float) -> None:
    """Against what is plain: limits at the end, the sum of the way, and a zone that the straight way crosses."""
    axes = {name: {**PLANNED, "largest_travel": travel, "largest_rate": 0.5} for name in "xy"}
    zone = "x > 20 and y > 20"
    alignment = parse_section(
        AlignmentSettings,
        {"axes": axes, "devices": {"x": "a/b/x", "y": "a/b/y"}, "value": "a/b/c/d", "zones": [zone]},
    )
    assume(max(map(abs, start)) < 50.0)
    found = refusal_on_the_way(
        goto_plan(alignment, dict(zip("xy", there, strict=True))), dict(zip("xy", start, strict=True))
    )
    ways = np.abs(np.subtract(there, start))
    straight = np.linspace(start, there, 200)
    crosses = bool(np.any(np.all(straight > 20.0, axis=1)))
    if max(map(abs, there)) > 50.0 or max(ways) > travel + 1e-6 or crosses:
        assert found is not None
    elif found is not None:  # legs are boxes: no finer than the largest step
        assert found.rule == "forbidden zone" or max(ways) > travel - 1e-6


def test_axes_without_limits_are_not_gone_to() -> None:
    with pytest.raises(SettingsError, match=r"phi must move, but has no limits: .* which has none"):
        goto_plan(AlignmentSettings(), {"phi": 1.0})
