"""What a person sees while an alignment runs."""

from __future__ import annotations

import math

import pytest
from rich.console import Console

from service.alignment.progress import Phase, Progress
from service.commands.align_view import COLUMNS, ROWS, AlignView, plotted


def drawn(view: AlignView) -> str:
    console = Console(width=100, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(view)
    return captured.get()


def test_a_loop_that_has_not_begun_is_drawn() -> None:
    assert "idle: exposure 0 of 100, 0 moves" in drawn(AlignView(most=100))


def test_phase_values_and_axes_are_drawn() -> None:
    view = AlignView(most=100)
    at = {"x": 1.5e-6, "eta": 25.125}
    view.progress = Progress(
        phase=Phase.EXPOSING,
        exposures=3,
        moves=2,
        refused=1,
        start=at,
        positions=at,
        best=at,
        best_value=9.0,
        value=7.0,
    )
    view.values.extend([1.0, 9.0, 7.0])
    seen = drawn(view)
    assert "exposing: exposure 3 of 100, 2 moves, 1 refused; value 7, best 9" in seen
    assert "25.125" in seen
    assert "█" in seen


@pytest.mark.parametrize(
    "values", [[], [0.0], [math.nan], [5.0] * 3, [-3.0, -1.0, math.nan, -2.0], [0.0, 1e6], [1.0] * 200]
)
def test_any_values_make_a_plot_of_as_many_rows(values: list[float]) -> None:
    rows = plotted(values)
    assert len(rows) == ROWS
    finite = any(math.isfinite(value) for value in values)
    assert all(len(row) == (len(values) if finite else 0) for row in rows)


def test_larger_values_stand_higher_and_old_ones_leave() -> None:
    heights = [sum(row[column] != " " for row in plotted([0.0, 3.0, 6.0])) for column in range(3)]
    assert heights == [0, ROWS // 2, ROWS]
    view = AlignView(most=10)
    view.values.extend(range(1000))
    assert len(view.values) == COLUMNS
