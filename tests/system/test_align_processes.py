"""CrystalAlignment in processes of their own, which are killed or hung in mid-move: the axes stand, with a reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.align.processes import FAULTS, Lab, faulty_process_run


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as one:
        yield one


@pytest.mark.parametrize("fault", ["alignment killed", "alignment hung", "motors killed", "counter killed"])
def test_axes_stand_and_nobody_moved_them_wrongly(lab: Lab, fault: str) -> None:
    ended = faulty_process_run(lab, FAULTS.index(fault))
    assert (ended.fault, ended.wrong) == (fault, ())
    assert ended.safe, ended
