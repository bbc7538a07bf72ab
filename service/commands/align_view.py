"""What a person sees while an alignment runs: the values as they come, and a table of the axes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Group
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from service.alignment.progress import Progress

BARS = " ▁▂▃▄▅▆▇█"
COLUMNS, ROWS = 72, 6  # of the plot, one column a value


@dataclass(slots=True)
class AlignView:
    """What a loop shows, drawn by rich as it is at that moment. `most`: exposures after which it ends, or about."""

    most: int
    progress: Progress = field(default_factory=Progress)
    values: deque[float] = field(default_factory=lambda: deque(maxlen=COLUMNS))

    def __rich__(self) -> Group:
        return Group(Text(self.headline()), *(Text(row, "cyan") for row in plotted(self.values)), self._axes())

    def headline(self) -> str:
        progress = self.progress
        refused = f", {progress.refused} refused" if progress.refused else ""
        value = f"; value {progress.value:.6g}, best {progress.best_value:.6g}" if progress.best else ""
        return f"{progress.phase}: exposure {progress.exposures} of {self.most}, {progress.moves} moves{refused}{value}"

    def _axes(self) -> Table:
        progress = self.progress
        table = Table("axis", *(Column(name, justify="right") for name in ("start", "now", "best")), box=None)
        for name in progress.start or {}:
            points = (progress.start, progress.positions, progress.best)
            table.add_row(escape(name), *(_number(point, name) for point in points))
        return table


def plotted(values: Sequence[float], rows: int = ROWS) -> list[str]:
    """Return `rows` lines of a bar plot of the values, lowest at zero or the smallest, on a logarithmic scale where
    all are counts that span more than a decade.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return [""] * rows
    logarithmic = min(finite) >= 0.0 and max(finite) > 10.0 * (min(finite) + 1.0)
    scaled = [math.log10(value + 1.0) if logarithmic else value for value in values]
    low = min(0.0, *(value for value in scaled if math.isfinite(value)))
    high = max(value for value in scaled if math.isfinite(value))
    span = high - low or 1.0
    filled = [rows * (value - low) / span if math.isfinite(value) else 0.0 for value in scaled]
    return ["".join(_cell(height - row) for height in filled) for row in reversed(range(rows))]


def _cell(height: float) -> str:
    return BARS[round(8 * min(max(height, 0.0), 1.0))]


def _number(point: object, name: str) -> str:
    return f"{point[name]:.7g}" if isinstance(point, dict) and name in point else ""
