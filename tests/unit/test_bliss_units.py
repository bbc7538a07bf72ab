"""What a Bliss session makes of an axis' unit and of a figure that is not known."""

from __future__ import annotations

import math

import pytest

from deploy.bliss.braggloop_bliss.quality import Condition, conditions
from deploy.bliss.braggloop_bliss.units import factor_of

DEGREES = {"deg": 90.0, "Degree": 90.0, "mdeg": 9e4, " rad ": math.pi / 2.0, "mrad": 500.0 * math.pi}
METRES = {"m": 2e-6, "mm": 2e-3, "um": 2.0, "\u00b5m": 2.0, "\u03bcm": 2.0, "nm": 2e3}


def test_positions_are_told_in_degrees_and_metres() -> None:
    for known, same in ((DEGREES, 90.0), (METRES, 2e-6)):
        for unit, position in known.items():
            factor = factor_of(unit)
            assert factor is not None
            assert factor * position == pytest.approx(same), unit


@pytest.mark.parametrize("unit", [None, "", "px", "keV", "V"])
def test_a_unit_that_is_neither_angle_nor_length_is_not_guessed(unit: str | None) -> None:
    assert factor_of(unit) is None


@pytest.mark.parametrize("unknown", [None, math.nan])
def test_a_figure_that_is_not_known_meets_nothing(unknown: float | None) -> None:
    assert not any(Condition("chi2", sign, 1.0).met({"chi2": unknown}) for sign in ("<", "<=", ">", ">="))


def test_conditions_are_met_together() -> None:
    wanted = conditions("resolution < 20, explained > 0.9", {"resolution", "explained"})
    assert [one.met({"resolution": 19.0, "explained": 0.9}) for one in wanted] == [True, False]
