"""Tracking: a crystal that drifts is kept in the beam and on its reflection, for as long as a person allowed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from service.alignment.procedures.bench import Bench
from service.alignment.progress import Outcome, Progress
from service.errors import SettingsError

FOLLOWS = ("peak", "seeking")
# Of the arming so much is left for the way to the best point, s, and at most this share of it.
LEFT_S, LEFT_SHARE = 30.0, 0.1
LEAST_S = 1e-3  # where it is over already, the loop says so
HOUR_S = 3600.0


class Walk(NamedTuple):
    """Where the best point of an axis began and ended, how far it went, and at which pace (least squares)."""

    begun: float
    ended: float
    least: float
    most: float
    per_hour: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """`walks` of the best point by axis, once it was found; `exposures` and `seconds` that it took; how it `ended`."""

    walks: Mapping[str, Walk]
    exposures: int
    seconds: float
    ended: str

    def figures(self) -> dict[str, object]:
        return {
            "walked": {name: walk._asdict() for name, walk in self.walks.items()},
            "tracked_exposures": self.exposures, "tracked_s": self.seconds, "ended": self.ended,
        }  # fmt: skip


class _Best(NamedTuple):
    time_s: float
    best: Mapping[str, float]


def track(bench: Bench, exposures: int | None = None, seconds: float = math.inf) -> Track:
    """Follow the peak for so many `exposures` or `seconds`, whichever is over first; the arming is the limit.

    A Stop ends it, too; either way the axes end at the best point. Raises SettingsError where `seconds` are no time,
    ChainEnded where the crystal, the beam or an axis is lost.
    """
    if not seconds > 0.0:
        raise SettingsError(f"track: for {seconds} s; give a time above 0")
    left_s = bench.chain.left_s(bench.beamline)
    follow_s = max(min(seconds, left_s - min(LEFT_S, LEFT_SHARE * left_s)), LEAST_S)
    method = bench.plan.method if bench.plan.method in FOLLOWS else FOLLOWS[0]
    # Along the beam there is no peak, and the detector sees another one as it moves.
    others = {bench.settings.along, *(bench.settings.detector if bench.settings.target else ())}
    axes = [name for name in bench.plan.axes if name not in others]
    plan = bench.part(
        *axes, method=method, follow=True, follow_exposures=exposures, follow_s=follow_s,
        most_exposures=2**31, on_stop="best", collapse_share=bench.plan.collapse_share,
    )  # fmt: skip
    seen: list[_Best] = []

    def told(progress: Progress) -> None:
        if progress.best is not None and (not seen or progress.best != seen[-1].best):
            seen.append(_Best(bench.beamline.now_s(), progress.best))

    began_s = bench.beamline.now_s()
    stage = bench.chain.run("follow", plan, bench.beamline, (Outcome.ALIGNED, Outcome.STOPPED), told)
    return Track(
        walks={name: _walk(seen, name) for name in plan.axes} if seen else {},
        exposures=stage.progress.exposures,
        seconds=bench.beamline.now_s() - began_s,
        ended=str(stage.progress.outcome),
    )


def _walk(seen: list[_Best], axis: str) -> Walk:
    """Leave the first tenth out, in which the point was still looked for."""
    kept = seen[len(seen) // 10 :]
    at = np.array([each.best[axis] for each in kept])
    hours = np.array([each.time_s for each in kept]) / HOUR_S
    pace = float(np.polyfit(hours - hours.mean(), at, 1)[0]) if np.ptp(hours) > 0.0 else 0.0
    return Walk(float(at[0]), float(at[-1]), float(at.min()), float(at.max()), pace)
