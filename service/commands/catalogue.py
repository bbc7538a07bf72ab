"""`braggloop defects catalogue`: a page of simulated patterns, one of each kind."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from models.defects.catalogue import SHOWN, Example, example
from models.simulate.specimens import REFLECTIONS
from service.commands.report import Report
from service.errors import DataError, raised_as
from service.results.catalogue import Column, write_catalogue
from service.results.picture import require_png


def draw_catalogue(page: Path, elements: Sequence[str], seed: int, report: Report) -> None:
    """Draw the classes of defects, a row each, for every element and reflection; raise DataError for other elements."""
    require_png(page)
    columns = [Column(element, reflection) for element, reflection in itertools.product(elements, REFLECTIONS)]
    cells: dict[tuple[int, int], Example | None] = {}
    with report.progress() as advance, raised_as(DataError):
        wanted = list(itertools.product(range(len(SHOWN)), range(len(columns))))
        for done, (row, column) in enumerate(wanted):
            advance(f"simulating {SHOWN[row].value}", done / len(wanted))
            one = columns[column]
            cells[row, column] = example(SHOWN[row], one.element, one.reflection, seed + row)
    write_catalogue(SHOWN, columns, cells, page)
    never = sum(cell is None for cell in cells.values())
    report.table("defects", [("shown", str(len(cells) - never)), ("never seen", str(never)), ("page", str(page))])
    report.finish({"shown": len(cells) - never, "never_seen": never, "page": str(page)})
