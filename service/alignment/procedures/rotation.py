"""The centre of rotation: how far the crystal lies from the axis that turns it, and the move that brings it there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from service.alignment.procedures.bench import Bench
from service.alignment.rotation_centre import RotationCentre, correction, several_angles, two_angles

# Methods that look for the middle along one axis and end; others make way for the first.
CENTRING = ("peak", "scan", "golden", "parabola", "seeking", "bayesian")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """The crystal lies `off` the axis along the beam, in the frame that turns, to a standard `deviation`.

    `angles_deg` of the rotation at which it was centred, and the `centred` positions across the beam. `moves`, axis ->
    way, bring it onto the axis and keep it in the beam; `corrected` once they were made.
    """

    off: float
    deviation: float
    angles_deg: tuple[float, ...]
    centred: tuple[float, ...]
    moves: dict[str, float]
    corrected: bool

    def figures(self) -> dict[str, object]:
        return {
            "off": self.off, "deviation": self.deviation, "angles_deg": list(self.angles_deg),
            "centred": list(self.centred), "moves": self.moves, "corrected": self.corrected,
        }  # fmt: skip


class _Centred(NamedTuple):
    angle_deg: float
    position: float
    deviation: float
    time_s: float


def centre_of_rotation(bench: Bench, correct: bool = False) -> Rotation:
    """Centre the crystal, which is in the beam, across it at each angle; return how far it lies from the axis.

    Ends at the angle where it began, with the crystal in the beam; `correct` moves it onto the axis, too. Two angles
    are ID01's method, for small turns; more, over degrees, need not have the beam on the axis. Raises ChainEnded where
    the crystal is lost on the way.
    """
    settings = bench.settings
    for name in (settings.rotation, settings.across, settings.along):
        bench.axis(name)
    begun_deg = bench.position(settings.rotation)
    seen = [_centred(bench, begun_deg)]
    for angle in settings.angles_deg:
        there = {settings.rotation: begun_deg + angle, settings.across: _expected(seen, begun_deg + angle)}
        bench.go("turn", there)
        seen.append(_centred(bench, bench.position(settings.rotation)))
    centre = _centre(bench, seen[1:])
    middle = _expected(seen[1:], begun_deg)
    bench.go("back", {settings.rotation: begun_deg, settings.across: middle})
    across, along = correction(centre.along_m, settings.sense * begun_deg)
    moves = {settings.across: across, settings.along: along}
    if correct:
        bench.go("correct", {name: bench.position(name) + way for name, way in moves.items()})
    return Rotation(
        off=centre.along_m, deviation=centre.deviation_m, angles_deg=tuple(each.angle_deg for each in seen[1:]),
        centred=tuple(each.position for each in seen[1:]), moves=moves, corrected=correct,
    )  # fmt: skip


def _centred(bench: Bench, angle_deg: float) -> _Centred:
    across = bench.settings.across
    method = bench.plan.method if bench.plan.method in CENTRING else CENTRING[0]
    counts = bench.plan.counts or bench.centring is not bench.beamline
    stage = bench.chain.run("centre", bench.part(across, method=method, counts=counts), bench.centring)
    curve = bench.fitted(stage, across)
    times = [told.time_s for told in stage.told]
    return _Centred(angle_deg, curve.place, curve.deviations[0], sum(times) / len(times))


def _expected(seen: list[_Centred], angle_deg: float) -> float:
    """Where the crystal is centred at another angle: on the line through the two that are farthest apart."""
    first, last = min(seen), max(seen)
    turned = last.angle_deg - first.angle_deg
    slope = (last.position - first.position) / turned if turned else 0.0
    near = min(seen, key=lambda each: abs(each.angle_deg - angle_deg))
    return near.position + slope * (angle_deg - near.angle_deg)


def _centre(bench: Bench, seen: list[_Centred]) -> RotationCentre:
    """Distance and deviation: of the positions, and of what the crystal may have walked meanwhile."""
    sense, drift = bench.settings.sense, bench.axis(bench.settings.across).drift
    between_s = (seen[-1].time_s - seen[0].time_s) / (len(seen) - 1)
    variance = sum(each.deviation**2 for each in seen) / len(seen) + 0.5 * (drift * between_s) ** 2
    positions, angles = [each.position for each in seen], [sense * each.angle_deg for each in seen]
    if len(seen) > 2:
        return several_angles(positions, angles, math.sqrt(variance))
    slope = two_angles((positions[0], positions[1]), (angles[0], angles[1]), math.sqrt(variance))
    # A radian moves the centred position by the distance over the squared cosine.
    straight = math.cos(math.radians(sum(angles) / 2.0)) ** 2
    return RotationCentre(slope.along_m * straight, slope.deviation_m * straight)
