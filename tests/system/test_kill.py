"""kill -9 of each process in mid-series: every series comes out once and its frames add up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.kills import VICTIMS, half_files, kill_at_random


@pytest.mark.slow
def test_every_series_survives_the_death_of_each_process(tmp_path: Path) -> None:
    kills = kill_at_random(tmp_path, 2 * len(VICTIMS), seed=1)
    assert [(kill.series, kill.victim, kill.fault) for kill in kills if kill.fault] == []
    assert half_files(tmp_path / "results") == []
