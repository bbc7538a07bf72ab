"""The frames of a rocking curve as they were counted: each in a beam and at a place of its own.

A beam that fluctuates by a few per cent and a motor that misses its steps by a tenth leave a pattern of many counts
that no crystal explains: the true one is then left for a wrong one. Both are fitted, frame by frame.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.bcdi.coherence import Kernel
from models.bcdi.pattern import Pattern

# How far doses (a share) and places (steps) are off before anything is known, and the farthest place.
DOSE_OFF, PLACE_OFF, FARTHEST = 0.05, 0.1, 0.3
# No dose may be less than this share of the others', or more than its inverse.
LEAST_DOSE = 0.5
FITS = 2  # each linear about the one before


class Frames:
    """Doses float32 [z], relative to their median, and places float32 [z], rocking steps beside the announced ones.

    In corner order, as everything here. A far field of frames is the transform of an object (n, z, y, x) at those
    places, and has an inverse.
    """

    def __init__(self, count: int, device: torch.device) -> None:
        self._index = torch.fft.fftfreq(count, 1.0 / count, device=device)
        self.take(torch.ones(count, device=device), torch.zeros(count, device=device))

    def take(self, dose: Tensor, place: Tensor) -> None:
        """Let the frames have these doses and places [z]."""
        self.dose, self.place = dose, place
        angle = -2.0 * math.pi / len(self._index) * (self._index + place)[:, None] * self._index
        self._transform = torch.polar(torch.ones_like(angle), angle)
        self._inverse = torch.linalg.inv(self._transform)

    def far_field(self, objects: Tensor) -> Tensor:
        """Return the far field of objects complex64 (n, z, y, x) in each frame, the same shape."""
        return self._along(self._transform, torch.fft.fft2(objects))

    def objects(self, far_field: Tensor) -> Tensor:
        """Return the objects of such a far field."""
        found: Tensor = torch.fft.ifft2(self._along(self._inverse, far_field))
        return found

    def measured(self, intensity: Tensor) -> Tensor:
        """Return intensities float32 (n, z, y, x) in the dose of each frame."""
        return intensity * self.dose[:, None, None]

    def refine(self, object_: Tensor, pattern: Pattern, kernel: Kernel) -> Tensor:
        """Fit doses and places to what the object complex64 [z, y, x] says of the counts.

        What it misses is taken for noise: an object that explains little moves no frame far. Returns the object with
        the median dose taken over.
        """
        counted = pattern.amplitude.square()
        for _ in range(FITS):
            psi = self.far_field(object_[None])[0]
            slope = self._along(self._transform * self._turning(), torch.fft.fft2(object_[None]))[0]
            told = kernel.apply(psi.real.square() + psi.imag.square())
            rise = kernel.blurred(2.0 * (psi.real * slope.real + psi.imag * slope.imag))
            self._fit(told, rise, counted, pattern.seen / (told + 1.0))
        middle = self.dose.median()
        self.dose = self.dose / middle
        return object_ * middle.sqrt()

    def _fit(self, told: Tensor, rise: Tensor, counted: Tensor, weights: Tensor) -> None:
        """Least squares of counted = dose * told + step * rise in each frame, linear in the counts: no bias."""
        missed = (self.measured(told) - counted).square() * weights
        variance = (missed.sum() / (weights > 0).sum()).clamp(min=1.0)  # of a count, in units of its Poisson noise

        def summed(one: Tensor, other: Tensor) -> Tensor:
            return (one * other * weights).sum((-2, -1))

        dose_prior, step_prior = variance / DOSE_OFF**2, variance / PLACE_OFF**2
        both = summed(told, rise)
        first, second = summed(told, told) + dose_prior, summed(rise, rise) + step_prior
        wanted = summed(counted, told) + dose_prior, summed(counted, rise) - step_prior * self.place
        determinant = first * second - both * both
        dose = (wanted[0] * second - wanted[1] * both) / determinant
        step = (wanted[1] * first - wanted[0] * both) / determinant
        dose = dose.clamp(LEAST_DOSE, 1.0 / LEAST_DOSE)
        self.take(dose, (self.place + step / dose).clamp(-FARTHEST, FARTHEST))

    def _turning(self) -> Tensor:
        """Return what the transform of each plane gains a step: -2 pi i r / n."""
        turn = -2.0 * math.pi / len(self._index) * self._index
        return torch.complex(torch.zeros_like(turn), turn)

    @staticmethod
    def _along(matrix: Tensor, field: Tensor) -> Tensor:
        """Return `matrix` (z, z) times a field (n, z, y, x) along z."""
        return (matrix @ field.flatten(2)).view(field.shape)
