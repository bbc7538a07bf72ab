"""What an alignment drives up: a number out of what Tango attributes tell, of one term or of several.

The sum over terms of weight * measure / scale; centring and distance count as squares, which are smooth at the target,
so that a paraboloid finds it. What cannot be measured is NaN, and so is the whole: the loop then measures again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.fringes import fringe_visibility
from models.rocking_curve import full_width
from models.spot import Frame, counting_pixels, spot_centre
from service.alignment.term import FEWEST_READINGS, MISSES, Term

Read = Mapping[str, Any]
"""Attribute -> what was read: a number, a vector or an image; None where it has no value."""
Region = tuple[int, int, int, int]

# The median absolute deviation of a Gaussian of sigma 1.
MAD_PER_SIGMA = 0.6745
# Few counts have a long tail, and its mean must not lose it: their deviation is taken for that of so many more.
FEW_COUNTS = 2.0


class Averaged(NamedTuple):
    """Mean `value` of readings, of which so many were `left_out`."""

    value: float
    left_out: int = 0


def combined(
    terms: Mapping[str, Term], readings: Iterable[Read], outliers: float = math.inf, counts: bool = False
) -> Averaged:
    """Return what the terms make of all readings of one point; NaN where a term of one is. See `averaged`.

    Raises ValueError, with the term's name, where an attribute is not what its measure is of.
    """
    return averaged([score(terms, read) for read in readings], outliers, counts)


def score(terms: Mapping[str, Term], read: Read) -> float:
    """Return the weighted sum of the terms of one reading; NaN where one is. Raises ValueError as `combined`."""
    total = 0.0
    for name, term in terms.items():
        try:
            measured = MEASURES[term.measure](term, read) / term.scale
        except (ValueError, TypeError) as error:
            raise ValueError(f"objective {name}: {error}") from error
        total += term.signed * (measured**2 if term.measure in MISSES else measured)
    return total if math.isfinite(total) else math.nan


def averaged(values: ArrayLike, outliers: float = math.inf, counts: bool = False) -> Averaged:
    """Return the mean of `values` (readings,) but for those too far from their median; NaN where one is not finite.

    Too far is more than `outliers` median absolute deviations; that of `counts` is at least Poisson's, or a 1 beside
    many zeros would be left out. Fewer than five readings are all taken: they do not tell which of them is wild.
    """
    all_of_them = np.asarray(values, dtype=np.float64)
    if not all_of_them.size or not np.all(np.isfinite(all_of_them)):
        return Averaged(math.nan)
    if len(all_of_them) < FEWEST_READINGS:
        return Averaged(float(all_of_them.mean()))
    middle = float(np.median(all_of_them))
    off = np.abs(all_of_them - middle)
    least = MAD_PER_SIGMA * math.sqrt(max(middle, 0.0) + FEW_COUNTS) if counts else 0.0
    far = max(float(np.median(off)), least)
    # Where most readings are alike their deviation tells nothing of the others.
    judged = math.isfinite(outliers) and far > 0.0
    kept = all_of_them[off <= outliers * far] if judged else all_of_them
    return Averaged(float(kept.mean()), len(all_of_them) - len(kept))


def region_sum(frame: Frame, region: Region) -> float:
    """Return the counts of a frame [row, column] in a region; NaN where no pixel of it counts.

    Pixels that do not count are left out (`models.spot.counting_pixels`), saturated ones among them where the detector
    marks them so. Raises ValueError where the region is not within the frame.
    """
    part = _cut(frame, region)
    good = counting_pixels(part)
    return float(np.sum(part, where=good, dtype=np.float64)) if good.any() else math.nan


def off_centre(frame: Frame, target: Sequence[float]) -> float:
    """Return the distance of the brightest spot of a frame [row, column] from a target (row, column), px.

    NaN where no spot stands out of the background. See `models.spot.spot_centre`.
    """
    row, column = spot_centre(frame)
    return math.hypot(row - target[0], column - target[1])


def distance(vector: ArrayLike, target: ArrayLike, scale: ArrayLike = 1.0) -> float:
    """Return the Euclidean distance of a vector (components,) from a target, in `scale`, one for all or one each.

    NaN where a component is not finite. Raises ValueError where lengths differ.
    """
    here, there = np.asarray(vector, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if here.shape != there.shape:
        raise ValueError(f"got a vector of shape {here.shape}, expected {there.shape} as the target has")
    return float(np.linalg.norm((here - there) / np.asarray(scale, dtype=np.float64)))


def _cut(frame: Frame, region: Region) -> Frame:
    first, end, left, right = region
    if frame.ndim != 2 or end > frame.shape[0] or right > frame.shape[1]:
        raise ValueError(f"region {list(region)} is not within an image of shape {frame.shape}")
    return frame[first:end, left:right]


def _number(term: Term, read: Read) -> float:
    value = read[term.attribute]
    if value is None:
        return math.nan
    if np.ndim(value):
        raise ValueError(f"got shape {np.shape(value)}, expected a number")
    return float(value)


def _of_array(measure: Callable[[Frame, Term], float]) -> Callable[[Term, Read], float]:
    def measured(term: Term, read: Read) -> float:
        value = read[term.attribute]
        return math.nan if value is None else measure(np.asarray(value), term)

    return measured


def _centring(frame: Frame, term: Term) -> float:
    row, column = term.target
    if term.region is None:
        return off_centre(frame, term.target)
    return off_centre(_cut(frame, term.region), (row - term.region[0], column - term.region[2]))


def _visibility(frame: Frame, term: Term) -> float:
    assert term.region is not None
    assert term.spacing_px is not None
    return fringe_visibility(_cut(frame, term.region), term.spacing_px)


def _width(term: Term, read: Read) -> float:
    values = read[term.attribute]
    positions = read[term.positions] if term.positions else np.arange(np.size(values))
    return math.nan if values is None or positions is None else full_width(positions, values)


def _distance(values: NDArray[np.generic], term: Term) -> float:
    return distance(values, term.target)


def _sum(frame: Frame, term: Term) -> float:
    assert term.region is not None
    return region_sum(frame, term.region)


MEASURES: Mapping[str, Callable[[Term, Read], float]] = {
    "value": _number,
    "region": _of_array(_sum),
    "centring": _of_array(_centring),
    "visibility": _of_array(_visibility),
    "width": _width,
    "distance": _of_array(_distance),
}
