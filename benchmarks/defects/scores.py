"""How right probabilities are: accuracies with their intervals, confusion, calibration, abstention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.defects.ways import CLASS_NAMES, Told

THREE = ("perfect", "edge", "screw")
BINS = 10
DRAWS = 200
Z = 1.959964  # of a 95 % interval


class Share(NamedTuple):
    """A share of `count` cases with its 95 % interval (Wilson, J. Am. Stat. Assoc. 22 (1927) 209)."""

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f}, {self.count})"


def share(right: Sequence[bool] | NDArray[np.bool_]) -> Share:
    """Return the share that is right; NaN of nothing."""
    count = len(right)
    if not count:
        return Share(math.nan, math.nan, math.nan, 0)
    value = float(np.mean(right))
    middle = (value + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z * math.sqrt(value * (1 - value) / count + Z**2 / (4 * count**2)) / (1 + Z**2 / count)
    return Share(value, max(middle - half, 0.0), min(middle + half, 1.0), count)


def three_class(told: Sequence[Told]) -> dict[str, Share]:
    """Return the accuracy among perfect, edge and screw, of those that are one of them, and by each."""
    those = [one for one in told if one.truth in THREE]
    right = {name: [_among(one, THREE) == name for one in those if one.truth == name] for name in THREE}
    return {"overall": share([one for ones in right.values() for one in ones])} | {
        name: share(ones) for name, ones in right.items()
    }


def confusion(told: Sequence[Told]) -> NDArray[np.int64]:
    """Return how many of each class (rows) are called what (columns), in the order of CLASS_NAMES."""
    counts = np.zeros((len(CLASS_NAMES),) * 2, np.int64)
    for one in told:
        counts[CLASS_NAMES.index(one.truth), CLASS_NAMES.index(_among(one, CLASS_NAMES))] += 1
    return counts


def calibration_error(told: Sequence[Told]) -> float:
    """Return the expected calibration error of what is called, over BINS of its probability (Naeini et al. 2015); NaN
    of nothing.
    """
    return _calibration_error(*_sure_and_right(told))


def least_calibration_error(told: Sequence[Told]) -> float:
    """Return what that would be, on average, were each as often right as it is sure: few cases never come to 0."""
    sure, _ = _sure_and_right(told)
    drawn = np.random.default_rng(0).uniform(size=(DRAWS, len(sure))) < sure
    return float(np.mean([_calibration_error(sure, right) for right in drawn]))


def _calibration_error(sure: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    if not len(sure):
        return math.nan
    numbers = np.minimum((sure * BINS).astype(int), BINS - 1)
    parts = [(numbers == n) for n in range(BINS)]
    return float(sum(part.mean() * abs(sure[part].mean() - right[part].mean()) for part in parts if part.any()))


def answered(told: Sequence[Told], sure: float) -> tuple[Share, Share]:
    """Return the share that is answered where a class must be as likely as `sure`, and how many of those are right.

    Who calls a crystal unknown does not answer, however sure of that.
    """
    _, right = _sure_and_right(told)
    some = np.array([call != "unknown" for call in called(told, sure)], bool)
    return share(some), share(right[some])


def false_flags(told: Sequence[Told], sure: float) -> Share:
    """Return the share of perfect crystals that are called something else, and not unknown."""
    perfect = [one for one in told if one.truth == "perfect"]
    return share([call not in ("perfect", "unknown") for call in called(perfect, sure)])


def called(told: Sequence[Told], sure: float) -> list[str]:
    """Return what each is called, unknown where nothing is as likely as `sure`."""
    names = [_among(one, CLASS_NAMES) for one in told]
    return [name if one.probabilities[name] >= sure else "unknown" for one, name in zip(told, names, strict=True)]


def _sure_and_right(told: Sequence[Told]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    names = [_among(one, CLASS_NAMES) for one in told]
    sure = np.array([one.probabilities[name] for one, name in zip(told, names, strict=True)])
    return sure, np.array([one.truth == name for one, name in zip(told, names, strict=True)])


def _among(one: Told, names: Sequence[str]) -> str:
    return max(names, key=lambda name: one.probabilities[name])
