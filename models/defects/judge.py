"""The lines of a crystal weigh what a network makes of its pattern: Bayes' rule over a few things that lines show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np

from models.defects.report import Character, DefectClass
from models.defects.vortices import Vortex

Probabilities = Mapping[DefectClass, float]


class Seen(StrEnum):
    """What lines a crystal has."""

    NONE = "none"
    ONE = "one"
    SEVERAL = "several"
    LOOP = "loop"


# Share of the crystals of a class in whose reconstruction each of Seen is seen, of 198 validation crystals (1e6 to 1e8
# counts, begun with winding phases too, and refined), and a few of each so that nothing is impossible.
LINES: Mapping[DefectClass, tuple[float, float, float, float]] = {
    DefectClass.PERFECT: (0.97, 0.01, 0.01, 0.01),
    DefectClass.EDGE: (0.04, 0.92, 0.03, 0.01),
    DefectClass.SCREW: (0.04, 0.93, 0.02, 0.01),
    DefectClass.MIXED: (0.04, 0.93, 0.02, 0.01),
    DefectClass.PARTIAL: (0.18, 0.79, 0.02, 0.01),
    DefectClass.LOOP: (0.24, 0.02, 0.02, 0.72),
    DefectClass.STACKING_FAULT: (0.94, 0.04, 0.01, 0.01),
    DefectClass.TWIN: (0.97, 0.01, 0.01, 0.01),
    DefectClass.MULTIPLE: (0.05, 0.21, 0.72, 0.02),
    DefectClass.UNKNOWN: (0.39, 0.29, 0.24, 0.08),
}
# Angle between line and Burgers vector that is told, degrees, and its misfit, rad: mean and standard deviation of the
# angle, median of the misfit and standard deviation of its logarithm. A ribbon turns less than what it ends.
ANGLES_DEG = {
    DefectClass.SCREW: (8.0, 10.0),
    DefectClass.MIXED: (45.0, 18.0),
    DefectClass.EDGE: (82.0, 10.0),
    DefectClass.PARTIAL: (38.0, 18.0),
}
MISFITS = {
    DefectClass.SCREW: (0.12, 0.6),
    DefectClass.MIXED: (0.17, 0.6),
    DefectClass.EDGE: (0.15, 0.6),
    DefectClass.PARTIAL: (0.22, 0.6),
}
# Below that share of its usual amplitude a crystal is dark inside: shares of those of the classes and of odd ones.
DARK, DARK_SHARES = 0.5, {False: 0.007, True: 0.5}
# Of odd crystals a network has seen one kind: none is as unlikely as it says.
LEAST_ODD = 0.02
# Of all other classes each angle is as likely, and lines fit worse.
ANY_ANGLE, OTHER_MISFIT = 1.0 / 90.0, (0.40, 0.7)


def seen(lines: Sequence[Vortex]) -> Seen:
    """Return what lines these are."""
    if not lines:
        return Seen.NONE
    if any(line.closed for line in lines):
        return Seen.LOOP
    return Seen.ONE if len(lines) == 1 else Seen.SEVERAL


def judged(
    before: Probabilities,
    lines: Sequence[Vortex],
    told: Character | None = None,
    length_nm: float | None = None,
    darkness: float = 1.0,
) -> dict[DefectClass, float]:
    """Return the probabilities `before`, of a pattern, in the light of the `lines` of its crystal.

    `told` of the only line, None where it tells nothing; `length_nm` of its Burgers vector where it is known;
    `darkness` of its inside, see `body.darkest`.
    """
    which = list(Seen).index(seen(lines))
    weights = {name: share * LINES[name][which] for name, share in before.items()}
    if darkness < DARK:
        weights[DefectClass.UNKNOWN] = max(weights[DefectClass.UNKNOWN], LEAST_ODD)
        weights = {name: share * DARK_SHARES[name == DefectClass.UNKNOWN] for name, share in weights.items()}
    if told is not None:
        weights = {name: share * _likelihood(name, told, length_nm) for name, share in weights.items()}
    total = sum(weights.values())
    return {name: share / total for name, share in weights.items()} if total > 0.0 else dict(before)


def _likelihood(name: DefectClass, told: Character, length_nm: float | None) -> float:
    median, sigma = MISFITS.get(name, OTHER_MISFIT)
    likely = _normal(math.log(max(told.misfit, 1e-3) / median), 0.0, sigma)
    angle_deg = told.angle_deg(length_nm)
    if not np.isfinite(angle_deg):
        return likely
    return likely * (_normal(angle_deg, *ANGLES_DEG[name]) if name in ANGLES_DEG else ANY_ANGLE)


def _normal(value: float, mean: float, sigma: float) -> float:
    return math.exp(-0.5 * ((value - mean) / sigma) ** 2) / (sigma * math.sqrt(2.0 * math.pi))
