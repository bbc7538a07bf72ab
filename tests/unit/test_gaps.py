"""Gaps that nobody announced: seen where they cost something, never where a pattern just ends."""

from __future__ import annotations

import numpy as np
import pytest

from models.bcdi.gaps import STRETCH, dark_lines
from tests.helpers.patterns import bright, gaps, poisson, strained_crystal, transform

EDGE = 64


def pattern(peak_counts: float, seed: int, background: float = 0.0) -> np.ndarray:
    expected = np.abs(transform(bright(strained_crystal(EDGE, seed), peak_counts))) ** 2
    return poisson(expected + background, seed)


def found(counts: np.ndarray, mask: np.ndarray | None = None) -> tuple[list[int], list[int]]:
    rows, columns = dark_lines(counts, np.ones(counts.shape, bool) if mask is None else mask)
    return rows.tolist(), columns.tolist()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("peak_counts", [1e1, 1e3, 1e5, 1e7])
@pytest.mark.parametrize("background", [0.0, 0.01])
def test_an_ordinary_pattern_has_none(peak_counts: float, seed: int, background: float) -> None:
    assert found(pattern(peak_counts, seed, background)) == ([], [])


def test_lines_and_blocks_are_found() -> None:
    counts = pattern(1e6, 0)
    counts[:, 36:39], counts[:, :, 27] = 0.0, 0.0
    assert found(counts) == ([36, 37, 38], [27])
    block = pattern(1e6, 0)
    block[:, 34 : 34 + STRETCH, 20 : 20 + STRETCH] = 0.0
    assert found(block) == ([*range(34, 34 + STRETCH)], [*range(20, 20 + STRETCH)])


def test_gaps_that_a_mask_tells_are_known_already() -> None:
    known = gaps((EDGE, EDGE, EDGE))
    counts = pattern(1e6, 0) * known
    assert found(counts, known) == ([], [])
    assert all(found(counts))


def test_what_is_dark_by_chance_or_at_the_edge_is_none() -> None:
    counts = pattern(1e6, 0)
    counts[:, :5], counts[:, :, -4:] = 0.0, 0.0
    assert found(counts) == ([], [])
    assert found(pattern(1e6, 0)[:, :, : STRETCH - 1])[0] == []
    dim = np.full((4, 32, 32), 2.0)
    dim[:, 16] = 0.0
    assert found(dim) == ([], [])
