"""Intensity around a Bragg peak, for a batch of objects, on the voxels of a rocking scan (kinematic approximation)."""

from __future__ import annotations

import torch
from torch import Tensor

from models.bcdi.coherence import convolve, envelope

AXES = (-3, -2, -1)


def far_field(object_: Tensor, finer: int = 1) -> Tensor:
    """psi(q) = sum rho(r) exp(-i q.r), complex64, of objects (..., z, y, x) with their origin at index n // 2.

    Zero frequency lies at index n // 2 too. With `finer` > 1 each axis has that many samples a voxel of the scan, and
    every `finer`-th sample is the value without.
    """
    shape = [finer * n for n in object_.shape[-3:]]
    pairs = list(zip(object_.shape[-3:], shape, strict=True))
    if finer > 1:
        z, y, x = (slice(m // 2 - n // 2, m // 2 - n // 2 + n) for n, m in pairs)
        padded = torch.zeros((*object_.shape[:-3], *shape), dtype=object_.dtype, device=object_.device)
        padded[..., z, y, x] = object_
        object_ = padded
    psi: Tensor = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(object_, dim=AXES), dim=AXES), dim=AXES)
    # The zero frequency lies at m // 2; with n odd and `finer` even the grid of the scan begins half a voxel later.
    start = [m // 2 - finer * (n // 2) for n, m in pairs]
    return psi.roll([-s for s in start], dims=AXES) if any(start) else psi


def far_field_of_frames(object_: Tensor, offsets: Tensor) -> Tensor:
    """psi of objects (batch, z, y, x) where frame k was taken `offsets[k]` steps off its place, complex64.

    `offsets` (batch, z), in rocking steps: the jitter of a motor. Exact: along z the transform is summed directly.
    """
    n = object_.shape[-3]
    planes = torch.fft.fftn(torch.fft.ifftshift(object_, dim=AXES[1:]), dim=AXES[1:])
    index = torch.arange(n, device=object_.device) - n // 2
    angle = -2.0 * torch.pi / n * (index + offsets)[..., None] * index
    psi = torch.polar(torch.ones_like(angle), angle) @ planes.flatten(2)
    shifted: Tensor = torch.fft.fftshift(psi.view(object_.shape), dim=AXES[1:])
    return shifted


def intensity(psi: Tensor) -> Tensor:
    """Return |psi|^2, float32."""
    return psi.real.square() + psi.imag.square()


def partially_coherent(pattern: Tensor, widths: Tensor) -> Tensor:
    """Return patterns float32 (batch, z, y, x) convolved with Gaussians of full widths `widths` (batch, 3), voxels."""
    return convolve(
        pattern, envelope(tuple(pattern.shape[-3:]), widths, torch.zeros(len(widths), device=widths.device))
    )


def scaled_to_flux(pattern: Tensor, flux: Tensor) -> Tensor:
    """Return patterns (batch, z, y, x) scaled to `flux` (batch,) counts in all; raise ValueError where one is dark."""
    return _scaled(pattern, pattern.sum(AXES), flux)


def scaled_to_peak(pattern: Tensor, peak_counts: Tensor, finer: int = 1) -> Tensor:
    """Return patterns scaled to `peak_counts` (batch,) in the brightest voxel of the scan (every `finer`-th sample)."""
    return _scaled(pattern, pattern[..., ::finer, ::finer, ::finer].amax(AXES), peak_counts)


def _scaled(pattern: Tensor, measure: Tensor, counts: Tensor) -> Tensor:
    if not bool((measure > 0).all()):
        raise ValueError("an object is empty: it scatters nothing")
    return pattern * (counts / measure)[:, None, None, None]
