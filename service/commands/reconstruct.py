"""Offline: a recorded scan through the assembler and the pipeline of the worker."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from service.adapters.replay import ReplaySource
from service.adapters.scans.recorded import open_scan
from service.commands.repeats import Summed, sum_scans
from service.commands.report import Report
from service.compose import runners
from service.errors import DataError, ResultError
from service.pipeline import run
from service.ports import EndOfStream, FrameSource
from service.records import Reconstruction, Volume
from service.results.durable import digest, require_writable
from service.results.nexus import read_result, result_path, write_result
from service.results.picture import write_picture
from service.results.summary import describe_crop, outcome_rows, result_record
from service.search import require_device
from service.settings import Settings
from service.worker.assembly import Dropped, SeriesAssembler, SeriesFailure

POLL_S = 1.0
READ_SHARE = 0.05  # of the bar: reading a file is short beside phase retrieval


def reconstruct_file(
    path: Path, scan: str, begin: Path | None, settings: Settings, report: Report, repeats: Sequence[Path] = ()
) -> Reconstruction:
    """Invert the scan at `path`, write file and picture into `settings.out`, and tell `report`.

    `begin` is a result of the same scan from whose object every start sets out, None for random ones. `repeats` are
    further scans of the same crystal in the same geometry, which are summed onto the first. The series is named after
    the file; a second run leaves the results of the first alone and is named so.
    """
    require_device(settings.phasing)
    report.note(f"{path}: {'scan ' + scan if scan else 'first scan'} to {settings.out}")
    with report.progress() as advance:
        summed = read_summed([path, *repeats], scan, settings, lambda share: advance("reading", READ_SHARE * share))
        volume = summed.volume
        require_writable(settings.out, "out")  # before the long part, after what is wrong with the file
        use = runners()
        reconstruction = run(
            volume,
            summed.settings,
            repair=use.repair,
            classifier=use.classifier,
            start=read_result(begin).object_ if begin else None,
            progress=lambda stage, share: advance(stage, READ_SHARE + (1 - READ_SHARE) * share),
        )
    reconstruction = dataclasses.replace(
        reconstruction,
        notes=(*summed.notes, *reconstruction.notes),
        warnings=(*reconstruction.warnings, *summed.warnings),
    )
    number = next(run for run in itertools.count(1) if not result_path(volume, settings.out, run).exists())
    result = write_result(reconstruction, volume, settings, settings.out, number)
    picture = _picture(reconstruction, volume, result.with_suffix(".png"), report)
    report.note(f"crop {describe_crop(reconstruction.crop)} of {list(volume.counts.shape)}")
    for note in reconstruction.notes:
        report.note(f"note: {note}")
    report.table(str(path), outcome_rows(reconstruction, result, picture))
    report.finish(result_record(reconstruction, result, picture))
    return reconstruction


def _picture(reconstruction: Reconstruction, volume: Volume, path: Path, report: Report) -> Path | None:
    """Draw the picture; the result's file stands without it."""
    try:
        return write_picture(reconstruction, volume, path)
    except (ResultError, ValueError, ArithmeticError) as error:
        report.note(f"no picture: {error}")
        return None


def read_summed(paths: Sequence[Path], scan: str, settings: Settings, advance: Callable[[float], None]) -> Summed:
    """Read the scans and sum them; a single one is left as it is."""
    volumes = [
        read_volume(path, scan, settings, partial(_advance_part, advance, number, len(paths)))
        for number, path in enumerate(paths)
    ]
    if len(volumes) == 1:
        return Summed(volume=volumes[0], settings=settings, notes=(), warnings=())
    return sum_scans(volumes, settings)


def _advance_part(advance: Callable[[float], None], done: int, parts: int, share: float) -> None:
    advance((done + share) / parts)


def read_volume(path: Path, scan: str, settings: Settings, advance: Callable[[float], None]) -> Volume:
    """Assemble the scan at `path` as the worker would; raise what stops it.

    The series is named after the file and told from scans of the same name elsewhere by a digest of its whole path.
    """
    recorded = open_scan(path, scan)
    volume = assemble(ReplaySource(recorded), settings, recorded.number_of_images, advance)
    name = f"{path.stem}_{scan}" if scan else path.stem
    return dataclasses.replace(volume, series_unique_id=f"{name}_{digest(f'{path.resolve()} {scan}')}")


def assemble(source: FrameSource, settings: Settings, images: int, advance: Callable[[float], None]) -> Volume:
    """Feed a source to the assembler until its first volume; raise the error of the series where there is none."""
    assembler, taken, last_drop = SeriesAssembler(settings), 0, ""
    try:
        while True:
            message = source.receive(POLL_S)
            events: list[Any] = [] if message is None else assembler.feed(message, time.monotonic())
            for event in events:
                match event:
                    case Volume():
                        return event
                    case SeriesFailure():
                        raise event.error
                    case Dropped():
                        last_drop = str(event.error)
            taken += message is not None
            advance(min(1.0, taken / max(images, 1)))
    except EndOfStream:
        raise DataError(f"{images} images gave no volume; {last_drop or 'no series in it'}") from None
    finally:
        source.close()
