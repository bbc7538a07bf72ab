"""Crystals on the twin's goniometer, lost by a little or by far, and what it means to be aligned."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from models.simulate.goniometer import Drift, Goniometer, Offset, Profile, beam_profile, offset, reflected_hz
from service.adapters.twin_beamline import TwinBeamline
from service.alignment.plan import Plan, PlannedAxis
from service.settings import AxisSettings

BEAM_M, ROCKING_DEG = 500e-9, 0.05
# Aligned: to so many beam sizes along x and y, and degrees of eta.
BEAM_SIZES, DEGREES = 0.05, 0.005
NEAR_WIDTHS, CENTRED_WIDTHS = 2.0, 0.33
FAR_BEAM_SIZES, FAR_DEG = 20.0, 2.0
SIGMAS = 3.0
EXPOSURE_S = 0.1
LIMIT_M, LIMIT_DEG = 100e-6, 8.0
# Piezo translations and a rotation stage.
TRANSLATION = {"velocity": 5e-6, "unit": "m", "backlash": 20e-9, "encoder_noise": 3e-9}
ROTATION = {"velocity": 1.0, "unit": "deg", "backlash": 5e-4, "encoder_noise": 1e-4}


class Scene(NamedTuple):
    goniometer: Goniometer
    start: dict[str, float]
    seed: int


def near(seed: int, beam: Profile = beam_profile) -> Scene:
    """A start within two beam sizes and two rocking widths, where the signal is three deviations of the background."""
    random = np.random.default_rng((seed, 0))
    goniometer, aligned = _mounted(random)
    goniometer = replace(goniometer, beam=beam)
    while True:
        start = {
            axis: at + random.uniform(-NEAR_WIDTHS, NEAR_WIDTHS) * (ROCKING_DEG if axis == "eta" else BEAM_M)
            for axis, at in aligned.items()
        }
        background = goniometer.background_hz * EXPOSURE_S
        signal = reflected_hz(goniometer, offset(goniometer, start, 0.0)) * EXPOSURE_S - background
        if signal >= SIGMAS * math.sqrt(background):
            return Scene(goniometer, start, seed)


def centred(seed: int) -> Scene:
    """A start in the beam and on the reflection, to a third of their widths."""
    random = np.random.default_rng((seed, 2))
    goniometer, aligned = _mounted(random)
    off = {"x": CENTRED_WIDTHS * BEAM_M, "y": CENTRED_WIDTHS * BEAM_M, "eta": CENTRED_WIDTHS * ROCKING_DEG}
    start = {axis: at + random.uniform(-off[axis], off[axis]) for axis, at in aligned.items()}
    return Scene(goniometer, start, seed)


def far(seed: int) -> Scene:
    """A start 20 beam sizes away, in any direction, and 2 degrees."""
    random = np.random.default_rng((seed, 1))
    goniometer, aligned = _mounted(random)
    angle = random.uniform(0.0, math.tau)
    away = {
        "x": FAR_BEAM_SIZES * BEAM_M * math.cos(angle),
        "y": FAR_BEAM_SIZES * BEAM_M * math.sin(angle),
        "eta": FAR_DEG * random.choice((-1.0, 1.0)),
    }
    return Scene(goniometer, {axis: at + away[axis] for axis, at in aligned.items()}, seed)


def beamline(scene: Scene) -> TwinBeamline:
    """The scene's beamline at its start, on a new clock."""
    axes = {
        axis: AxisSettings(
            position=at, low_limit=-limit, high_limit=limit, **(ROTATION if axis == "eta" else TRANSLATION)
        )
        for axis, at in {**scene.start, "z": 0.0}.items()
        for limit in [LIMIT_DEG if axis == "eta" else LIMIT_M]
    }
    return TwinBeamline(scene.goniometer, axes, exposure_s=EXPOSURE_S, seed=scene.seed)


def plan(method: str, most: int) -> Plan:
    """What every way is told: limits, widths and how well the place is wanted."""
    rotation = PlannedAxis(
        low=-LIMIT_DEG, high=LIMIT_DEG, width=ROCKING_DEG, tolerance=0.03 * ROCKING_DEG, drift=5e-6,
        largest_step=5.0 * ROCKING_DEG, disagreement=0.2 * ROCKING_DEG, fringed=True,
    )  # fmt: skip
    background = Goniometer().background_hz * EXPOSURE_S
    return Plan(
        axes={"x": translation(), "y": translation(), "eta": rotation}, method=method, background=background,
        most_exposures=most, collapse_share=0.0,
    )  # fmt: skip


def translation() -> PlannedAxis:
    return PlannedAxis(
        low=-LIMIT_M, high=LIMIT_M, width=BEAM_M, tolerance=0.017 * BEAM_M, drift=1e-9, largest_step=3.0 * BEAM_M,
        disagreement=0.2 * BEAM_M,
    )  # fmt: skip


def aligned(off: Offset) -> bool:
    return max(abs(off.x_m), abs(off.y_m)) <= BEAM_SIZES * BEAM_M and abs(off.eta_deg) <= DEGREES


def _mounted(random: np.random.Generator) -> tuple[Goniometer, dict[str, float]]:
    """A goniometer with a crystal somewhere on it, and the positions that align it at 0 s."""
    goniometer = Goniometer(
        crystal_m=(random.uniform(-5e-6, 5e-6), random.uniform(-5e-6, 5e-6), random.uniform(-50e-6, 50e-6)),
        reflection_deg=random.uniform(-2.0, 2.0),
        skew_deg=random.normal(0.0, 1.0),
        confusion_m=100e-9,
        drifts={
            "x": _drift(random, rate=0.3e-9, swing=5e-9),
            "y": _drift(random, rate=0.3e-9, swing=5e-9),
            "eta": _drift(random, rate=1e-6, swing=2e-4),
        },
        beam_fwhm_m=(BEAM_M, BEAM_M),
        rocking_fwhm_deg=ROCKING_DEG,
    )
    return goniometer, where_aligned(goniometer)


def where_aligned(goniometer: Goniometer, time_s: float = 0.0) -> dict[str, float]:
    """Return the positions of x, y and eta that align a goniometer's crystal at a time."""
    at = {"x": 0.0, "y": 0.0, "eta": goniometer.reflection_deg}
    for _ in range(20):  # nearly orthogonal axes: each brings its own offset to nothing
        off = offset(goniometer, at, time_s)
        at = {"x": at["x"] - off.x_m, "y": at["y"] - off.y_m, "eta": at["eta"] - off.eta_deg}
    return at


def _drift(random: np.random.Generator, rate: float, swing: float) -> Drift:
    return Drift(rate=random.normal(0.0, rate), swing=swing, phase_rad=random.uniform(0.0, math.tau))
