"""Ways to classify a crystal: from one frame, from the pattern, from the crystal behind it."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.defects.cases import Case, Inverted, Line
from models.bcdi.modes import align
from models.bcdi.phasing import PhasingConfig
from models.bcdi.wound import likely_lines
from models.defects import predict
from models.defects.predict import classify
from models.defects.report import DefectClass, DefectReport
from models.defects.vortices import Vortex, vortices
from models.files import written_whole
from models.invert.predict import invert
from models.invert.refine import refine

REFINED_S = 3.0
MODELS = Path(predict.__file__).parents[1]
# Rooms of models that no inversion depends on.
ELSEWHERE = ("defects", "simulate/atoms")


class Told(NamedTuple):
    """What a way tells of a case: `probabilities` by class, `off` voxels from the true line, NaN where neither line is
    alone; `hidden` as in Case; `seconds`.
    """

    truth: str
    hidden: bool
    probabilities: Mapping[str, float]
    off: float
    seconds: float


Way = Callable[[Case], tuple[DefectReport, float]]


def filled(case: Case) -> Case:
    """Return the case with its gaps filled, once for all ways but `frame`, so that none of these is timed with it."""
    return case._replace(filled=predict.filled(case.counts, case.mask))


def with_crystal(case: Case, folder: Path | None) -> Case:
    """Return the case with its crystal inverted; kept in `folder`, taken from there where the same pattern was inverted
    by the same code.
    """
    if folder is None:
        return case._replace(inverted=inverted(case))
    path = folder / f"{_key(case)}.npz"
    if path.exists():
        with np.load(path) as there:
            return case._replace(inverted=Inverted(there["object_"], float(there["seconds"])))
    found = inverted(case)
    with written_whole(path) as part, part.open("wb") as file:
        np.savez_compressed(file, object_=found.object_, seconds=found.seconds)
    return case._replace(inverted=found)


def _key(case: Case) -> str:
    """Return a digest of all that an inverted crystal depends on."""
    digest = hashlib.sha256(_inverting() + f"{REFINED_S}".encode())
    for values in (case.counts, case.mask, case.scattering.basis_nm, case.scattering.q):
        digest.update(values.tobytes())
    return digest.hexdigest()


@functools.cache
def _inverting() -> bytes:
    """Return a digest of the code and the weights of `models`, but for the rooms that classify or relax atoms."""
    digest = hashlib.sha256()
    for path in sorted(MODELS.rglob("*.*")):
        name = path.relative_to(MODELS).as_posix()
        if path.suffix in (".py", ".safetensors") and not name.startswith(ELSEWHERE):
            digest.update(name.encode() + path.read_bytes())
    return digest.digest()


def told(case: Case, way: Way) -> Told:
    """Return what a way tells of a case that is filled and, for `crystal`, inverted."""
    began_s = time.perf_counter()
    found, off = way(case)
    seconds = time.perf_counter() - began_s
    if way is crystal and case.inverted is not None:
        seconds += case.inverted.seconds
    return Told(
        case.name.value, case.hidden, {name.value: share for name, share in found.probabilities.items()}, off, seconds
    )


def frame(case: Case) -> tuple[DefectReport, float]:
    """One frame through the peak."""
    middle = case.counts.shape[0] // 2
    return classify(case.counts[middle], mask=case.mask[middle], scattering=case.scattering), float("nan")


def volume(case: Case) -> tuple[DefectReport, float]:
    """The pattern."""
    return classify(case.filled, scattering=case.scattering), float("nan")


def volume_alone(case: Case) -> tuple[DefectReport, float]:
    """The pattern, where nobody knows how it was measured."""
    return classify(case.filled), float("nan")


def crystal(case: Case) -> tuple[DefectReport, float]:
    """The pattern and the crystal that the network and phase retrieval make of it."""
    if case.inverted is None:
        raise ValueError("the crystal of this case was not inverted: see with_crystal")
    return of_object(case, case.inverted.object_)


def true_crystal(case: Case) -> tuple[DefectReport, float]:
    """The pattern and the crystal itself: what phase retrieval costs."""
    return of_object(case, case.truth)


def of_object(case: Case, object_: NDArray[np.complex64]) -> tuple[DefectReport, float]:
    """Classify by pattern and object; measure how far its line is from the true one."""
    found = classify(case.filled, object_, scattering=case.scattering)
    return found, off_line(case, object_)


def inverted(case: Case) -> Inverted:
    """Return the crystal, told by the network and refined."""
    began_s = time.perf_counter()
    begun = invert(case.counts, case.mask)
    lines = likely_lines(case.scattering.basis_nm, case.scattering.q)
    found = refine(case.counts, case.mask, begun.object_, PhasingConfig(), lines=lines, budget_s=REFINED_S)
    return Inverted(found.phased.object_, time.perf_counter() - began_s)


def off_line(case: Case, object_: NDArray[np.complex64]) -> float:
    """Return how far the line of an object, brought onto the true one, is from the true line, voxels."""
    if case.line is None:
        return float("nan")
    lines = vortices(align(object_, case.truth).object_)
    return min((distance(line, case.line) for line in lines[:1]), default=float("nan"))


def distance(line: Vortex, true: Line) -> float:
    """Return the distance of the middle of a line from the true one, voxels of the object."""
    away = line.middle - true.middle
    return float(np.linalg.norm(away - (away @ true.direction) * true.direction))


WAYS: Mapping[str, Way] = {
    "frame": frame,
    "volume": volume,
    "volume, geometry unknown": volume_alone,
    "crystal": crystal,
    "true crystal": true_crystal,
}
CLASS_NAMES = tuple(name.value for name in DefectClass)
