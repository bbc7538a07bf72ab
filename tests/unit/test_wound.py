"""Starts whose phase winds find a crystal with g.b = 2, which others do not; a crystal that is right stays."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.bcdi.modes import correlation
from models.bcdi.phasing import PhasingConfig, phase_retrieval
from models.bcdi.wound import ACROSS, TURNS, likely_lines, rewound, wound
from models.defects.vortices import vortices
from models.invert.refine import refine
from models.light import light_of
from tests.helpers.patterns import bright, poisson, strained_crystal, transform

EDGE = 40
SHAPE = np.abs(strained_crystal(EDGE))
CONFIG = PhasingConfig(coherence="full", starts=6, keep=1)
# Columns: steps of a voxel, not at right angles and none like another.
BASIS_NM = np.array([[5.0, 1.0, 0.5], [0.0, 6.0, -2.0], [1.0, 0.0, 4.0]])
Q = np.array([0.3, -20.0, 9.0])
LINES = likely_lines(BASIS_NM, Q)


def counted(turns: int) -> tuple[np.ndarray, np.ndarray]:
    """A crystal about whose middle the phase winds, and its counts."""
    z, y, x = np.indices(SHAPE.shape) - 0.3 - EDGE // 2
    line = np.cross([0.8, 0.3, -0.5], [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    angle = np.arctan2(*(part @ np.stack([z, y, x]).reshape(3, -1) for part in line)).reshape(SHAPE.shape)
    object_ = strained_crystal(EDGE, phase_range=1.5) * np.exp(1j * turns * angle)
    truth = bright(object_.astype(np.complex64), 1e4)
    return truth, poisson(np.abs(transform(truth)) ** 2)


def test_likely_lines_run_along_and_across_q() -> None:
    steps_nm = LINES @ BASIS_NM.T
    along = steps_nm @ Q / (np.linalg.norm(Q) * np.linalg.norm(steps_nm, axis=1))
    assert along == pytest.approx([1.0] + [0.0] * ACROSS, abs=1e-12)
    one, other = steps_nm[1], steps_nm[2]
    angle = math.acos(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))
    assert angle == pytest.approx(math.pi / ACROSS)


def test_phases_wind_as_often_as_they_should_about_each_line() -> None:
    objects = wound(SHAPE.astype(np.float32), LINES)
    assert np.abs(objects) == pytest.approx(np.broadcast_to(SHAPE, objects.shape), rel=1e-5)
    for object_, line in zip(objects, LINES, strict=True):
        found = vortices(object_)
        assert sum(one.turns for one in found) == TURNS
        assert abs(found[0].direction @ line) == pytest.approx(np.linalg.norm(line), rel=0.02)


def test_two_turns_are_found_and_nothing_else_is_given_up() -> None:
    truth, counts = counted(2)
    seen = np.ones_like(counts, bool)
    lines = np.array([[0.8, 0.3, -0.5], [0.0, 0.0, 1.0]])
    usual = phase_retrieval(counts, seen, CONFIG)
    again = rewound(counts, seen, usual, lines, CONFIG)
    assert correlation(usual.object_, truth) < 0.9, "random starts would do"
    assert correlation(again.object_, truth) > 0.98
    assert rewound(counts, seen, again, lines, CONFIG) is again


def test_a_refinement_searches_about_lines_as_well() -> None:
    truth, counts = counted(2)
    seen = np.ones_like(counts, bool)
    lines = np.array([[0.8, 0.3, -0.5]])
    start = SHAPE.astype(np.complex64)
    without, with_lines = (refine(counts, seen, start, CONFIG, lines=some).phased.object_ for some in (None, lines))
    assert correlation(with_lines, truth) > 0.98 > 0.9 > correlation(without, truth)


def test_a_crystal_without_lines_stays() -> None:
    truth, counts = counted(0)
    seen = np.ones_like(counts, bool)
    usual = phase_retrieval(counts, seen, CONFIG)
    assert correlation(usual.object_, truth) > 0.98
    assert rewound(counts, seen, usual, np.eye(3), CONFIG) is usual


@pytest.mark.parametrize(("seed", "phase_range"), [(7, 22.0), (2, 20.0)])
def test_a_crystal_that_is_hard_to_find_is_not_given_up_for_one_start(seed: int, phase_range: float) -> None:
    """Random starts that disagree have a mean that a single start easily beats."""
    truth = bright(strained_crystal(EDGE, seed, phase_range), 1e4)
    counts = poisson(np.abs(transform(truth)) ** 2)
    seen = np.ones_like(counts, bool)
    config = PhasingConfig(coherence="full", starts=10, keep=5)
    usual = phase_retrieval(counts, seen, config)
    again = rewound(counts, seen, usual, np.eye(3), config)
    assert again.figures.free_log_likelihood <= usual.figures.free_log_likelihood
    assert again.mode_weights[0] == usual.mode_weights[0], "starts about one crystal agree about nothing"
    assert correlation(again.object_, truth) > correlation(usual.object_, truth) - 0.01


def test_a_gap_light_and_background_are_seen_to() -> None:
    truth, _ = counted(2)
    scale = np.linspace(0.7, 1.3, EDGE, dtype=np.float32)[:, None, None]
    background = np.full((1, 1, 1), 2.0, np.float32)
    counts = poisson(np.abs(transform(truth)) ** 2 * scale + background)
    seen = np.ones_like(counts, bool)
    seen[:, EDGE // 2 + 6] = False
    counts[~seen] = np.nan
    light = light_of(counts.shape, scale, background)
    usual = phase_retrieval(counts, seen, CONFIG, scale=scale, background=background)
    shares: list[float] = []
    lines = np.array([[0.8, 0.3, -0.5]])
    again = rewound(counts, seen, usual, lines, CONFIG, light=light, progress=shares.append)
    assert correlation(again.object_, truth) > 0.95 > correlation(usual.object_, truth)
    assert "wound:" in again.recipe
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)
