"""How a run went: one line of CSV after another, in a file that a kill cannot tear."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from models.files import written_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Means since the point before: of the loss, the gradient's length and the share of a step that simulation took.

    `used_s` of the budget; `validation_loss` of the averaged weights, NaN where it was not looked at.
    """

    step: int
    used_s: float
    learning_rate: float
    loss: float
    gradient: float
    simulation_share: float
    validation_loss: float = math.nan


HEADER = [field.name for field in fields(Point)]


class Curve:
    """The points of a run at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def begin(self, last_step: int) -> None:
        """Forget all points after `last_step` and half lines: what comes next is made again, or for the first time."""
        kept = [point for point in read_curve(self._path) if point.step <= last_step]
        with written_whole(self._path) as partial:
            partial.write_bytes(_line(HEADER) + b"".join(_line(_cells(point)) for point in kept))

    def append(self, point: Point) -> None:
        """Add a point in one write, so that a killed process leaves whole lines."""
        with self._path.open("ab", buffering=0) as file:
            file.write(_line(_cells(point)))


def read_curve(path: Path) -> list[Point]:
    """Return the points at `path`, none where it is not there; a last line without an end is left out."""
    if not path.exists():
        return []
    whole = path.read_text().rpartition("\n")[0]
    return [
        Point(step=int(row.pop("step")), **{name: float(value) for name, value in row.items()})
        for row in csv.DictReader(io.StringIO(whole))
    ]


def _cells(point: Point) -> list[str]:
    step, *values = astuple(point)
    return [str(step), *(f"{value:.6g}" for value in values)]


def _line(cells: list[str]) -> bytes:
    return (",".join(cells) + "\n").encode()
