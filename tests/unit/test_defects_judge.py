"""How lines weigh what a network makes of a pattern, and how right probabilities are."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.defects.scores import answered, calibration_error, called, confusion, share, three_class
from benchmarks.defects.ways import CLASS_NAMES, Told
from models.defects.judge import ANGLES_DEG, LINES, judged, seen
from models.defects.report import Character, DefectClass
from models.defects.vortices import Vortex

EVEN = dict.fromkeys(DefectClass, 1.0 / len(DefectClass))


def line(closed: bool = False) -> Vortex:
    points = np.stack([np.arange(9.0), np.zeros(9), np.zeros(9)], 1)
    return Vortex(points=points, direction=np.array([1.0, 0.0, 0.0]), turns=1, spread=0.1, closed=closed)


def character(edge: float, screw: float, misfit: float = 0.1) -> Character:
    return Character(
        turns=1, edge_nm=edge, edge=np.array([0.0, 1.0, 0.0]), screw_nm=screw, steepness=1.0, misfit=misfit
    )


def likeliest(probabilities: dict[DefectClass, float]) -> DefectClass:
    assert sum(probabilities.values()) == pytest.approx(1.0)
    return max(probabilities, key=probabilities.__getitem__)


def test_shares_of_what_is_seen_add_up() -> None:
    for shares in LINES.values():
        assert sum(shares) == pytest.approx(1.0)
        assert min(shares) > 0.0  # nothing is impossible
    assert set(LINES) == set(DefectClass)
    assert set(ANGLES_DEG) < set(DefectClass)


def test_what_lines_say() -> None:
    assert [seen(lines).value for lines in ((), (line(),), (line(), line()), (line(True), line()))] == [
        "none", "one", "several", "loop",
    ]  # fmt: skip
    assert likeliest(judged(EVEN, (), None, None)) == DefectClass.PERFECT
    assert likeliest(judged(EVEN, (line(True),), None, None)) == DefectClass.LOOP
    assert likeliest(judged(EVEN, (line(), line()), None, None)) == DefectClass.MULTIPLE
    assert likeliest(judged(EVEN, (line(),), character(0.29, 0.01), None)) == DefectClass.EDGE
    assert likeliest(judged(EVEN, (line(),), character(0.01, 0.29), None)) == DefectClass.SCREW
    assert likeliest(judged(EVEN, (line(),), character(0.2, 0.2), None)) == DefectClass.MIXED
    assert likeliest(judged(EVEN, (line(),), character(0.12, 0.16, misfit=0.4), None)) == DefectClass.PARTIAL


def test_the_pattern_still_counts() -> None:
    sure = {name: 0.999 if name == DefectClass.TWIN else 0.001 / 9.0 for name in DefectClass}
    assert likeliest(judged(sure, (), None, None)) == DefectClass.TWIN


def test_the_angle_is_settled_by_what_is_known() -> None:
    assert character(0.29, 0.0).angle_deg() == pytest.approx(90.0)
    assert character(0.0, -0.29).angle_deg() == pytest.approx(0.0)
    assert math.isnan(character(0.2, math.nan).angle_deg())
    assert character(0.145, math.nan).angle_deg(0.29) == pytest.approx(30.0, abs=0.5)
    assert character(math.nan, 0.29).angle_deg(0.29) == pytest.approx(0.0, abs=0.5)
    # Of an edge the screw part is not known well; its length says that there is none.
    assert character(0.29, 0.1).angle_deg(0.29) > character(0.29, 0.1).angle_deg()


def told(truth: str, **shares: float) -> Told:
    rest = (1.0 - sum(shares.values())) / len(CLASS_NAMES)
    return Told(truth, False, {name: shares.get(name, 0.0) + rest for name in CLASS_NAMES}, math.nan, 0.1)


def test_intervals_are_wilson_s() -> None:
    found = share([True] * 95 + [False] * 5)
    assert found.value == 0.95
    assert (found.low, found.high) == pytest.approx((0.8883, 0.9785), abs=1e-3)
    assert share([True] * 10).high == pytest.approx(1.0)
    assert math.isnan(share([]).value)


def test_scores() -> None:
    some = [told("edge", edge=0.9), told("edge", screw=0.6), told("perfect", perfect=0.8), told("twin", twin=0.3)]
    right = three_class(some)
    assert right["overall"].value == pytest.approx(2.0 / 3.0)
    assert right["edge"].value == 0.5
    assert right["screw"].count == 0
    counts = confusion(some)
    assert counts.sum() == 4
    assert counts[CLASS_NAMES.index("edge"), CLASS_NAMES.index("screw")] == 1
    assert called(some, 0.5) == ["edge", "screw", "perfect", "unknown"]
    share_answered, right_of_those = answered(some, 0.5)
    assert (share_answered.value, right_of_those.value) == pytest.approx((0.75, 2.0 / 3.0))
    assert calibration_error([told("edge", edge=1.0)] * 4) == pytest.approx(0.0, abs=1e-9)
    assert calibration_error([told("screw", edge=1.0)] * 4) == pytest.approx(1.0)
