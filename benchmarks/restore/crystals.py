"""What a gap does to the crystal: reconstructions with no gap, and with the gap masked, interpolated or inpainted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.restore.gaps import Case
from benchmarks.restore.interpolations import linear
from models.bcdi.modes import align
from models.bcdi.one_density import phase_retrieval_both_ways
from models.bcdi.pattern import Filled
from models.bcdi.phasing import Phased, PhasingConfig, phase_retrieval
from models.engine.port import Engine
from models.inpaint.predict import inpaint

Counts = NDArray[np.float32]
Mask = NDArray[np.bool_]
Object = NDArray[np.complex64]

CONFIG = PhasingConfig(starts=5, keep=3)
# Voxels whose amplitude is at least this share of the largest are of the crystal.
INSIDE = 0.3


UNITS = {"amplitude": "share", "phase": "rad", "strain": "rad a voxel"}


class Errors(NamedTuple):
    """Of a reconstruction against a reference, inside the crystal of the reference: root of the mean square of the
    amplitude (share of its mean), of the phase (rad), and of the phase's gradient (rad a voxel), which is the strain.
    """

    amplitude: float
    phase: float
    strain: float


@dataclass(frozen=True, slots=True)
class Way:
    """How a gap is met: what phase retrieval is given."""

    counts: Counts
    mask: Mask
    filled: Filled | None = None
    invert: Callable[..., Phased] = phase_retrieval


def ways(case: Case, engine: Engine) -> Mapping[str, Way]:
    """Return the ways to meet the gap of a case; the interpolated one takes what was interpolated as counted, the one
    "from one density" leaves the gap free and begins with crystals of one density, too.
    """
    hidden = np.where(case.mask, case.counts, np.float32(0.0))
    everything = np.ones_like(case.mask)
    found = inpaint(hidden, case.mask, engine=engine)
    filled = Filled(counts=found.volume, std=found.std)
    return {
        "no gap": Way(case.counts, everything),
        "gap masked": Way(hidden, case.mask),
        "gap masked, from one density": Way(hidden, case.mask, invert=phase_retrieval_both_ways),
        "gap interpolated": Way(linear(hidden, case.mask), everything),
        "gap inpainted, as counted": Way(found.volume, everything),
        "gap inpainted, weighted": Way(hidden, case.mask, filled),
    }


def errors_of(
    cases: Iterator[Case], engine: Engine, reference: Callable[[Case, Object], Object]
) -> dict[str, list[Errors]]:
    """Return the errors of each way, one a case; `reference` of a case and of its object without a gap is the truth."""
    found: dict[str, list[Errors]] = {}
    for case in cases:
        met = {name: reconstructed(way) for name, way in ways(case, engine).items()}
        truth = reference(case, met["no gap"])
        for name, object_ in met.items():
            found.setdefault(name, []).append(compared(object_, truth))
    return found


def reconstructed(way: Way) -> Object:
    return way.invert(way.counts, way.mask, CONFIG, filled=way.filled).object_


def compared(object_: Object, truth: Object) -> Errors:
    """Twin, shift and ramp removed; amplitudes scaled to the same mean inside."""
    found = align(object_, truth).object_
    inside = np.abs(truth) >= INSIDE * np.abs(truth).max()
    ratio = found[inside] * np.conj(truth[inside])
    found = found * np.exp(-1j * np.angle(ratio.sum()))
    one, other = (np.abs(o[inside]) / np.abs(o[inside]).mean() for o in (found, truth))
    off = np.where(inside, found * np.conj(truth), 0.0)
    slopes = []
    for axis in range(3):
        both = np.take(inside, range(1, inside.shape[axis]), axis) & np.take(
            inside, range(inside.shape[axis] - 1), axis
        )
        step = np.take(off, range(1, inside.shape[axis]), axis) * np.conj(
            np.take(off, range(inside.shape[axis] - 1), axis)
        )
        slopes.append(np.angle(step[both]))
    return Errors(
        amplitude=float(np.sqrt(np.mean((one - other) ** 2))),
        phase=float(np.sqrt(np.mean(np.angle(off[inside]) ** 2))),
        strain=float(np.sqrt(np.mean(np.concatenate(slopes) ** 2))),
    )


def simulated_reference(case: Case, _: Object) -> Object:
    """The object that was simulated."""
    assert case.object_ is not None
    return case.object_


def recorded_reference(_: Case, without_gap: Object) -> Object:
    """The object without a gap: of a real crystal nobody knows better."""
    return without_gap
