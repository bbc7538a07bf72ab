"""Eucentric height: the crystal brought onto the axis of rotation, so that it stays in the beam as it turns."""

from __future__ import annotations

import math
from dataclasses import dataclass

from service.alignment.procedures.bench import Bench
from service.alignment.procedures.rotation import Rotation, centre_of_rotation
from service.errors import DataError

# How sure it must be that the crystal stays within the tolerance, in deviations of its distance from the axis.
SURE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Height:
    """`rounds`, how far the crystal was off the axis each time; `wander`, how far it may go across the beam at most
    over the angles; `positions` of the translations in the end, in their own unit.
    """

    rounds: tuple[Rotation, ...]
    wander: float
    positions: dict[str, float]

    def figures(self) -> dict[str, object]:
        last = self.rounds[-1]
        return {
            "off": last.off, "deviation": last.deviation, "wander": self.wander, "positions": self.positions,
            "rounds": [each.off for each in self.rounds],
        }  # fmt: skip


def eucentric_height(bench: Bench) -> Height:
    """Look for the centre of rotation and correct, until the crystal wanders no farther than the settings allow.

    Raises DataError where it does not come nearer, ChainEnded where a stage fails.
    """
    settings = bench.settings
    allowed = settings.wander * bench.axis(settings.across).width
    rounds: list[Rotation] = []
    while len(rounds) < settings.rounds:
        rounds.append(centre_of_rotation(bench))
        wander = _wander(rounds[-1], settings.angles_deg)
        if wander <= allowed:
            positions = {name: bench.position(name) for name in rounds[-1].moves}
            return Height(rounds=tuple(rounds), wander=wander, positions=positions)
        _must_shrink(rounds)
        bench.go("correct", {name: bench.position(name) + way for name, way in rounds[-1].moves.items()})
    raise DataError(f"eucentric height: wanders by {wander:.6g} after {len(rounds)} rounds, allowed {allowed:.6g}")


def _wander(rotation: Rotation, angles_deg: tuple[float, ...]) -> float:
    return (abs(rotation.off) + SURE * rotation.deviation) * math.radians(max(map(abs, angles_deg)))


def _must_shrink(rounds: list[Rotation]) -> None:
    if len(rounds) > 1:
        before, now = rounds[-2], rounds[-1]
        if abs(now.off) - SURE * now.deviation > abs(before.off) + SURE * before.deviation:
            raise DataError(
                f"eucentric height: from {before.off:.6g} off the axis the correction led to {now.off:.6g}; "
                "is procedures.sense the other one?"
            )
