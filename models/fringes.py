"""How much contrast the fringes beside a Bragg peak have: what partial coherence, vibration and defocus take away.

Fringes are I = E (1 + V cos(k r + a)) under an envelope E, and V = (I_max - I_min) / (I_max + I_min) is their
visibility (Michelson). Those of a slit of full coherence have V = 1: sin^2 u / u^2 = (1 - cos 2u) / 2 u^2. In partly
coherent light V is the modulus of the degree of coherence between the edges that interfere (Born and Wolf, Principles
of Optics, 10.3 and 10.4; for the fringes of crystals Leake et al., Opt. Express 17 (2009) 15853), which is the
transform of the kernel that blurs the intensity, at the fringes' frequency.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from models.spot import Counts, Frame, Mask, counting_pixels

# The envelope is the counts under a Gaussian of so many fringes: it keeps exp(-2 pi^2 0.5^2) = 0.7 % of them.
SMOOTH = 0.5
# Fringes are looked for at spacings from this share of the one that was given to its inverse.
LEAST_SPACING = 0.75
# Samples of the spectrum for each one that is independent.
FINER = 2
# Noise alone looks like a visibility of about 0.27 in so many counts, of 0.12 in four times as many.
FEWEST_COUNTS = 500.0


def fringe_visibility(frame: Frame, spacing_px: float) -> float:
    """Return the visibility of fringes about `spacing_px` apart, in any direction, in a frame [row, column].

    The frame is the part of an image beside the peak, without it, where the fringes run one way, three of them or more.
    The strongest wave of about that spacing is taken, within 3 % of V where the envelope falls off as a slit's. The
    power that the noise of counts has on average is taken off; NaN for fewer than FEWEST_COUNTS. Pixels that do not
    count are left out (`models.spot.counting_pixels`). 0 or more; above 1 only by noise. Raises ValueError where it is
    no frame, or too small for two fringes.
    """
    good = counting_pixels(frame)
    if not spacing_px > 2.0 or max(frame.shape) < 2.0 * spacing_px:
        raise ValueError(
            f"fringes {spacing_px:g} px apart in a region of {frame.shape[0]} x {frame.shape[1]} px: expected more"
            " than 2 px, and two fringes along one side"
        )
    counts = np.where(good, frame, 0).astype(np.float64)
    envelope = _envelope(counts, good, SMOOTH * spacing_px)
    window = _window(frame.shape) * good
    total = float(np.sum(window * counts))
    if counts.sum() < FEWEST_COUNTS:
        return math.nan
    strongest = float(np.max(_power(window * (counts - envelope), spacing_px)))
    # Sum over pixels of w E (1 + V cos) exp(-i k r): the wave is V / 2 of all counts, their noise is their number.
    return 2.0 * math.sqrt(max(strongest - float(np.sum(np.square(window) * counts)), 0.0)) / total


def _window(shape: tuple[int, ...]) -> Counts:
    """Hann's: the envelope rises towards the peak, and the edge of a region would leak into all frequencies."""
    rows, columns = (np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2 for length in shape)
    return np.asarray(rows[:, None] * columns[None, :])


def _envelope(counts: Counts, good: Mask, sigma: float) -> Counts:
    weight = ndimage.gaussian_filter(good.astype(np.float64), sigma)
    return np.asarray(ndimage.gaussian_filter(counts, sigma) / np.maximum(weight, 1e-6))


def _power(values: Counts, spacing_px: float) -> Counts:
    """Squared modulus of the transform at the frequencies of about one wave a spacing, float64 [frequencies]."""
    shape = [FINER * length for length in values.shape]
    found = np.fft.rfft2(values, shape)
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]) * spacing_px
    wanted = (frequency >= LEAST_SPACING) & (frequency <= 1.0 / LEAST_SPACING)
    return np.asarray(np.square(np.abs(found[wanted])))
