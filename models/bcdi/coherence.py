"""Partial coherence: the coherent intensity convolved with a kernel of sum 1, whose width is refined on the way.

Clark et al., Nat. Commun. 3 (2012) 993. In real space the kernel is an envelope on the autocorrelation,
1 at the origin.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from models.bcdi.pattern import AXES, Pattern

Coherence = Literal["full", "gaussian", "pseudo-voigt"]

# Full width at half maximum, in pattern voxels, from which the refinement starts: under any speckle.
FIRST_WIDTH_VOXELS = 0.5
# Share of the Lorentzian that a pseudo-Voigt starts with.
FIRST_MIXING = 0.3
REFINEMENT_STEPS = 8
SIGMA_PER_FWHM = 1.0 / (2.0 * np.sqrt(2.0 * np.log(2.0)))
# A kernel narrower than two voxels keeps at least this share of a voxel in the voxel; less is ringing of the FFTs.
SMALLEST_RATIO = 0.2


def envelope(shape: tuple[int, ...], widths: Tensor, mixing: Tensor) -> Tensor:
    """Return the transform of the kernel, float32 [..., z, y, x // 2 + 1], half spectrum in corner order.

    1 at the origin: mixing * Lorentzian + (1 - mixing) * Gaussian, each a product over the axes, both with the full
    widths at half maximum `widths` [..., 3], pattern voxels; `mixing` [...] in 0..1 (0: Gaussian).
    """
    gaussian = torch.zeros((), device=widths.device)
    lorentzian = torch.zeros((), device=widths.device)
    for axis, n, width in zip(AXES, shape, widths[..., None, None, None].unbind(-4), strict=True):
        steps = (torch.fft.rfftfreq if axis == AXES[-1] else torch.fft.fftfreq)(n, device=widths.device)
        steps = steps.view([-1 if axis == a else 1 for a in AXES])
        gaussian = gaussian - 2.0 * (np.pi * SIGMA_PER_FWHM * width * steps).square()
        lorentzian = lorentzian - np.pi * width * steps.abs()
    mixing = mixing[..., None, None, None]
    return mixing * torch.exp(lorentzian) + (1.0 - mixing) * torch.exp(gaussian)


def convolve(intensity: Tensor, transfer: Tensor) -> Tensor:
    """Return intensities float32 [..., z, y, x] convolved with the kernel of `envelope`, never negative."""
    return torch.maximum(_blurred(intensity, transfer), intensity * SMALLEST_RATIO)


def _blurred(values: Tensor, transfer: Tensor) -> Tensor:
    found: Tensor = torch.fft.irfftn(torch.fft.rfftn(values, dim=AXES) * transfer, s=values.shape[-3:], dim=AXES)
    return found


class Kernel:
    """The kernel of one run, shared by its starts; `refine` fits it to the pattern."""

    def __init__(self, kind: Coherence, pattern: Pattern) -> None:
        device = pattern.counts.device
        self.kind = kind
        self.pattern = pattern
        self.widths = torch.full((3,), FIRST_WIDTH_VOXELS, device=device)
        self.mixing = torch.full((), FIRST_MIXING if kind == "pseudo-voigt" else 0.0, device=device)
        self.transfer = envelope(pattern.shape, self.widths, self.mixing)

    def apply(self, intensity: Tensor) -> Tensor:
        """Return the partially coherent intensity, same shape."""
        return convolve(intensity, self.transfer)

    def blurred(self, values: Tensor) -> Tensor:
        """Return values float32 [..., z, y, x] of either sign, convolved."""
        return _blurred(values, self.transfer)

    def refine(self, intensity: Tensor, dose: Tensor | None = None) -> None:
        """Fit widths and mixing so that the convolved `intensity` float32 [z, y, x], in the `dose` [z] of each frame,
        meets the measured amplitudes.
        """
        root = 1.0 if dose is None else dose.sqrt()[:, None, None]
        free = torch.cat([self.widths.clamp(min=1e-3).log(), torch.logit(self.mixing.clamp(1e-3, 0.999)).view(1)])
        free.requires_grad_(True)
        optimiser = torch.optim.LBFGS([free], max_iter=REFINEMENT_STEPS, line_search_fn="strong_wolfe")

        def misfit() -> Tensor:
            optimiser.zero_grad()
            model = convolve(intensity, self._transfer(free)).clamp(min=1e-12).sqrt()
            error = ((root * model - self.pattern.amplitude) * self.pattern.seen).square().sum()
            loss = error / self.pattern.amplitude.square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        with torch.enable_grad():
            optimiser.step(misfit)  # type: ignore[no-untyped-call]
        self._take(free.detach())

    def _transfer(self, free: Tensor) -> Tensor:
        mixing = torch.sigmoid(free[3]) if self.kind == "pseudo-voigt" else torch.zeros_like(free[3])
        return envelope(self.pattern.shape, free[:3].exp(), mixing)

    def _take(self, free: Tensor) -> None:
        if not torch.isfinite(free).all():
            return  # a step that failed leaves the kernel as it was
        self.widths = free[:3].exp()
        if self.kind == "pseudo-voigt":
            self.mixing = torch.sigmoid(free[3])
        self.transfer = envelope(self.pattern.shape, self.widths, self.mixing)
