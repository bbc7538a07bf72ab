"""How lines weigh what a network makes of a pattern, and how right probabilities are."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.defects import cases, ways
from benchmarks.defects.cases import Case, Inverted
from benchmarks.defects.scores import answered, calibration_error, called, confusion, share, three_class
from benchmarks.defects.ways import CLASS_NAMES, Told
from models.defects.judge import ANGLES_DEG, LINES, NO_RIBBON, RIBBON, Seen, judged, seen
from models.defects.jumps import Jumps
from models.defects.report import Character, DefectClass, Scattering, Split
from models.defects.split import WIDTHS
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
    assert all(len(shares) == len(Seen) for shares in LINES.values())
    for widths in (RIBBON, NO_RIBBON):
        assert len(widths) == len(WIDTHS)
        assert sum(widths) == pytest.approx(1.0)


def test_what_lines_say() -> None:
    assert [seen(lines).value for lines in ((), (line(),), (line(), line()), (line(True), line()))] == [
        "none", "one", "several", "loop",
    ]  # fmt: skip
    # A dark twin looks like a perfect crystal, whose hidden lines jump at times: how often there is either decides.
    assert likeliest(judged(EVEN, (), None, None)) == DefectClass.TWIN
    assert likeliest(judged(EVEN | {DefectClass.PERFECT: 0.2}, (), None, None)) == DefectClass.PERFECT
    assert likeliest(judged(EVEN, (line(True),), None, None)) == DefectClass.LOOP
    assert likeliest(judged(EVEN, (line(), line()), None, None)) == DefectClass.MULTIPLE
    assert likeliest(judged(EVEN, (line(),), character(0.29, 0.01), None)) == DefectClass.EDGE
    assert likeliest(judged(EVEN, (line(),), character(0.01, 0.29), None)) == DefectClass.SCREW
    assert likeliest(judged(EVEN, (line(),), character(0.2, 0.2), None)) == DefectClass.MIXED
    assert likeliest(judged(EVEN, (line(),), character(0.12, 0.16, misfit=0.4), None)) == DefectClass.PARTIAL


@pytest.mark.parametrize(
    ("jumping", "what", "likely"),
    [
        (Jumps(0.0, 0.0, 20), Seen.WOUND, DefectClass.LOOP),
        (Jumps(0.0, 0.0, 2), Seen.NONE, DefectClass.TWIN),
        (Jumps(0.2, 0.5, 0), Seen.NICKED, DefectClass.PERFECT),
        (Jumps(0.6, 0.5, 0), Seen.TORN, DefectClass.PARTIAL),
        (Jumps(0.6, 1.0, 0), Seen.CUT, DefectClass.STACKING_FAULT),
    ],
)
def test_what_jumps_say_where_no_line_is(jumping: Jumps, what: Seen, likely: DefectClass) -> None:
    assert seen((), jumping) == what
    assert seen((line(),), jumping) == Seen.ONE
    assert likeliest(judged(EVEN, (), jumps=jumping)) == likely


def test_jumps_beside_lines_are_those_of_grains() -> None:
    lines = (line(), line())
    smooth, torn = (judged(EVEN, lines, jumps=Jumps(area, 0.5, 0)) for area in (0.0, 0.5))
    assert likeliest(smooth) == DefectClass.MULTIPLE
    assert torn[DefectClass.UNKNOWN] > 5.0 * smooth[DefectClass.UNKNOWN]


@pytest.mark.parametrize(
    ("width", "angle_deg", "likely"),
    [
        (0.0, 2.0, DefectClass.SCREW),
        (0.06, 88.0, DefectClass.EDGE),
        (0.0, 60.0, DefectClass.MIXED),
        (0.22, 60.0, DefectClass.PARTIAL),
        (0.22, 2.0, DefectClass.PARTIAL),
    ],
)
def test_a_ribbon_tells_partials_and_its_angle_the_others(width: float, angle_deg: float, likely: DefectClass) -> None:
    found = Split(
        angle_rad=math.radians(angle_deg),
        glide_rad=0.0,
        sense=1,
        width=width,
        width_nm=100.0 * width,
        losses=tuple(0.005 + abs(width - other) * 0.1 for other in WIDTHS),
        angles_rad=(math.radians(angle_deg),) * len(WIDTHS),
    )
    assert likeliest(judged(EVEN, (line(),), replace(character(0.2, 0.2), split=found), 0.29)) == likely
    # A phase that no line explains is none of theirs.
    worse = replace(character(0.2, 0.2), split=found._replace(losses=(0.3,) * len(WIDTHS)))
    assert likeliest(judged(EVEN, (line(),), worse, 0.29)) in (DefectClass.MULTIPLE, DefectClass.UNKNOWN)


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
    assert math.isnan(calibration_error([]))


def test_a_crystal_is_inverted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def invert(case: Case) -> Inverted:
        asked.append(case)
        return Inverted(np.full((2, 2, 2), len(asked), np.complex64), 1.5)

    monkeypatch.setattr(ways, "inverted", invert)
    counts = np.ones((2, 2, 2), np.float32)
    scattering = Scattering(basis_nm=np.eye(3), q=np.array([1.0, 0.0, 0.0]))
    case = Case(counts, counts > 0, scattering, DefectClass.EDGE, counts.astype(np.complex64), None)
    kept = [ways.with_crystal(case, tmp_path).inverted for _ in range(2)]
    assert len(asked) == 1
    for one in kept:
        assert one is not None
        assert one.seconds == 1.5
        np.testing.assert_array_equal(one.object_, 1.0)
    ways.with_crystal(case._replace(counts=counts + 1.0), tmp_path)
    assert len(asked) == 2
    ways.with_crystal(case, None)
    assert len(asked) == 3


def test_classes_are_filled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [DefectClass.PERFECT, *(name for name in DefectClass if name != DefectClass.UNKNOWN)] * 3
    counts = np.ones((2, 2, 2), np.float32)
    scattering = Scattering(basis_nm=np.eye(3), q=np.array([1.0, 0.0, 0.0]))
    drawn = [Case(counts, counts > 0, scattering, name, counts.astype(np.complex64), None) for name in names]
    monkeypatch.setattr(cases, "continuum", lambda family: iter(drawn))
    found = [case.name for case in cases.simulated(5, 2)]
    assert found[:5] == names[:5]
    assert found[5:11] == [*names[5:10], DefectClass.EDGE]  # two are perfect already
    assert {found.count(name) for name in names} == {2}
    assert len(list(cases.simulated(5))) == 5
