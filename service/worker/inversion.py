"""What the worker does with one volume: invert it, write the result's file, and draw its picture when there is time."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from service.defects import Classifier
from service.errors import SourceError
from service.pipeline import Former, run
from service.records import Reconstruction, Volume
from service.repair import Repair
from service.results.nexus import read_result, write_result
from service.results.picture import write_picture
from service.results.slices import before_and_after, brightest_frame, central_slices
from service.settings import Settings
from service.tiers import Tiers
from service.worker.inverter import GoOn, Product, Show

log = logging.getLogger(__name__)


class Inversion:
    """Call it with one volume after the other: each result takes the hand nearest to the last one that is not doubtful.

    `last_file` is the result of an earlier run that the first one takes its hand from; `repair`, `tiers` and
    `classifier` run what the settings switch on of them.
    """

    def __init__(
        self,
        last_file: Path | None = None,
        repair: Repair | None = None,
        tiers: Tiers | None = None,
        classifier: Classifier | None = None,
    ) -> None:
        self._run = partial(run, classifier=classifier)
        self._repair, self._tiers = repair, tiers
        self._previous = None if last_file is None else _former_in(last_file)

    def __call__(self, volume: Volume, settings: Settings, show: Show = lambda _: None) -> Product:
        """Return what was made; raise SeriesError or StopError, and nothing is left under a final name.

        `show` is given what is there before that, which has no file. The picture is drawn by `Product.draw`: it takes
        longer than many an inversion.
        """
        reconstruction = self._run(
            volume,
            settings,
            repair=self._repair,
            tiers=self._tiers,
            previous=self._previous,
            show=lambda early: show(_product(early, volume)),
        )
        began_s = time.perf_counter()
        path = write_result(reconstruction, volume, settings, settings.out.resolve())  # clients are elsewhere
        picture = path.with_suffix(".png")
        with contextlib.suppress(OSError):
            picture.unlink(missing_ok=True)  # of a former result: no file stands beside another one's picture
        self._previous = _former(reconstruction) or self._previous
        return replace(
            _product(reconstruction, volume),
            path=path,
            picture=picture,
            latencies_s={**reconstruction.latencies_s, "write": time.perf_counter() - began_s},
            draw=partial(_draw, reconstruction, volume, picture),
        )

    def preview(self, volume: Volume, settings: Settings, go_on: GoOn) -> Product:
        """Return what a series that is still open shows so far; no file, and no hand for the next result.

        No gap is filled and no tier shown: that takes longer than a preview may. `go_on` is called often; it ends this
        by raising.
        """
        found = self._run(volume, settings, previous=self._previous, progress=lambda *_: go_on())
        return _product(found, volume)


def _product(reconstruction: Reconstruction, volume: Volume) -> Product:
    """What a summary shows of a reconstruction that has no file."""
    return Product(
        figures=reconstruction.figures,
        path=None,
        picture=None,
        slices=central_slices(reconstruction)
        | {"measured": brightest_frame(reconstruction, volume)}
        | before_and_after(reconstruction.repaired),
        voxel_nm=reconstruction.voxel_nm,
        latencies_s=reconstruction.latencies_s,
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


def _draw(reconstruction: Reconstruction, volume: Volume, path: Path) -> None:
    try:
        write_picture(reconstruction, volume, path)
    except Exception:  # the result's file stands without it, and the next volume must be inverted
        log.exception("no picture %s", path)
