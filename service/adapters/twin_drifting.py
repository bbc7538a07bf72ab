"""A crystal on the twin that walks out of beam and reflection while it changes: latents and motors to be followed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from models.invert.directions import Directions, Frame, changing
from models.simulate.goniometer import Drift, reflected_hz
from service.adapters.latent_axes import BesideLatents, LatentAxis
from service.adapters.twin_beamline import TwinBeamline
from service.adapters.twin_scene import BEAM_M, ROCKING_DEG, Scene, beamline, near, plan, where_aligned
from service.alignment.plan import Plan, PlannedAxis
from service.records import Exposure

WIDTHS = {"x": BEAM_M, "y": BEAM_M, "eta": ROCKING_DEG}
# Everything walks by this share of its width a second, to one side, and swings by so much about that.
WALKED, SWING = (0.005, 0.01), 0.25
# Nothing begins better known than to this share of its width (standard deviation).
BEGUN = 0.1
# What a plan is told: how fast all may walk, and how well its place is wanted, in widths.
DRIFT, TOLERANCE = 0.02, 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Latent:
    """Bounds of a latent, where it begins, and its width at half height of the agreement, about."""

    low: float
    high: float
    begins: float
    width: float


LATENTS: Mapping[str, Latent] = {
    "radius": Latent(low=0.5, high=1.5, begins=1.0, width=0.2),
    "stretch": Latent(low=-0.6, high=0.6, begins=0.0, width=0.25),
    "strain": Latent(low=-1.0, high=4.0, begins=1.5, width=0.8),
}


class Drifting(NamedTuple):
    """A `scene` of motors, the `crystal`, how its latents drift, and where their axes begin."""

    scene: Scene
    crystal: Directions
    drifts: Mapping[str, Drift]
    start: Mapping[str, float]

    def latents(self, time_s: float) -> dict[str, float]:
        """Return the true latents at a time."""
        return {name: latent.begins + self.drifts[name].at(time_s) for name, latent in LATENTS.items()}


def drifting(seed: int) -> Drifting:
    """Return a crystal nearly aligned and nearly known, which in 500 exposures is neither any more."""
    random = np.random.default_rng((seed, 2))
    goniometer = replace(near(seed).goniometer, drifts={name: _drift(random, width) for name, width in WIDTHS.items()})
    start = {name: at + BEGUN * WIDTHS[name] * random.normal() for name, at in where_aligned(goniometer).items()}
    return Drifting(
        scene=Scene(goniometer, start, seed),
        crystal=changing(),
        drifts={name: _drift(random, latent.width) for name, latent in LATENTS.items()},
        start={name: latent.begins + BEGUN * latent.width * random.normal() for name, latent in LATENTS.items()},
    )


def follow_plan(method: str, most: int, latents: Sequence[str] = tuple(LATENTS)) -> Plan:
    """Return the plan that follows the motors and these latents by a method that can."""
    motors = plan(method, most)
    axes = {name: axis.model_copy(update={"drift": DRIFT * axis.width}) for name, axis in motors.axes.items()} | {
        name: _planned(LATENTS[name]) for name in latents
    }
    return motors.model_copy(update={"axes": axes, "follow": True})


def beside_latents(drifting: Drifting) -> tuple[BesideLatents, TwinBeamline]:
    """Return the beamline of motors and latents at the start, on a new clock, and the twin behind it."""
    twin = beamline(drifting.scene)
    camera = Camera(drifting, twin)
    axes = {name: LatentAxis(name, drifting.start[name], latent.low, latent.high) for name, latent in LATENTS.items()}
    return BesideLatents(twin, axes, camera.seen, drifting.crystal.frame), twin


class Camera:
    """Shares an exposure's photons out among pixels: those of the crystal by its pattern, those of the background
    evenly. Poisson's noise stays Poisson's.
    """

    def __init__(self, drifting: Drifting, twin: TwinBeamline) -> None:
        self._drifting, self._twin = drifting, twin
        self._random = np.random.default_rng((drifting.scene.seed, 3))

    def seen(self, exposure: Exposure) -> Frame:
        pattern = self._drifting.crystal.frame(self._drifting.latents(exposure.taken_s)).astype(np.float64)
        background = self._twin.background_hz / reflected_hz(self._drifting.scene.goniometer, self._twin.off())
        shares = (1.0 - background) * pattern / pattern.sum() + background / pattern.size
        counts = self._random.multinomial(int(exposure.value), shares.ravel() / shares.sum())
        return counts.reshape(pattern.shape).astype(np.float32)


def _planned(latent: Latent) -> PlannedAxis:
    return PlannedAxis(
        low=latent.low, high=latent.high, width=latent.width, tolerance=TOLERANCE * latent.width,
        drift=DRIFT * latent.width, largest_step=latent.width, largest_rate=2.0 * latent.width,
    )  # fmt: skip


def _drift(random: np.random.Generator, width: float) -> Drift:
    return Drift(
        rate=width * random.uniform(*WALKED) * random.choice((-1.0, 1.0)), swing=SWING * width,
        phase_rad=random.uniform(0.0, math.tau),
    )  # fmt: skip
