"""`braggloop classify`: what is wrong with the crystal of a scan, a result or an array of counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from models import registry
from models.bcdi.geometry import ANGSTROM_PER_NM
from models.bcdi.phasing import PhasingConfig
from models.bcdi.preprocess import Preprocessed
from models.defects.evidence import evidence
from models.defects.predict import ITEM, NAME, SLICE, SLICE_NAME, classify, filled
from models.defects.report import DefectClass, DefectReport, Place, Scattering
from models.invert.predict import invert
from models.invert.refine import refine
from service.commands.reconstruct import read_volume
from service.commands.repair import read_counts
from service.commands.report import Report
from service.compose import trained_engine
from service.errors import DataError, raised_as
from service.pipeline import crop_of
from service.results.defects import Drawn, write_defects
from service.results.nexus import read_result
from service.results.summary import defects_record
from service.settings import Settings

# Of phase retrieval that begins with the network's crystal; its first round always runs.
REFINED_S = 2.0


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
    """What a file holds: `counts` float32 and `mask` bool, [z, y, x] or one frame, or a complex `object_`, or all."""

    counts: NDArray[np.float32] | None = None
    mask: NDArray[np.bool_] | None = None
    object_: NDArray[np.complex64] | None = None
    scattering: Scattering | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_frame(self) -> bool:
        """Whether the counts are one frame [y, x]."""
        return self.counts is not None and self.counts.ndim == 2


def classify_file(asked: Asked, picture: Path | None, settings: Settings, report: Report) -> None:
    """Tell what is wrong with the crystal in a recorded scan, a result, a NumPy file or a dataset, and draw what
    decided to `picture`. Raises SourceError, DataError or SettingsError in one line.
    """
    with report.progress() as advance:
        given = _read(asked, settings, lambda share: advance("reading", 0.5 * share))
        advance("classifying", 0.6)
        with raised_as(DataError):
            name, item = (SLICE_NAME, SLICE) if given.is_frame else (NAME, ITEM)
            engine = trained_engine(settings.engine, name, item)
            found = classify(
                given.counts, given.object_, mask=given.mask, scattering=given.scattering, engine=engine,
                sure=settings.defects.sure,
            )  # fmt: skip
        if picture is not None:
            advance("drawing", 0.8)
            write_defects(_drawn(asked.source, given, found, settings), picture)
    for note in given.notes:
        report.note(f"note: {note}")
    report.table(str(asked.source), [*_rows(found, given), *([("picture", str(picture))] if picture else [])])
    report.finish(
        defects_record(found)
        | {"geometry_known": given.scattering is not None, "picture": None if picture is None else str(picture)}
    )


def _read(asked: Asked, settings: Settings, advance: Callable[[float], None]) -> _Given:
    if asked.dataset or asked.source.suffix == ".npy":
        plain = read_counts(asked.source, "", asked.dataset, settings, advance)
        return _Given(counts=plain.counts, mask=plain.mask, notes=plain.notes)
    if not asked.scan and _is_result(asked.source):
        result = read_result(asked.source)
        q = result.q_lab * ANGSTROM_PER_NM
        known = Scattering(basis_nm=result.basis_nm, q=q, reflection=settings.defects.reflection)
        return _Given(object_=result.object_, scattering=known)
    prepared, basis_nm, q_lab = crop_of(read_volume(asked.source, asked.scan, settings, advance), settings)
    return _Given(
        counts=prepared.intensity,
        mask=prepared.mask,
        object_=None if asked.fast else _crystal(prepared),
        scattering=Scattering(basis_nm=basis_nm, q=q_lab * ANGSTROM_PER_NM, reflection=settings.defects.reflection),
        notes=(*prepared.notes, *prepared.warnings),
    )


def _crystal(prepared: Preprocessed) -> NDArray[np.complex64]:
    """The crystal of a crop, told by the network and refined."""
    with raised_as(DataError):
        begun = invert(prepared.intensity, prepared.mask, scale=prepared.scale, background=prepared.background)
        refined = refine(
            prepared.counts, prepared.mask, begun.object_, PhasingConfig(), budget_s=REFINED_S, scale=prepared.scale,
            background=prepared.background,
        )  # fmt: skip
    return refined.phased.object_


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
    counts = filled(given.counts, given.mask, given.object_)
    label = max(found.probabilities, key=found.probabilities.__getitem__)
    return Drawn(
        title=source.stem,
        found=found,
        counts=counts,
        evidence=evidence(counts, label, network, given.scattering),
        object_=given.object_,
    )


def _rows(found: DefectReport, given: _Given) -> list[tuple[str, str]]:
    likely = sorted(found.probabilities.items(), key=lambda pair: -pair[1])[:3]
    rows = [
        ("defect", found.label.value),
        ("probability", ", ".join(f"{name.value} {share:.2f}" for name, share in likely)),
        ("geometry", "known" if given.scattering else "unknown: edge and screw are told apart less well"),
    ]
    if found.label == DefectClass.PERFECT:
        rows.append(("not seen", "dislocations whose g.b is 0 for this reflection"))
    if given.object_ is None:
        return rows
    rows.append(("lines", str(len(found.lines))))
    rows += [(f"line {number}", _where(place)) for number, place in enumerate(found.places, 1)]
    return rows


def _where(place: Place) -> str:
    """Where a line lies, and what its Burgers vector is."""
    where = ", ".join(f"{part:.1f}" for part in place.middle_nm)
    said = f"at ({where}) nm, {place.length_nm:.0f} nm long, b along Q {place.burgers_nm:+.3f} nm"
    told = place.character
    parts = () if told is None else (("edge", told.edge_nm), ("screw", abs(told.screw_nm)))
    known = [f"{name} part {length:.2f} nm" for name, length in parts if np.isfinite(length)]
    return ", ".join([said, *known])
