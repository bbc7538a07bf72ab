"""Pictures in Flint: what they show, and that they come back when Flint was killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from service.commands.children import Children
from tests.bliss.conftest import Lab

pytestmark = [pytest.mark.bliss, pytest.mark.usefixtures("standing")]

SCREENSHOTS = "BRAGGLOOP_SCREENSHOTS"  # names a folder where they are kept
ROWS, COLUMNS = 2, 3
DRAWN = 0.05  # standard deviation of brightness, 0 to 1: that of an empty plot is smaller


@pytest.fixture
def worker(lab: Lab, tmp_path: Path) -> Iterator[None]:
    with Children(tmp_path / "worker") as children:
        lab.start_worker(children)
        yield


@pytest.mark.usefixtures("worker")
def test_pictures_show_the_last_result_and_come_back_after_flint_was_killed(lab: Lab, tmp_path: Path) -> None:
    folder = Path(os.environ.get(SCREENSHOTS, tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    with lab.session("pictures.py", str(folder)) as session:
        told = session.told()
    assert told["early"] == "RuntimeError: no pictures to save: show() them first"
    assert told["empty"]["path"].startswith("nothing was aligned yet") or "exposures" in told["empty"]["path"]
    drawn = told["drawn"]
    assert drawn["amplitude"].split("\n")[0].startswith("series ")
    assert " nm" in drawn["amplitude"]
    assert drawn["phase"].startswith("search, ")
    assert drawn["strain"].startswith("rms ")
    assert drawn["measured"].endswith("\nmeasured")
    assert drawn["repaired"] == "no network was asked\nrepaired"
    assert drawn["path"].startswith("aligned, ")
    assert "\nbest x " in drawn["path"]
    assert told["closed"].startswith("Flint is closed; flint() opens it")
    assert 0.0 < told["counted"] < 1.0, "the session counts on"
    assert told["again"] == drawn
    assert told["hidden"]
    for name in ("before.png", "after.png"):
        for place, spread in _spreads(folder / name).items():
            assert place == (1, 1) or spread > DRAWN, f"{name}: plot {place} is empty, {spread:.3f}"


def _spreads(picture: Path) -> dict[tuple[int, int], float]:
    """How much the middle of each plot varies; its frame, titles and buttons do not count."""
    brightness = matplotlib.image.imread(picture)[..., :3].mean(axis=2)
    height, width = (edge // parts for edge, parts in zip(brightness.shape, (ROWS, COLUMNS), strict=True))
    found = {}
    for row, column in np.ndindex(ROWS, COLUMNS):
        plot = brightness[row * height : (row + 1) * height, column * width : (column + 1) * width]
        found[row, column] = float(plot[height // 3 : 3 * height // 4, width // 4 : width // 2 + width // 8].std())
    return found
