"""A crystal on a goniometer in a focused beam: how far from the beam and from its reflection it is, and what counts.

Lengths in metres, angles in degrees, times in seconds. Laboratory: x across the beam and along the axis that `eta`
turns about, y up, z along the beam; the axis of `eta` meets the beam in the origin. The translations x, y, z ride on
it, so that a crystal off that axis wanders through the beam as `eta` turns:

    place = turned(eta) (crystal + skewed (x, y, z)) + confusion(eta) + drift(time)

Nothing here knows a clock or draws a random number: noise is the caller's, time is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

AXES = ("x", "y", "z", "eta")
# A focused beam has tails: this share of it is a Lorentzian of the same width.
TAIL = 0.1
# Width at half height of sinc(u)^2, in u, once it is blurred: the rocking curve of a plate (0.886 without).
SINC_FWHM = 0.9315
# Beam and crystal are not perfect: the rocking curve is that of a plate, blurred by this share of its width (sigma).
BLUR = 0.15
# Of the integral; too few repeat the curve farther out.
NODES = 1025


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How a place walks: steadily, `rate` a second, and to and fro by `swing` in each of `periods_s`, from 0 at 0 s."""

    rate: float = 0.0
    swing: float = 0.0
    periods_s: tuple[float, ...] = (300.0, 1100.0)
    phase_rad: float = 0.0

    def at(self, time_s: float) -> float:
        swings = (
            math.sin(math.tau * time_s / period + self.phase_rad) - math.sin(self.phase_rad)
            for period in self.periods_s
        )
        return self.rate * time_s + self.swing * sum(swings)


Profile = Callable[[float | NDArray[np.float64]], NDArray[np.float64]]
"""profile(off, in widths at half height) -> share of what hits in the middle, of the same shape."""


def beam_profile(off: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of the beam that hits a crystal `off` (any shape, in widths at half height) its middle."""
    square = np.square(np.asarray(off, dtype=np.float64))
    return np.asarray((1.0 - TAIL) * np.exp(-4.0 * math.log(2.0) * square) + TAIL / (1.0 + 4.0 * square))


@dataclass(frozen=True, slots=True, kw_only=True)
class Goniometer:
    """The crystal, its mount and the beam.

    `crystal_m` of the crystal in the turning frame when x, y and z stand at 0; `reflection_deg`, where `eta` meets the
    reflection; `skew_deg`, by which y leans towards x; `confusion_m`, amplitude of the wobble of the axis of `eta`
    along x and y, once a turn; `drifts` of x, y (m) and eta (degrees). `beam_fwhm_m` (x, y), the shape of the `beam`,
    `rocking_fwhm_deg`; `counts_hz` of the crystal in the middle of everything, `fluorescence_hz` of it in the beam at
    any angle, and what both counters tell without a crystal, `background_hz`.
    """

    crystal_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    reflection_deg: float = 0.0
    skew_deg: float = 0.0
    confusion_m: float = 0.0
    drifts: Mapping[str, Drift] = field(default_factory=dict)
    beam_fwhm_m: tuple[float, float] = (500e-9, 500e-9)
    beam: Profile = beam_profile
    rocking_fwhm_deg: float = 0.05
    counts_hz: float = 1e5
    fluorescence_hz: float = 2e3
    background_hz: float = 20.0


class Offset(NamedTuple):
    """How far the crystal is from the beam, along x and y, and `eta` from the reflection."""

    x_m: float
    y_m: float
    eta_deg: float


def offset(goniometer: Goniometer, positions: Mapping[str, float], time_s: float) -> Offset:
    """Return where the crystal is at `positions` of AXES (metres and degrees; 0 where not told) at a time."""
    x, y, z, eta = (float(positions.get(axis, 0.0)) for axis in AXES)
    turned, leaning = math.radians(eta), math.radians(goniometer.skew_deg)
    across, up, along = (
        start + moved
        for start, moved in zip(
            goniometer.crystal_m, (x + y * math.sin(leaning), y * math.cos(leaning), z), strict=True
        )
    )
    wobble = goniometer.confusion_m
    return Offset(
        x_m=across + wobble * math.cos(turned) - wobble + _drift(goniometer, "x", time_s),
        y_m=up * math.cos(turned) - along * math.sin(turned) + wobble * math.sin(turned)
        + _drift(goniometer, "y", time_s),
        eta_deg=eta - goniometer.reflection_deg + _drift(goniometer, "eta", time_s),
    )  # fmt: skip


def reflected_hz(goniometer: Goniometer, off: Offset) -> float:
    """Return the expected counts a second of the reflection, background with them."""
    rocking = float(rocking_curve(off.eta_deg / goniometer.rocking_fwhm_deg))
    return goniometer.counts_hz * _lit(goniometer, off) * rocking + goniometer.background_hz


def fluorescence_hz(goniometer: Goniometer, off: Offset) -> float:
    """Return the expected counts a second of the crystal's fluorescence, which does not ask for the angle."""
    return goniometer.fluorescence_hz * _lit(goniometer, off) + goniometer.background_hz


def rocking_curve(off: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the reflected share `off` (any shape, in widths at half height) the reflection: sinc squared, blurred.

    The Fourier transform of a triangle, damped: fringes stay, of a few per cent.
    """
    way, weights = _waves()
    waves = np.cos(math.tau * SINC_FWHM * np.multiply.outer(np.asarray(off, dtype=np.float64), way))
    curve: NDArray[np.float64] = waves @ weights / float(np.sum(weights))
    return curve


@cache
def _waves() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes of the integral over the triangle, and their weights; the same for every exposure."""
    way, step = np.linspace(0.0, 1.0, NODES, retstep=True)
    damped = (1.0 - way) * np.exp(-0.5 * np.square(math.tau * SINC_FWHM * BLUR * way))
    ends = np.full(NODES, step)
    ends[[0, -1]] *= 0.5
    return way, ends * damped


def _lit(goniometer: Goniometer, off: Offset) -> float:
    width_x, width_y = goniometer.beam_fwhm_m
    return float(goniometer.beam(off.x_m / width_x) * goniometer.beam(off.y_m / width_y))


def _drift(goniometer: Goniometer, axis: str, time_s: float) -> float:
    drift = goniometer.drifts.get(axis)
    return drift.at(time_s) if drift else 0.0
