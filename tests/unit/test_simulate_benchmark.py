"""What the benchmark of the training ground says with its exit code."""

from __future__ import annotations

import pytest

from benchmarks import simulate


@pytest.mark.parametrize(("share", "code"), [(0.2, 0), (simulate.BAR, 0), (0.26, 1)])
def test_a_share_above_the_bar_is_a_failure(share: float, code: int) -> None:
    rows = {32: {"share of the step": 0.1}, 64: {"share of the step": share}}
    assert simulate.verdict(rows) == code
