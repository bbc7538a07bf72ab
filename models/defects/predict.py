"""The classifier in use: a slice, a volume or a reconstructed crystal in, what is wrong with it out."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import registry
from models.counts import require_counts
from models.defects import view as volumes
from models.defects.body import body_of, darkest
from models.defects.character import character
from models.defects.classes import CLASSES
from models.defects.judge import judged
from models.defects.jumps import jumps
from models.defects.report import Character, DefectClass, DefectReport, Place, Scattering
from models.defects.view import CHANNELS
from models.defects.vortices import Vortex, vortices
from models.defects_slice import view as frames
from models.engine.port import Engine
from models.engine.torch import TorchEngine
from models.inpaint.predict import inpaint
from models.invert.view import EDGE
from models.simulate.diffraction import far_field

NAME = "defects"
ITEM = (CHANNELS, EDGE, EDGE, EDGE)  # what an engine must take
SLICE_NAME = "defects_slice"
SLICE = (frames.CHANNELS, 1, frames.EDGE, frames.EDGE)
# Logits are divided by these. By cross entropy (`benchmarks.defects --only temperature`) both would be 1.1; that of
# volumes stays, as the tables of the judge were counted with it.
TEMPERATURE, SLICE_TEMPERATURE = 0.9, 1.1
# Of a class that is less likely than this nothing is said.
SURE = 0.6
# Counts that the pattern of a crystal alone is scaled to, where nobody says how many were measured.
COUNTS = 1e7


def classify(
    intensity: NDArray[np.float32] | None = None,
    obj: NDArray[np.complex64] | None = None,
    *,
    mask: NDArray[np.bool_] | None = None,
    support: NDArray[np.bool_] | None = None,
    scattering: Scattering | None = None,
    engine: Engine | None = None,
    inpainter: Engine | None = None,
    sure: float = SURE,
) -> DefectReport:
    """Tell which defect of an fcc crystal one Bragg peak shows, from its pattern, from the crystal behind it, or from
    both.

    `intensity` float32 counts [z, y, x], the peak near index n // 2, or, without an object, one frame [y, x] through
    it; `mask` bool of the same shape, True where a voxel was seen (None: everywhere), gaps are filled by `inpainter`
    first; `obj` complex64 [z, y, x], origin at n // 2, whose lines are found by geometry within its `support` bool, if
    that is given, and whose pattern, without noise, is classified too.
    `scattering` of the voxels, where it is known: edge and screw are told apart better, by the phase around a line
    best. A class that is less likely than `sure` is not called. `engine` runs the network on items of ITEM (of a frame:
    SLICE); the one that comes with Braggloop where None. Safe in streaming. Raises ValueError in one line where neither
    is given, nothing was counted, shapes do not fit, or the network's answer is no number.
    """
    if not 0.0 <= sure < 1.0:
        raise ValueError(f"sure is {sure}: expected 0 or more and less than 1")
    if support is not None and (obj is None or support.shape != obj.shape):
        told = "there is no object" if obj is None else f"the object has {obj.shape}"
        raise ValueError(f"the support has shape {support.shape}: {told}")
    patterns = _patterns(intensity, mask, obj, inpainter)
    is_frame = patterns[0].ndim == 2
    engine = engine or (slice_engine() if is_frame else default_engine())
    shown = torch.cat([view_of(pattern, scattering) for pattern in patterns])
    logits = torch.cat([engine.run(one[None].to(engine.device)).cpu() for one in shown])
    probable = probabilities(logits.mean(0), SLICE_TEMPERATURE if is_frame else TEMPERATURE)
    lines: tuple[Vortex, ...] = ()
    places: tuple[Place, ...] = ()
    if obj is not None:
        inside = None if support is None else np.asarray(support, bool)
        probable, lines, places = _weighed(probable, obj, inside, scattering)
    label = max(probable, key=probable.__getitem__)
    if probable[label] < sure:
        label = DefectClass.UNKNOWN
    return DefectReport(
        label=label,
        probabilities=probable,
        sure=sure,
        lines=lines,
        places=places,
        count=_count(label, len(lines)),
    )


def _weighed(
    before: Mapping[DefectClass, float],
    obj: NDArray[np.complex64],
    support: NDArray[np.bool_] | None,
    scattering: Scattering | None,
) -> tuple[dict[DefectClass, float], tuple[Vortex, ...], tuple[Place, ...]]:
    """Return the probabilities in the light of the lines of an object, these lines, and where they are known to lie."""
    body = body_of(obj, support)
    lines, dark = vortices(obj, body), darkest(obj, body)
    jumping = jumps(obj, body, lines)
    if scattering is None:
        return judged(before, lines, darkness=dark, jumps=jumping), lines, ()
    told = character(obj, lines[0], scattering, body) if len(lines) == 1 else None
    places = tuple(place(line, scattering, obj.shape, told) for line in lines)
    return judged(before, lines, told, scattering.burgers_length_nm, dark, jumping), lines, places


def view_of(pattern: Tensor, scattering: Scattering | None) -> Tensor:
    """Return what the network of a volume or of a frame takes of `pattern` float32 ([z,] y, x), a batch of one."""
    view: ModuleType = frames if pattern.ndim == 2 else volumes
    if scattering is None:
        shown: Tensor = view.skewed(pattern[None])
    else:
        shown = view.upright(pattern[None], *volumes.as_tensors(scattering))
    return shown


def probabilities(logits: Tensor, temperature: float) -> dict[DefectClass, float]:
    """Return the calibrated probability of each class from `logits` (classes,); raise ValueError where these are no
    numbers.
    """
    if not torch.isfinite(logits).all():
        raise ValueError("the network's answer is no number: does its engine overflow?")
    told = torch.softmax(logits.double() / temperature, -1)
    return dict(zip(CLASSES, told.tolist(), strict=True))


def place(line: Vortex, scattering: Scattering, shape: tuple[int, ...], told: Character | None = None) -> Place:
    """Return where a line of an object of `shape` [z, y, x] lies; `told` of it where it is the only one.

    Around it the phase -Q.u gains 2 pi turns right-handed in the order z, y, x of the voxels, whose steps may be
    left-handed. A normal is no step: it turns with the inverse of the basis.
    """
    basis_nm = scattering.basis_nm
    hand = float(np.sign(np.linalg.det(basis_nm)))
    points_nm = (line.points - np.array(shape) // 2) @ basis_nm.T
    direction = hand * np.linalg.inv(basis_nm).T @ line.direction if line.closed else basis_nm @ line.direction
    direction = direction / np.linalg.norm(direction)
    middle_nm = points_nm.mean(0)
    longest = np.linalg.svd(points_nm - middle_nm, full_matrices=False)[2][0]
    turns = round(hand) * line.turns if told is None else told.turns
    return Place(
        middle_nm=middle_nm,
        direction=direction,
        turns=turns,
        length_nm=float(np.ptp(points_nm @ (longest if line.closed else direction))),
        error_nm=line.spread * abs(float(np.linalg.det(basis_nm))) ** (1.0 / 3.0),
        burgers_nm=-turns * 2.0 * np.pi / float(np.linalg.norm(scattering.q)),
        character=told,
    )


def _count(label: DefectClass, lines: int) -> int:
    """How many defects a crystal of this class with so many lines has, at least."""
    if label == DefectClass.PERFECT:
        return 0
    return max(lines, {DefectClass.UNKNOWN: 0, DefectClass.MULTIPLE: 2}.get(label, 1))


def filled(
    intensity: NDArray[np.float32], mask: NDArray[np.bool_] | None = None, inpainter: Engine | None = None
) -> NDArray[np.float32]:
    """Return the counts ([z,] y, x) with their gaps filled, as they are classified; raises what `classify` does."""
    return _pattern_of_counts(intensity, mask, inpainter).numpy()


def pattern_of(obj: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Return the pattern [z, y, x] of an object, as it is classified; raises what `classify` does."""
    return _pattern_of_object(obj, None).numpy()


def _patterns(
    intensity: NDArray[np.float32] | None,
    mask: NDArray[np.bool_] | None,
    obj: NDArray[np.complex64] | None,
    inpainter: Engine | None,
) -> list[Tensor]:
    found = []
    if intensity is not None:
        found.append(_pattern_of_counts(intensity, mask, inpainter))
    if obj is not None:
        found.append(_pattern_of_object(obj, found[0] if found else None))
    if not found:
        raise ValueError("nothing to classify: give an intensity, an object, or both")
    return found


def _pattern_of_counts(
    intensity: NDArray[np.float32], mask: NDArray[np.bool_] | None, inpainter: Engine | None
) -> Tensor:
    if intensity.ndim not in (2, 3):
        raise ValueError(f"counts have shape {intensity.shape}: expected a volume [z, y, x] or a frame [y, x]")
    seen = np.ones(intensity.shape, bool) if mask is None else np.asarray(mask, bool)
    require_counts(intensity, seen)
    if not intensity[seen].any():
        raise ValueError("nothing was counted: there is no pattern to classify")
    return torch.from_numpy(inpaint(intensity, seen, engine=inpainter, guided=False).volume)


def _pattern_of_object(obj: NDArray[np.complex64], counts: Tensor | None) -> Tensor:
    if obj.ndim != 3 or not np.isfinite(obj).all() or not obj.any():
        raise ValueError(f"the object has shape {obj.shape}: expected a volume [z, y, x] of numbers, not all zero")
    if counts is not None and tuple(counts.shape) != obj.shape:
        raise ValueError(f"counts have shape {tuple(counts.shape)}, the object {obj.shape}: expected the same")
    pattern = far_field(torch.from_numpy(np.ascontiguousarray(obj, np.complex64))[None])[0].abs().square()
    return pattern * ((COUNTS if counts is None else float(counts.sum())) / pattern.sum())


@functools.cache
def default_engine() -> Engine:
    """Return the network that comes with Braggloop, on the CPU."""
    return TorchEngine(registry.build(registry.network(NAME)), ITEM)


@functools.cache
def slice_engine() -> Engine:
    """Return the network for single frames that comes with Braggloop, on the CPU."""
    return TorchEngine(registry.build(registry.network(SLICE_NAME)), SLICE)
