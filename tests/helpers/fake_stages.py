"""The worker's stages with an inversion that only sums: `python -m tests.helpers.fake_stages STAGE SETTINGS`."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

from models.files import written_whole
from service.errors import DataError
from service.records import Volume
from service.results.durable import result_name
from service.settings import Settings
from service.worker.inverter import Invert, Preview, Product, Show
from service.worker.stages import leave, main, run_compute, run_ingest
from tests.helpers.results import make_figures

LAST_FLUX = "flux"


def summing(_: Path | None, __: Settings) -> tuple[Invert, Preview]:
    """Return inversions that write the sum of the counts; `phasing.starts` hundredths of a second long."""

    def invert(volume: Volume, settings: Settings, _: Show) -> Product:
        if not volume.counts.any():
            raise DataError("no counts in the volume")
        time.sleep(settings.phasing.starts / 100)
        path = settings.out / f"{result_name(volume.series_id, volume.series_unique_id)}.npy"
        with written_whole(path) as part, part.open("wb") as file:
            np.save(file, volume.counts)
        total = float(volume.counts.sum())
        return Product(
            figures=make_figures(flux_counts=total),
            path=path,
            picture=None,
            slices={"amplitude": volume.counts[0]},
            latencies_s={"invert": settings.phasing.starts / 100},
            notes=("only summed",),
        )

    return invert, lambda volume, settings: invert(volume, settings, lambda _: None)


if __name__ == "__main__":
    leave(main(sys.argv[1:], {"ingest": run_ingest, "compute": partial(run_compute, inversion=summing)}))
