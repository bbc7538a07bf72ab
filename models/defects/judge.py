"""The lines of a crystal weigh what a network makes of its pattern: Bayes' rule over a few things that lines show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np

from models.defects.jumps import Jumps
from models.defects.report import Character, DefectClass, Split
from models.defects.vortices import Vortex

Probabilities = Mapping[DefectClass, float]


class Seen(StrEnum):
    """What a crystal has: no line, and then nothing at all, a phase that winds about a few voxels, one that jumps in a
    small or a large part of a plane or all through it; one line, several, or one that closes.
    """

    NONE = "none"
    WOUND = "wound"
    NICKED = "nicked"
    TORN = "torn"
    CUT = "cut"
    ONE = "one"
    SEVERAL = "several"
    LOOP = "loop"


# A loop winds around so many faces of voxels; a phase jumps over so much of a cross-section where a crystal is nicked
# and where it is torn, and over nearly all of its plane where it is cut; over more than planes are large it is noise.
FEWEST_WOUND, LEAST_NICKED, LEAST_TORN, LEAST_CUT = 10, 0.12, 0.25, 0.96
MOST_TORN = 2.5
# Share of the crystals of a class in which each of Seen is seen, of 490 validation crystals and 60 of grains (1e6 to
# 1e8 counts, 120 of them inverted, the others as they are), and a few of each so that nothing is impossible.
LINES: Mapping[DefectClass, tuple[float, ...]] = {
    DefectClass.PERFECT: (0.845, 0.010, 0.075, 0.025, 0.010, 0.015, 0.010, 0.010),
    DefectClass.EDGE: (0.015, 0.005, 0.005, 0.010, 0.005, 0.930, 0.020, 0.010),
    DefectClass.SCREW: (0.015, 0.005, 0.005, 0.010, 0.005, 0.930, 0.020, 0.010),
    DefectClass.MIXED: (0.015, 0.005, 0.005, 0.010, 0.005, 0.930, 0.020, 0.010),
    DefectClass.PARTIAL: (0.020, 0.005, 0.030, 0.300, 0.030, 0.560, 0.040, 0.015),
    DefectClass.LOOP: (0.030, 0.150, 0.010, 0.020, 0.005, 0.060, 0.040, 0.685),
    DefectClass.STACKING_FAULT: (0.030, 0.005, 0.020, 0.080, 0.840, 0.010, 0.010, 0.005),
    DefectClass.TWIN: (0.960, 0.005, 0.010, 0.005, 0.005, 0.005, 0.005, 0.005),
    DefectClass.MULTIPLE: (0.015, 0.010, 0.005, 0.020, 0.010, 0.230, 0.680, 0.030),
    DefectClass.UNKNOWN: (0.250, 0.030, 0.040, 0.100, 0.080, 0.330, 0.140, 0.030),
}
# Share of those with lines whose phase jumps over JUMPING of a cross-section elsewhere, as between grains.
JUMPING = 0.15
JUMPS = {DefectClass.UNKNOWN: 0.50, DefectClass.MULTIPLE: 0.05, DefectClass.PARTIAL: 0.15}
OTHER_JUMPS = 0.03
SINGLE = (DefectClass.SCREW, DefectClass.MIXED, DefectClass.EDGE, DefectClass.PARTIAL)
# Where no ribbon was fitted, as where nobody knows how long the Burgers vector is: angle between it and the line,
# degrees, and misfit of the harmonic, rad; mean and standard deviation of the angle, median of the misfit and standard
# deviation of its logarithm.
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
# Of all other classes each angle is as likely, and lines fit worse.
ANY_ANGLE, OTHER_MISFIT = 1.0 / 90.0, (0.40, 0.7)
# Where one was: how likely each of split.WIDTHS is in a ribbon that is told as one and in one that is not, the loss
# that is noise, and half of how many independent phases there are.
RIBBON = (0.0, 0.0, 0.01, 0.03, 0.12, 0.14, 0.18, 0.15, 0.11, 0.09, 0.08, 0.09)
NO_RIBBON = (0.28, 0.32, 0.22, 0.13, 0.04, 0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
LEAST_LOSS, PHASES = 0.001, 20.0
# Screws and edges are off by so much, degrees, but for some lines of any angle and width; mixed ones lie between.
OFF_DEG, ASTRAY, MIXED_DEG = 7.0, 0.04, (15.0, 75.0)
# rms of the phase that is left, rad: median and standard deviation of its logarithm, of one line and of all else.
LEFT, OTHER_LEFT = (0.13, 0.7), (0.55, 0.5)
# Below that share of its usual amplitude a crystal is dark inside: shares of those of the classes and of odd ones.
DARK, DARK_SHARES = 0.5, {False: 0.007, True: 0.5}
# Of odd crystals a network has seen one kind: none is as unlikely as it says.
LEAST_ODD = 0.02


def seen(lines: Sequence[Vortex], jumps: Jumps | None = None) -> Seen:
    """Return what `lines` these are, and where there are none how the phase jumps."""
    if not lines:
        return Seen.NONE if jumps is None else _without_lines(jumps)
    if any(line.closed for line in lines):
        return Seen.LOOP
    return Seen.ONE if len(lines) == 1 else Seen.SEVERAL


def _without_lines(jumps: Jumps) -> Seen:
    if jumps.wound >= FEWEST_WOUND:
        return Seen.WOUND
    if jumps.area < LEAST_NICKED or jumps.area > MOST_TORN:
        return Seen.NONE
    if jumps.area < LEAST_TORN:
        return Seen.NICKED
    return Seen.CUT if jumps.across >= LEAST_CUT else Seen.TORN


def judged(
    before: Probabilities,
    lines: Sequence[Vortex],
    told: Character | None = None,
    length_nm: float | None = None,
    darkness: float = 1.0,
    jumps: Jumps | None = None,
) -> dict[DefectClass, float]:
    """Return the probabilities `before`, of a pattern, in the light of the `lines` of its crystal.

    `told` of the only line, None where it tells nothing; `length_nm` of its Burgers vector where it is known;
    `darkness` of its inside, see `body.darkest`; `jumps` of its phase.
    """
    which = list(Seen).index(seen(lines, jumps))
    weights = {name: share * LINES[name][which] for name, share in before.items()}
    if lines and jumps is not None:
        jumping = {name: JUMPS.get(name, OTHER_JUMPS) for name in weights}
        weights = {
            name: share * (jumping[name] if jumps.area > JUMPING else 1.0 - jumping[name])
            for name, share in weights.items()
        }
    if darkness < DARK:
        weights[DefectClass.UNKNOWN] = max(weights[DefectClass.UNKNOWN], LEAST_ODD)
        weights = {name: share * DARK_SHARES[name == DefectClass.UNKNOWN] for name, share in weights.items()}
    if told is not None:
        weights = {name: share * _likelihood(name, told, length_nm) for name, share in weights.items()}
    total = sum(weights.values())
    return {name: share / total for name, share in weights.items()} if total > 0.0 else dict(before)


def _likelihood(name: DefectClass, told: Character, length_nm: float | None) -> float:
    if told.split is not None:
        return _likelihood_of_split(name, told.split)
    median, sigma = MISFITS.get(name, OTHER_MISFIT)
    likely = _normal(math.log(max(told.misfit, 1e-3) / median), 0.0, sigma)
    angle_deg = told.angle_deg(length_nm)
    if not np.isfinite(angle_deg):
        return likely
    return likely * (_normal(angle_deg, *ANGLES_DEG[name]) if name in ANGLES_DEG else ANY_ANGLE)


def _likelihood_of_split(name: DefectClass, split: Split) -> float:
    losses = np.array(split.losses) + LEAST_LOSS
    widths = (losses / losses.min()) ** -PHASES
    single = name in SINGLE
    median, sigma = LEFT if single else OTHER_LEFT
    likely = _normal(math.log(math.sqrt(2.0 * float(losses.min())) / median), 0.0, sigma)
    if not single:
        return likely * float(widths.mean()) * ANY_ANGLE
    share = np.array(RIBBON if name == DefectClass.PARTIAL else NO_RIBBON)
    share = (1.0 - ASTRAY) * share + ASTRAY / len(share)
    angles = np.array([_angle_likelihood(name, math.degrees(angle)) for angle in split.angles_rad])
    return likely * float((widths * share * angles).sum())


def _angle_likelihood(name: DefectClass, angle_deg: float) -> float:
    """Return the density of an angle, 0 to 90 degrees, per degree."""
    if name == DefectClass.PARTIAL:
        return ANY_ANGLE
    if name == DefectClass.MIXED:
        low, high = MIXED_DEG
        steep = OFF_DEG * math.sqrt(2.0)
        inside = 0.5 * (math.erf((angle_deg - low) / steep) + math.erf((high - angle_deg) / steep))
        return (1.0 - ASTRAY) * inside / (high - low) + ASTRAY * ANY_ANGLE
    off_deg = angle_deg if name == DefectClass.SCREW else 90.0 - angle_deg
    return (1.0 - ASTRAY) * 2.0 * _normal(off_deg, 0.0, OFF_DEG) + ASTRAY * ANY_ANGLE


def _normal(value: float, mean: float, sigma: float) -> float:
    return math.exp(-0.5 * ((value - mean) / sigma) ** 2) / (sigma * math.sqrt(2.0 * math.pi))
