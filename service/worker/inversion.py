"""What the worker does with one volume: invert it, write the result's file and its picture."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.errors import ResultError
from service.pipeline import run
from service.records import Reconstruction, Volume
from service.results.nexus import write_result
from service.results.picture import write_picture
from service.results.slices import central_slices
from service.settings import Settings
from service.worker.inverter import Product

log = logging.getLogger(__name__)


class Inversion:
    """Call it with one volume after the other: each result takes the hand nearest to the one before."""

    def __init__(self) -> None:
        self._previous: NDArray[np.complex64] | None = None

    def __call__(self, volume: Volume, settings: Settings) -> Product:
        """Return what was made; raise SeriesError or StopError, and nothing is left under a final name."""
        reconstruction = run(volume, settings, previous=self._previous)
        began_s = time.perf_counter()
        path = write_result(reconstruction, volume, settings, settings.out)
        picture = _picture(reconstruction, volume, path.with_suffix(".png"))
        self._previous = reconstruction.object_
        return Product(
            figures=reconstruction.figures,
            path=path,
            picture=picture,
            slices=central_slices(reconstruction),
            latencies_s={**reconstruction.latencies_s, "write": time.perf_counter() - began_s},
            notes=reconstruction.notes,
        )


def _picture(reconstruction: Reconstruction, volume: Volume, path: Path) -> Path | None:
    try:
        return write_picture(reconstruction, volume, path)
    except (ResultError, ValueError, ArithmeticError):
        log.exception("no picture %s", path)  # the result's file stands without it
        return None
