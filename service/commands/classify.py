"""`braggloop classify`: what is wrong with the crystal of a scan, a result or an array of counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from models import registry
from models.bcdi.phasing import Phased
from models.bcdi.preprocess import Preprocessed
from models.bcdi.resample import along_q
from models.counts import require_counts
from models.defects.evidence import evidence
from models.defects.predict import ITEM, NAME, SLICE, SLICE_NAME, classify, filled, pattern_of
from models.defects.report import DefectClass, DefectReport, Place, Scattering
from models.engine.port import Engine
from models.inpaint.predict import BATCH
from models.inpaint.predict import ITEM as INPAINTED
from models.inpaint.predict import NAME as INPAINTER
from models.invert.predict import ITEM as INVERTED
from models.invert.predict import NAME as INVERTER
from models.invert.predict import invert
from models.invert.refine import refine
from service.commands.reconstruct import read_volume
from service.commands.repair import Given, read_counts
from service.commands.report import Report
from service.compose import trained_engine
from service.defects import odd_lattice, scattering_of
from service.errors import DataError, raised_as
from service.figures import trust_of
from service.pipeline import crop_of
from service.results.defects import Drawn, write_defects
from service.results.nexus import read_result
from service.results.picture import require_png
from service.results.summary import defects_record
from service.search import lines_sought, phasing_config
from service.settings import Settings

# Of phase retrieval that begins with the network's crystal; its first round always runs.
REFINED_S = 3.0
# Narrower ones, as a share of the crystal's diameter, are not told from none.
NARROWEST_RIBBON = 0.1
# The peak of an array that is no scan is looked for at this width (sigma); farther off the middle than that, the array
# is cut about it, as long as so much is left on each side.
PEAK_VOXELS, OFF_VOXELS, LEAST_VOXELS = 1.0, 3, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The file `source`; of a recorded scan its name `scan`, and whether it is not to be inverted first; of an HDF5
    file that is no scan the `dataset`.
    """

    source: Path
    scan: str = ""
    dataset: str = ""
    fast: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What a file holds: `counts` float32 [z, y, x] or one frame, gaps filled, or a complex `object_` with its
    `support`, or all.
    """

    counts: NDArray[np.float32] | None = None
    object_: NDArray[np.complex64] | None = None
    support: NDArray[np.bool_] | None = None
    scattering: Scattering | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_frame(self) -> bool:
        """Whether the counts are one frame [y, x]."""
        return self.counts is not None and self.counts.ndim == 2


def classify_file(asked: Asked, picture: Path | None, settings: Settings, report: Report) -> None:
    """Tell what is wrong with the crystal in a recorded scan, a result, a NumPy file or a dataset, and draw what
    decided to `picture`. Raises SourceError, DataError, SettingsError or ResultError in one line.
    """
    if picture is not None:
        require_png(picture)
    with report.progress() as advance, raised_as(DataError):
        given = _read(asked, settings, advance)
        advance("classifying", 0.7)
        name, item = (SLICE_NAME, SLICE) if given.is_frame else (NAME, ITEM)
        found = classify(
            given.counts,
            given.object_,
            support=given.support,
            scattering=given.scattering,
            engine=trained_engine(settings.engine, name, item),
            sure=settings.defects.sure,
        )
        if picture is not None:
            advance("drawing", 0.8)
            write_defects(_drawn(asked.source, given, found, settings), picture)
    for note in given.notes:
        report.note(f"note: {note}")
    report.table(str(asked.source), [*_rows(found, given), *([("picture", str(picture))] if picture else [])])
    rotation = None if given.scattering is None else along_q(given.scattering.q)
    report.finish(
        defects_record(found, rotation)
        | {"geometry_known": given.scattering is not None, "picture": None if picture is None else str(picture)}
    )


def _read(asked: Asked, settings: Settings, advance: Callable[[str, float], None]) -> _Given:
    def read(share: float) -> None:
        advance("reading", 0.2 * share)

    if asked.dataset or asked.source.suffix == ".npy":
        given = _array(read_counts(asked.source, "", asked.dataset, settings, read), settings)
        return replace(given, notes=(*given.notes, *_unused(asked, settings)))
    if not asked.scan and _is_result(asked.source):
        result = read_result(asked.source)
        known = scattering_of(result.basis_nm, result.q_lab, settings)
        unused = ["--fast is not used: a result holds no pattern"] if asked.fast else []
        notes = (*_of_trust(known, result.figures.doubt), *unused)
        return _Given(object_=result.object_, support=result.support, scattering=known, notes=notes)
    volume = read_volume(asked.source, asked.scan, settings, read)
    prepared, basis_nm, q_lab = crop_of(volume, settings)
    scattering = scattering_of(basis_nm, q_lab, settings)
    crystal, doubt = None, ""
    if not asked.fast:
        advance("inverting", 0.3)
        crystal = _crystal(prepared, lines_sought(settings.phasing, basis_nm, q_lab), settings)
        *_, doubt = trust_of(crystal, prepared, volume)
    return _Given(
        counts=_filled(prepared.intensity, prepared.mask, settings),
        object_=None if crystal is None else crystal.object_,
        support=None if crystal is None else crystal.support,
        scattering=scattering,
        notes=(*prepared.notes, *prepared.warnings, *_of_trust(scattering, doubt)),
    )


def _unused(asked: Asked, settings: Settings) -> list[str]:
    """What was asked that an array cannot use: nobody knows how it was measured, and it is not inverted."""
    words = {"scan": asked.scan, "--fast": asked.fast, "reflection": settings.defects.reflection}
    unused = ", ".join(word for word, said in words.items() if said)
    return [f"not used for an array: {unused}"] if unused else []


def _of_trust(scattering: Scattering, doubt: str) -> list[str]:
    """What speaks against the reflection, and against the crystal."""
    return [*filter(None, [odd_lattice(scattering), doubt and f"doubtful, and so is its class: {doubt}"])]


def _array(plain: Given, settings: Settings) -> _Given:
    """Counts that are no scan, cut so that their peak lies in the middle."""
    require_counts(plain.counts, plain.mask)
    seen = np.where(plain.mask, plain.counts, np.float32(0.0))
    if not seen.any():
        raise DataError("nothing was counted: there is no pattern to classify")
    peak = np.unravel_index(gaussian_filter(seen, PEAK_VOXELS).argmax(), seen.shape)
    edges = [min(int(at), n - 1 - int(at)) for at, n in zip(peak, seen.shape, strict=True)]
    if all(abs(int(at) - n // 2) <= OFF_VOXELS for at, n in zip(peak, seen.shape, strict=True)):
        return _Given(counts=_filled(plain.counts, plain.mask, settings), notes=plain.notes)
    if min(edges) < LEAST_VOXELS:
        raise DataError(
            f"the peak lies at {[int(at) for at in peak]} of {list(seen.shape)}: at the edge, nothing to tell"
        )
    box = tuple(slice(int(at) - edge, int(at) + edge + 1) for at, edge in zip(peak, edges, strict=True))
    note = f"cut to {[2 * edge + 1 for edge in edges]} about the peak at {[int(at) for at in peak]}"
    return _Given(counts=_filled(plain.counts[box], plain.mask[box], settings), notes=(*plain.notes, note))


def _filled(counts: NDArray[np.float32], mask: NDArray[np.bool_], settings: Settings) -> NDArray[np.float32]:
    return filled(counts, mask, inpainter=_inpainter(mask, settings))


def _inpainter(mask: NDArray[np.bool_], settings: Settings) -> Engine | None:
    return None if mask.all() else trained_engine(settings.engine, INPAINTER, INPAINTED, BATCH)


def _crystal(prepared: Preprocessed, lines: NDArray[np.float64] | None, settings: Settings) -> Phased:
    """The crystal of a crop, told by the network and refined."""
    begun = invert(
        prepared.intensity,
        prepared.mask,
        engine=trained_engine(settings.engine, INVERTER, INVERTED),
        inpainter=_inpainter(prepared.mask, settings),
        scale=prepared.scale,
        background=prepared.background,
    )
    return refine(
        prepared.counts,
        prepared.mask,
        begun.object_,
        phasing_config(settings.phasing),
        lines=lines,
        budget_s=REFINED_S,
        scale=prepared.scale,
        background=prepared.background,
    ).phased


def _is_result(path: Path) -> bool:
    try:
        with h5py.File(path) as file:
            return "entry_1/process_1/recipe" in file
    except OSError:
        return False  # whoever reads it says why


def _drawn(source: Path, given: _Given, found: DefectReport, settings: Settings) -> Drawn:
    """What the picture shows; the evidence is of the network itself, whatever engine ran it."""
    name = SLICE_NAME if given.is_frame else NAME
    network = registry.build(registry.network(name, settings.engine.networks or registry.ROOT))
    if given.counts is not None:
        counts = given.counts
    elif given.object_ is not None:
        counts = pattern_of(given.object_)
    return Drawn(
        title=source.stem,
        found=found,
        counts=counts,
        evidence=evidence(counts, network, given.scattering),
        object_=given.object_,
        support=given.support,
    )


def _rows(found: DefectReport, given: _Given) -> list[tuple[str, str]]:
    likely = sorted(found.probabilities.items(), key=lambda pair: -pair[1])[:3]
    none = f", none as likely as {found.sure:g}" if found.abstained else ""
    rows = [
        ("defect", found.label.value),
        ("probability", ", ".join(f"{name.value} {share:.2f}" for name, share in likely) + none),
        ("geometry", _known(given.scattering)),
    ]
    if found.label == DefectClass.PERFECT:
        rows.append(("not seen", "dislocations whose g.b is 0 for this reflection"))
    if given.object_ is None:
        return rows
    rows.append(("lines", str(len(found.lines))))
    rows += [(f"line {number}", _where(place)) for number, place in enumerate(found.places, 1)]
    return rows


def _known(scattering: Scattering | None) -> str:
    if scattering is None:
        return "unknown: edge and screw are told apart less well"
    if scattering.lattice_nm is None:
        return "known; its --reflection is not: edge and screw are told apart less well"
    named = " ".join(map(str, scattering.reflection or ()))
    return f"known; reflection {named} of a lattice of {scattering.lattice_nm:.4f} nm"


def _where(place: Place) -> str:
    """Where a line lies, and what its Burgers vector is."""
    where = ", ".join(f"{part:.1f}" for part in place.middle_nm)
    along = ", ".join(f"{part:.2f}" for part in place.direction)
    said = (
        f"at ({where}) nm along ({along}), straight to {place.error_nm:.1f} nm rms, {place.length_nm:.0f} nm long,"
        f" b along Q {place.burgers_nm:+.3f} nm"
    )
    told = place.character
    if told is None:
        return said
    parts = (("edge part", told.edge_nm), ("screw part", abs(told.screw_nm)))
    split = told.split
    ribbon = () if split is None or split.width < NARROWEST_RIBBON else (("ribbon of fault", split.width_nm),)
    known = [f"{name} {length:.2f} nm" for name, length in (*parts, *ribbon) if np.isfinite(length)]
    return ", ".join([said, *known, f"explains the phase to {told.misfit:.2f} rad"])
