"""From coarse to fine: every level keeps the object's room and the last one is the whole pattern."""

from __future__ import annotations

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bcdi.levels import COARSE_EDGE, ROOM, SMALLEST_EDGE, coarse_to_fine, full_level
from models.bcdi.pattern import Level

shapes = st.tuples(*[st.integers(2, 400)] * 3)


@given(shapes, st.tuples(*[st.floats(0.02, 0.9)] * 3))
def test_levels_hold_the_object_and_grow_to_the_whole_pattern(
    shape: tuple[int, ...], filled: tuple[float, ...]
) -> None:
    extent = tuple(max(1, round(n * share)) for n, share in zip(shape, filled, strict=True))
    levels = coarse_to_fine(shape, extent)
    assert levels[-1] == full_level(shape)
    assert len(set(levels)) == len(levels)
    assert [prod(level.shape) for level in levels] == sorted(prod(level.shape) for level in levels)
    assert max(levels[0].shape) <= COARSE_EDGE or levels[0] == levels[-1]
    for level in levels:
        for n, size, m, step in zip(shape, extent, level.shape, level.step, strict=True):
            assert 1 <= m * step <= n
            assert step == 1 or n // step >= max(ROOM * size, SMALLEST_EDGE)


def test_a_small_crystal_in_a_large_pattern_starts_small() -> None:
    levels = coarse_to_fine((256, 256, 256), (40, 40, 40))
    assert levels[0] == Level(shape=(32, 32, 32), step=(4, 4, 4))
    assert levels[-1] == Level(shape=(256, 256, 256), step=(1, 1, 1))


@pytest.mark.parametrize("edge", [16, 17, 31, 32])
def test_a_crystal_that_fills_a_small_pattern_has_one_level(edge: int) -> None:
    assert coarse_to_fine((edge,) * 3, (edge * 2 // 3,) * 3) == [full_level((edge,) * 3)]
