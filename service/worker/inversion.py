"""What the worker does with one volume: invert it, write the result's file and its picture."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from service.errors import ResultError, SourceError
from service.pipeline import Former, run
from service.records import Reconstruction, Volume
from service.results.nexus import read_result, write_result
from service.results.picture import write_picture
from service.results.slices import central_slices
from service.settings import Settings
from service.worker.inverter import Product

log = logging.getLogger(__name__)


class Inversion:
    """Call it with one volume after the other: each result takes the hand nearest to the last one that is not doubtful.

    `last_file` is the result of an earlier run that the first one takes its hand from.
    """

    def __init__(self, last_file: Path | None = None) -> None:
        self._previous = None if last_file is None else _former_in(last_file)

    def __call__(self, volume: Volume, settings: Settings) -> Product:
        """Return what was made; raise SeriesError or StopError, and nothing is left under a final name."""
        reconstruction = run(volume, settings, previous=self._previous)
        began_s = time.perf_counter()
        path = write_result(reconstruction, volume, settings, settings.out.resolve())  # clients are elsewhere
        picture = _picture(reconstruction, volume, path.with_suffix(".png"))
        self._previous = _former(reconstruction) or self._previous
        return Product(
            figures=reconstruction.figures,
            path=path,
            picture=picture,
            slices=central_slices(reconstruction),
            latencies_s={**reconstruction.latencies_s, "write": time.perf_counter() - began_s},
            notes=reconstruction.notes,
            warnings=reconstruction.warnings,
        )


def _former(reconstruction: Reconstruction) -> Former | None:
    return None if reconstruction.figures.doubt else Former.of(reconstruction)


def _former_in(path: Path) -> Former | None:
    try:
        return _former(read_result(path))
    except SourceError as error:
        log.warning("the hand of the next result stays undetermined: %s", error)
        return None


def _picture(reconstruction: Reconstruction, volume: Volume, path: Path) -> Path | None:
    try:
        return write_picture(reconstruction, volume, path)
    except (ResultError, ValueError, ArithmeticError):
        log.exception("no picture %s", path)  # the result's file stands without it
        return None
