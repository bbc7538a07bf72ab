"""A pattern in units of its crystal: what the networks see, however finely and how large the detector sampled it.

The autocorrelation of a crystal reaches twice as far as the crystal. It is computed on a grid that spans that and no
more along each axis, whatever the oversampling and the number of frames, rows and columns; its transform is the pattern
again, on as many samples, without the noise of all that no crystal of this size can scatter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from models.invert.latent import LatentSpace
from models.simulate.diffraction import AXES, far_field

EDGE = 32
# Logarithms of counts are told in this unit.
LOG_UNIT = 5.0
# The grid reaches so many semi-axes from its middle, voxel n // 2.
REACH = 2.2
# A semi-axis in voxels of the grid.
SEMI_AXIS = EDGE / 2 / REACH
# Where the autocorrelation falls to THRESHOLD of its maximum it has gone REACHED of the way to its end (simulated
# crystals: 0.71 to 0.87 along an axis).
THRESHOLD, REACHED = 0.02, 0.78
# Standard deviations of the autocorrelation's noise that no voxel exceeds by chance.
NOISE = 4.5
# The least semi-axis that a grid is made for, voxels of the scan.
LEAST_SEMI_AXIS = 1.5
CHANNELS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A batch of patterns on grids of their own.

    `semi_axes` float32 (batch, 3), voxels of the scan along z, y, x; `autocorrelation` complex64 and `intensity`
    float32, both (batch, EDGE, EDGE, EDGE), middle at EDGE // 2; the intensity, in counts, is the transform of the
    other, cut off at zero.
    """

    semi_axes: Tensor
    autocorrelation: Tensor
    intensity: Tensor

    def channels(self) -> Tensor:
        """Return what a network takes, float32 (batch, CHANNELS, EDGE, EDGE, EDGE): the logarithm of the counts, the
        autocorrelation of the density and that which square roots of the counts have, real and imaginary parts.
        """
        return channels(self.autocorrelation, self.intensity)


def view(counts: Tensor, semi_axes: Tensor | None = None) -> View:
    """Return patterns on their grids.

    `counts` float32 (batch, z, y, x), zero frequency at index n // 2, gaps filled; `semi_axes` (batch, 3) of the
    crystals, voxels, sought where None.
    """
    axes = crystal_semi_axes(counts) if semi_axes is None else semi_axes
    correlation = autocorrelation(counts, axes)
    pattern = far_field(correlation).real.clamp(min=0.0)
    return View(semi_axes=axes, autocorrelation=correlation, intensity=pattern)


def channels(correlation: Tensor, intensity: Tensor) -> Tensor:
    """Return what a network takes of an autocorrelation and its pattern; see View.channels."""
    parts = [intensity.log1p()[:, None] / LOG_UNIT]
    for field in (correlation, to_crystal(intensity.sqrt())):
        scaled = field / field.abs().amax(AXES, keepdim=True).clamp(min=1e-12)
        parts += [scaled.real[:, None], scaled.imag[:, None]]
    return torch.cat(parts, 1)


def autocorrelation(counts: Tensor, semi_axes: Tensor, edge: int = EDGE) -> Tensor:
    """Return the autocorrelations complex64 (batch, edge, ...) of crystals, out to REACH of their semi-axes.

    `counts` (batch, ...) of as many axes as `semi_axes` (batch, axes) tells of.
    """
    correlation = counts.to(torch.complex64)
    for axis, n in enumerate(counts.shape[1:]):
        turned = correlation.movedim(axis + 1, 1)
        matrix = _transform(n, semi_axes[:, axis], edge)
        correlation = (matrix @ turned.flatten(2)).view(len(counts), edge, *turned.shape[2:]).movedim(1, axis + 1)
    return correlation


def crystal_semi_axes(counts: Tensor) -> Tensor:
    """Return half of the crystals' widths along each axis, float32 (batch, 3), voxels: their autocorrelations are twice
    as wide.
    """
    shape = counts.shape[1:]
    correlation = far_field(counts).abs()
    highest = correlation.amax(AXES, keepdim=True)  # all counts, whose noise is their square root
    above = correlation > torch.maximum(THRESHOLD * highest, NOISE * highest.sqrt())
    found = []
    for axis, n in enumerate(shape):
        along = above.amax([other + 1 for other in range(3) if other != axis])
        reach = (torch.arange(n, device=counts.device) - n // 2).abs() * along
        found.append(reach.amax(1) / (2.0 * REACHED))
    return torch.stack(found, 1).clamp(min=LEAST_SEMI_AXIS)


def to_crystal(pattern: Tensor) -> Tensor:
    """Return the field of the crystal's grid whose `far_field` is `pattern`, complex64."""
    shifted: Tensor = torch.fft.fftshift(torch.fft.ifftn(torch.fft.ifftshift(pattern, dim=AXES), dim=AXES), dim=AXES)
    return shifted


def to_grid(objects: Tensor, semi_axes: Tensor, middle: Tensor) -> Tensor:
    """Return objects complex64 (batch, z, y, x) about `middle` on grids of their own, (batch, EDGE, EDGE, EDGE).

    `semi_axes` of the grids and `middle`, voxels and index units, float32 (batch, 3).
    """
    steps = (torch.arange(EDGE, device=objects.device) - EDGE // 2) / SEMI_AXIS
    return sampled(objects, [middle[:, axis, None] + steps * semi_axes[:, axis, None] for axis in range(3)])


def to_voxels(objects: Tensor, semi_axes: Tensor, shape: Sequence[int]) -> Tensor:
    """Return objects complex64 (batch, EDGE, EDGE, EDGE), on grids of `semi_axes` (batch, 3) voxels, on the voxels of
    their scans, (batch, *shape), origin at index n // 2.
    """
    voxels = [torch.arange(n, device=objects.device) - n // 2 for n in shape]
    places = [EDGE // 2 + one / semi_axes[:, axis, None] * SEMI_AXIS for axis, one in enumerate(voxels)]
    return sampled(objects, places)


def sampled(fields: Tensor, places: Sequence[Tensor]) -> Tensor:
    """Return fields complex64 (batch, z, y, x) at every combination of `places` along z, y, x, index units float32
    (batch, n) each; complex64 (batch, n_z, n_y, n_x), linear between voxels and 0 outside.
    """
    z, y, x = ((2.0 * place + 1.0) / length - 1.0 for place, length in zip(places, fields.shape[1:], strict=True))
    whole = (len(fields), z.shape[1], y.shape[1], x.shape[1])
    along = (x[:, None, None, :], y[:, None, :, None], z[:, :, None, None])
    grid = torch.stack([axis.expand(whole) for axis in along], -1)
    parts = grid_sample(torch.view_as_real(fields).movedim(-1, 1), grid, align_corners=False)
    return torch.complex(parts[:, 0], parts[:, 1])


def grid_space(device: torch.device | str = "cpu") -> LatentSpace:
    """Return the latents' space on the crystal's grid."""
    return LatentSpace((EDGE, EDGE, EDGE), (SEMI_AXIS,) * 3, device)


def _transform(n: int, semi_axes: Tensor, edge: int) -> Tensor:
    """Return exp(2 pi i r q / n) / edge, complex64 (batch, edge, n), r on the grid, q on the voxels of the pattern."""
    device = semi_axes.device
    places = (torch.arange(edge, device=device) - edge // 2) / (edge / 2 / REACH) * semi_axes[:, None]
    index = torch.arange(n, device=device) - n // 2
    angle = 2.0 * math.pi / n * places[..., None] * index
    return torch.polar(torch.full_like(angle, 1.0 / edge), angle)
