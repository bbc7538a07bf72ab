"""A crystal that is nowhere: found first by what shines at any angle, then by its reflection, then aligned.

spiral      x and y, in the fluorescence, outwards until it shines
middle      x and y, on its peak
tilt        the same at another angle: how far the crystal lies from the axis of rotation
height      z brings it onto the axis: it stays in the beam as eta turns
middle      x and y once more
sweep       eta, in the reflection
align       as planned
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from service.alignment.chain import Chain, ChainEnded, Stage, part
from service.alignment.plan import Plan, PlannedAxis
from service.alignment.rotation_centre import correction, two_angles
from service.errors import DataError
from service.ports import Beamline

# A look in passing, s; the fluorescence is centred with exposures as long as those of the alignment.
COARSE_S = 0.03
# Where the crystal is in the fluorescence is wanted to this share of its width: enough to see the reflection.
CENTRED = 0.05
# The crystal must stay in sight of its former place when it is tilted.
TILT_DEG = 0.5
# How far the reflection may be from where eta stands, in rocking widths; the tilt comes on top.
SWEPT = 60.0
MOST = 20_000

Count = Callable[[str, float], Beamline]
"""count(counter, seconds) -> the beamline, counting with that counter for so long."""


@dataclass(slots=True, kw_only=True)
class Finder:
    """`plan` of x, y and eta, `height` of z, which it moves along the beam; `rates_hz` of each counter without crystal.

    Every stage is one of the `chain`.
    """

    plan: Plan
    height: PlannedAxis
    rates_hz: Mapping[str, float]
    exposure_s: float
    count: Count
    chain: Chain

    def run(self) -> tuple[Stage, ...]:
        """Go through the stages; return those that were tried, the last one unsuccessful or `align`."""
        with contextlib.suppress(ChainEnded, DataError):
            self._stages()
        return tuple(self.chain.done)

    def _stages(self) -> None:
        across = {name: self.plan.axes[name] for name in ("x", "y")}
        loosely = {name: axis.model_copy(update={"tolerance": CENTRED * axis.width}) for name, axis in across.items()}
        angle = {"eta": self.plan.axes["eta"]}

        self._stage("spiral", across, "spiral", "fluorescence", COARSE_S)
        self._stage("middle", loosely, "peak", "fluorescence", self.exposure_s)
        before = self._positions()
        self._go("tilt", angle, (before["eta"] + TILT_DEG,))
        self._stage("tilted", loosely, "peak", "fluorescence", self.exposure_s)
        after = self._positions()
        centre = two_angles((before["y"], after["y"]), (before["eta"], after["eta"]))
        across_m, along_m = correction(centre.along_m, after["eta"])
        height = {"y": self.plan.axes["y"], "z": self.height}
        self._go("height", height, (after["y"] + across_m, after["z"] + along_m))
        self._stage("middle", loosely, "peak", "fluorescence", self.exposure_s)
        self._stage("sweep", angle, "sweep", "reflection", COARSE_S)
        self._run("align", self.plan, "reflection", self.exposure_s)

    def _stage(self, name: str, axes: Mapping[str, PlannedAxis], method: str, counter: str, seconds: float) -> None:
        background = self.rates_hz[counter] * seconds
        self._run(name, self._part(axes, method=method, background=background), counter, seconds)

    def _go(self, name: str, axes: Mapping[str, PlannedAxis], positions: tuple[float, ...]) -> None:
        self._run(name, self._part(axes, method="goto", goto=positions), "fluorescence", COARSE_S)

    def _part(self, axes: Mapping[str, PlannedAxis], **changes: object) -> Plan:
        if changes.get("method") in ("spiral", "sweep"):
            changes = {"most_exposures": MOST, "reach": SWEPT, **changes}
        return part(self.plan, axes, **changes)

    def _run(self, name: str, plan: Plan, counter: str, seconds: float) -> None:
        self.chain.run(name, plan, self.count(counter, seconds))

    def _positions(self) -> dict[str, float]:
        axes = self.count("fluorescence", COARSE_S).axes
        return {name: axis.read() for name, axis in axes.items()}
