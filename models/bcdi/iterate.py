"""The iterations of phase retrieval, over a batch of starts, in place.

Everything stays in the order of FFTs and, where torch can, in the memory that it has: an iteration is two FFTs and four
passes over the object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.bcdi.coherence import Kernel
from models.bcdi.frames import Frames
from models.bcdi.pattern import AXES, Pattern, gaussian_transfer
from models.bcdi.support import shrink_wrap


@dataclass(frozen=True, slots=True, kw_only=True)
class ShrinkWrap:
    """Every `period` iterations the support is where |object| blurred by `sigma` voxels reaches `threshold` of its top.

    `sigma` falls from `first_sigma` to `last_sigma` linearly over the first `settling` share of the schedule.
    """

    first_sigma: float
    last_sigma: float
    threshold: float
    period: int
    settling: float = 0.7

    def sigma(self, done: float) -> float:
        share = min(done / self.settling, 1.0)
        return self.first_sigma + share * (self.last_sigma - self.first_sigma)


class Batch:
    """Objects complex64 [n, z, y, x] of several starts and their supports, iterated together.

    `kernel` of the beam's coherence and `frames` as they were counted, where the intensities are not simply |F|^2.
    """

    def __init__(
        self,
        pattern: Pattern,
        objects: Tensor,
        support: Tensor,
        *,
        beta: float,
        kernel: Kernel | None = None,
        frames: Frames | None = None,
    ) -> None:
        self.pattern = pattern
        self.objects = objects
        self.support = support.expand(objects.shape)
        self.beta = beta
        self.kernel = kernel
        self.frames = frames
        self._spectrum = torch.empty_like(objects)
        self._amplitude = _both_parts(pattern.amplitude)
        self._unseen = (pattern.trust < 1.0).flatten().nonzero().flatten()
        trust = pattern.trust.flatten()[self._unseen]
        self._trust = trust if bool(trust.any()) else None
        self._inside: Tensor | None = None

    def step(self, algorithm: str) -> None:
        """Do one iteration.

        With o the object, p its projection onto the measured amplitudes, all take p inside the support. Outside: ER
        (Fienup, Opt. Lett. 3 (1978) 27) 0; HIO (Fienup, Appl. Opt. 21 (1982) 2758) o - beta p; RAAR (Luke, Inverse
        Problems 21 (2005) 37) beta o + (1 - 2 beta) p.
        """
        if self._inside is None:
            self._inside = _both_parts(self.support)
        projected, old = torch.view_as_real(self.project()), torch.view_as_real(self.objects)
        if algorithm == "ER":
            torch.mul(projected, self._inside, out=old)
        elif algorithm == "HIO":
            old.add_(projected, alpha=-self.beta).lerp_(projected, self._inside)
        else:
            old.mul_(self.beta).add_(projected, alpha=1.0 - 2.0 * self.beta).lerp_(projected, self._inside)

    def project(self) -> Tensor:
        """Return the objects with the measured amplitudes where the pattern was seen, their own elsewhere; where a
        guess is trusted in part, as far between the two.
        """
        spectrum = self._far_field()
        if self.kernel is None and self.frames is None:
            torch.sgn(spectrum, out=self._spectrum)
            torch.view_as_real(self._spectrum).mul_(self._amplitude)
        else:
            told = self._measured(square(spectrum))
            torch.mul(spectrum, self.pattern.amplitude * torch.rsqrt(told + _TINY), out=self._spectrum)
        if len(self._unseen):
            flat = self._spectrum.view(len(spectrum), -1)
            own = spectrum.view(len(spectrum), -1).index_select(1, self._unseen)
            if self._trust is not None:
                own += self._trust * (flat.index_select(1, self._unseen) - own)
            flat.index_copy_(1, self._unseen, own)
        if self.frames is not None:
            return self.frames.objects(self._spectrum)
        projected: Tensor = torch.fft.ifftn(self._spectrum, dim=AXES)
        return projected

    def wrap(self, transfer: Tensor, threshold: float) -> None:
        """Redraw the supports."""
        self.support = shrink_wrap(self.objects, transfer, threshold)
        self._inside = None

    def remove_twin(self) -> None:
        """Empty half of the objects along the two last axes, so that neither hand keeps both halves of a pair."""
        _, _, rows, columns = self.objects.shape
        self.objects[:, :, rows // 2 :, :] = 0.0
        self.objects[:, :, :, columns // 2 :] = 0.0

    def intensities(self) -> Tensor:
        """Return |F|^2 of the objects as it would be measured, float32 [n, z, y, x]: convolved with the kernel where
        coherence is partial, in frames with doses and places of their own.
        """
        return self._measured(square(self._far_field()))

    def _far_field(self) -> Tensor:
        if self.frames is not None:
            return self.frames.far_field(self.objects)
        spectrum: Tensor = torch.fft.fftn(self.objects, dim=AXES)
        return spectrum

    def _measured(self, intensity: Tensor) -> Tensor:
        blurred = intensity if self.kernel is None else self.kernel.apply(intensity)
        return blurred if self.frames is None else self.frames.measured(blurred)


def run(
    batch: Batch,
    schedule: tuple[str, ...],
    wrap: ShrinkWrap | None,
    *,
    twin_iteration: int | None = None,
    each: Callable[[int], None] | None = None,
) -> None:
    """Run a schedule on a batch; `each(voxels)` is called after every iteration and may raise to stop."""
    voxels = batch.objects.numel()
    transfers: dict[float, Tensor] = {}
    for iteration, algorithm in enumerate(schedule):
        if wrap is not None and iteration and iteration % wrap.period == 0:
            sigma = round(wrap.sigma(iteration / len(schedule)), 1)
            if sigma not in transfers:
                transfers[sigma] = gaussian_transfer(batch.pattern.shape, sigma, batch.objects.device)
            batch.wrap(transfers[sigma], wrap.threshold)
        if iteration == twin_iteration:
            batch.remove_twin()
        batch.step(algorithm)
        if each is not None:
            each(voxels)


_TINY = 1e-20


def coherent_intensity(objects: Tensor) -> Tensor:
    """Return |F|^2 of objects complex64 [n, z, y, x], float32."""
    return square(torch.fft.fftn(objects, dim=AXES))


def square(spectrum: Tensor) -> Tensor:
    """Return |spectrum|^2, float32."""
    return torch.mul(spectrum.real, spectrum.real).addcmul_(spectrum.imag, spectrum.imag)


def _both_parts(values: Tensor) -> Tensor:
    """Repeat values for the real and the imaginary part, as float32: torch works on contiguous floats fastest."""
    once = values.to(torch.float32)
    return torch.view_as_real(torch.complex(once, once))
