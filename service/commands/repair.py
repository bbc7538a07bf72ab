"""Fills gaps or denoises what lies in a file, without inverting it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from models.counts import as_volume
from models.denoise.predict import NAME as DENOISER
from models.denoise.predict import denoise, item_shape
from models.engine.port import Engine
from models.inpaint.adapt import adapted_engine
from models.inpaint.predict import BATCH, ITEM, Inpainted, inpaint
from models.inpaint.predict import NAME as INPAINTER
from models.light import light_of
from models.memory import memory_told
from service.adapters.scans.plane import read_plane
from service.commands.reconstruct import read_volume
from service.commands.report import Report
from service.compose import trained_engine
from service.errors import DataError, SettingsError, SourceError, raised_as
from service.pipeline import masked_volume
from service.records import Volume
from service.repair import doubts_of_denoising, judged_filling
from service.results.nexus_values import new_group, put, write_file
from service.settings import Settings

LESS_MEMORY = "give fewer frames, or a smaller part of them"
SUFFIXES = (".h5", ".hdf5", ".nxs", ".cxi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """`counts` float32 and `mask` bool, True where seen, [rocking, row, column] or [row, column]; of a scan also
    `monitor` float32 [rocking] or of the counts' shape, `scale` and `background` that broadcast against the counts, and
    `saturated` bool, see models.bcdi.preprocess.Masked.
    """

    counts: NDArray[np.float32]
    mask: NDArray[np.bool_]
    monitor: NDArray[np.float32] | None = None
    scale: NDArray[np.float32] | None = None
    background: NDArray[np.float32] | None = None
    saturated: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()


def inpaint_file(
    source: Path,
    out: Path,
    settings: Settings,
    report: Report,
    *,
    scan: str = "",
    dataset: str = "",
    adapt_s: float = 0.0,
) -> None:
    """Fill the gaps of the counts in `source`, write them and their standard deviations to `out`, and tell `report`,
    with what speaks against them.

    `source` is a recorded scan, a NumPy file, or an HDF5 file whose `dataset` is named; `adapt_s` seconds are spent on
    adapting the network to it.
    """
    _require_out(out)
    guided = settings.repair.guided
    with report.progress() as advance:
        given = read_counts(source, scan, dataset, settings, lambda share: advance("reading", 0.3 * share))
        began_s = time.perf_counter()
        with raised_as(DataError), memory_told(LESS_MEMORY):
            if adapt_s and not given.mask.all():
                advance(f"adapting for {adapt_s:g} s", 0.3)
                engine = adapted_engine(
                    given.counts,
                    given.mask,
                    adapt_s,
                    guided=guided,
                    scale=given.scale,
                    background=given.background,
                )
            else:
                engine = trained_engine(settings.engine, INPAINTER, ITEM, BATCH)
            advance("filling gaps", 0.6)
            found = inpaint(
                given.counts,
                given.mask,
                engine=engine,
                guided=guided,
                scale=given.scale,
                background=given.background,
                leave=given.saturated,
            )
            advance("trying it beside the gap", 0.9)
            doubts, untried = _judged(given, found, engine, settings.repair.doubt_above)
        took_s = time.perf_counter() - began_s
    filled, hidden = int(np.count_nonzero(found.filled)), int(np.count_nonzero(~given.mask))
    write_counts(
        out,
        "counts, gaps filled by a network",
        given.mask | found.filled,
        {
            "data": found.volume,
            "data_errors": found.std,
            "filled": found.filled.astype(np.uint8),
            "mask": given.mask.astype(np.uint8),
        },
        {
            "network": INPAINTER,
            "guided": int(guided and found.volume.ndim == 3),
            "adapted_s": adapt_s,
            **engine.describe(),
        },
    )
    inside, seen = (
        float(counts.sum(dtype=np.float64)) for counts in (found.volume[found.filled], given.counts[given.mask])
    )
    _tell([*given.notes, *untried], doubts, report)
    rows = {
        "filled": f"{filled:,} of {hidden:,} hidden voxels",
        "counts": f"{inside:.4g} filled in, {seen:.4g} seen",
        "time": f"{took_s:.1f} s",
        "result": str(out),
    }
    report.table(str(source), list(rows.items()))
    report.finish(
        {
            "path": str(out.resolve()),
            "filled_voxels": filled,
            "hidden_voxels": hidden,
            "doubts": doubts,
            "seconds": took_s,
        }
    )


def denoise_file(
    source: Path,
    out: Path,
    settings: Settings,
    report: Report,
    *,
    scan: str = "",
    dataset: str = "",
    background: Path | None = None,
) -> None:
    """Denoise the counts in `source`, write them and their standard deviations to `out`, and tell `report`, with what
    speaks against them.

    `background` holds counts a frame without the sample [row, column]; it is subtracted in proportion to the monitor.
    """
    _require_out(out)
    with report.progress() as advance:
        given = read_counts(source, scan, dataset, settings, lambda share: advance("reading", 0.5 * share))
        plane = None if background is None else read_plane(background).astype(np.float32)
        began_s = time.perf_counter()
        advance("denoising", 0.5)
        with raised_as(DataError), memory_told(LESS_MEMORY):
            engine = trained_engine(settings.engine, DENOISER, item_shape(given.counts.shape))
            found = denoise(given.counts, given.mask, engine=engine, background=plane, monitor=given.monitor)
        took_s = time.perf_counter() - began_s
    doubts = []
    if plane is None:
        doubts = doubts_of_denoising(given.counts, given.mask, found, settings.repair.doubt_above)
    write_counts(
        out,
        "expected counts, denoised by a network" + ("" if plane is None else ", background subtracted"),
        given.mask,
        {"data": found.frames, "data_errors": found.std, "mask": given.mask.astype(np.uint8)},
        {"network": DENOISER, "background": str(background or ""), **engine.describe()},
    )
    before, after = (float(counts[given.mask].sum(dtype=np.float64)) for counts in (given.counts, found.frames))
    _tell(given.notes, doubts, report)
    rows = {"counts": f"{before:.4g} seen, {after:.4g} told", "time": f"{took_s:.1f} s", "result": str(out)}
    report.table(str(source), list(rows.items()))
    report.finish(
        {
            "path": str(out.resolve()),
            "counts": before,
            "denoised_counts": after,
            "doubts": doubts,
            "seconds": took_s,
        }
    )


def read_counts(source: Path, scan: str, dataset: str, settings: Settings, advance: Any) -> Given:
    """Return counts and mask of a file.

    Of a plain array, what is NaN is masked, and so is what the settings' mask hides and what reaches their saturation;
    nothing else of their detector is looked at. A scan is masked as it would be for an inversion.
    """
    if source.suffix != ".npy" and not dataset:
        try:
            return _scan(read_volume(source, scan, settings, advance), settings)
        except SourceError as error:
            raise SourceError(f"{error}; of an array that is no scan, name the --dataset") from error
    counts = _array(source, dataset)
    mask = np.isfinite(counts)
    if settings.detector.mask is not None:
        plane = read_plane(settings.detector.mask).astype(bool)
        if plane.shape != counts.shape[-2:]:
            raise SettingsError(f"detector.mask has shape {plane.shape}, frames {counts.shape[-2:]}")
        mask = mask & plane
    if settings.detector.saturation_counts is None:
        return Given(counts=counts, mask=mask)
    saturated = counts >= settings.detector.saturation_counts
    return Given(counts=counts, mask=mask & ~saturated, saturated=saturated)


def _scan(volume: Volume, settings: Settings) -> Given:
    """A scan, masked as it would be for an inversion."""
    with raised_as(DataError):
        masked = masked_volume(volume, settings.detector)
    return Given(
        counts=masked.counts,
        mask=masked.mask,
        monitor=volume.scale,
        scale=masked.scale,
        background=masked.background,
        saturated=masked.saturated,
        notes=(*masked.notes, *masked.warnings),
    )


def _judged(given: Given, found: Inpainted, engine: Engine, doubt_above: float) -> tuple[list[str], list[str]]:
    """What speaks against what was filled in, and what is to be said beside."""
    if not found.filled.any():
        return [], []
    shape = as_volume(given.counts.shape)
    whole = Inpainted(
        volume=found.volume.reshape(shape), std=found.std.reshape(shape), filled=found.filled.reshape(shape)
    )
    light = light_of(shape, given.scale, given.background)
    return judged_filling(given.counts.reshape(shape), given.mask.reshape(shape), whole, engine, light, doubt_above)


def _tell(notes: Sequence[str], doubts: Sequence[str], report: Report) -> None:
    for note in notes:
        report.note(f"note: {note}")
    for doubt in doubts:
        report.note(f"doubt: {doubt}")


def _array(source: Path, dataset: str) -> NDArray[np.float32]:
    try:
        if source.suffix == ".npy":
            array = np.load(source, allow_pickle=False)
            if not isinstance(array, np.ndarray):
                raise ValueError("an archive of arrays")
        else:
            with h5py.File(source) as file:
                if not isinstance(found := file[dataset], h5py.Dataset):
                    raise SourceError(f"{source}: {dataset} is a group: name one of its datasets")
                array = np.asarray(found[()])
    except (OSError, ValueError, EOFError, KeyError, TypeError) as error:
        said = "no array of numbers" if source.suffix == ".npy" and isinstance(error, (ValueError, EOFError)) else error
        raise SourceError(f"{source}: {said}; a .npy file, or an HDF5 file and --dataset, is expected") from error
    if array.ndim not in (2, 3) or array.dtype.kind not in "biuf":
        raise SourceError(f"{source}: shape {array.shape} of {array.dtype}; counts [rocking, row, column] are expected")
    if not array.size:
        raise SourceError(f"{source}: shape {array.shape}: there are no counts in it")
    counts = np.asarray(array, dtype=np.float32)
    if array.dtype.kind in "iu" and array.dtype.itemsize > 1:  # what detectors write where they count nothing
        counts[(array == np.iinfo(array.dtype).max) | (array < 0)] = np.nan
    return counts


def _require_out(out: Path) -> None:
    if out.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"{out}: the result is an HDF5 file; give a name that ends in {', '.join(SUFFIXES)}")
    if out.exists():
        raise SettingsError(f"{out} is there already; give another name")
    if not out.parent.is_dir():
        raise SettingsError(f"{out.parent} is no folder; make it first")


def write_counts(
    path: Path, title: str, known: NDArray[np.bool_], arrays: dict[str, NDArray[Any]], how: dict[str, Any]
) -> None:
    """Write arrays as an NXdata whose signal is `data`, whole or not at all; raise ResultError where it cannot be, and
    SettingsError where something has come to lie there meanwhile.

    `data` and its errors are NaN where nothing is `known`: nobody shall take it for a count.
    """
    _require_out(path)

    def write(file: h5py.File) -> None:
        file.attrs.update(NX_class="NXroot", default="entry_1", creator="braggloop")
        entry = new_group(file, "entry_1", "NXentry", default="data_1")
        group = new_group(entry, "data_1", "NXdata", signal="data", interpretation="image")
        put(group, "title", title)
        for name, values in arrays.items():
            told = np.where(known, values, np.float32(np.nan)) if name.startswith("data") else values
            put(group, name, told, units="counts" if name.startswith("data") else None)
        put(new_group(entry, "process_1", "NXprocess"), "how", how)

    write_file(path, write)
