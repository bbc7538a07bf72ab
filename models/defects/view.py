"""A pattern as the classifier takes it: where the geometry is known upright, Q along z, all axes alike."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from models.defects.extent import extent_of, faded
from models.defects.report import Scattering
from models.invert.view import CHANNELS as PATTERN_CHANNELS
from models.invert.view import EDGE, REACH, autocorrelation, channels
from models.simulate.diffraction import far_field
from models.simulate.draws import perpendicular, unit
from models.simulate.specimens import REFLECTIONS

# Which reflection, or none known.
CHANNELS = PATTERN_CHANNELS + len(REFLECTIONS) + 1
# Autocorrelations are shown by their roots, so that what is far from the middle is seen too; below this share they
# stay as they are.
FAINT = 0.01
# Samples along each axis before the grid is turned.
FINE = 48


def as_tensors(scattering: Scattering) -> tuple[Tensor, Tensor, Tensor]:
    """Return basis, Q and number of the reflection, a batch of one."""
    basis_nm, q = (torch.from_numpy(np.asarray(one)).float()[None] for one in (scattering.basis_nm, scattering.q))
    wanted = sorted(map(abs, scattering.reflection or ()))
    number = next((n for n, one in enumerate(REFLECTIONS) if sorted(one) == wanted), len(REFLECTIONS))
    return basis_nm, q, torch.tensor([number])


def skewed(counts: Tensor) -> Tensor:
    """Return views float32 (batch, CHANNELS, EDGE, EDGE, EDGE) of patterns whose geometry nobody knows.

    `counts` float32 (batch, z, y, x), zero frequency at index n // 2, gaps filled.
    """
    unknown = torch.full((len(counts),), len(REFLECTIONS), device=counts.device)
    return _channels(_faded(counts, extent_of(counts).semi_axes, EDGE), unknown)


def upright(counts: Tensor, basis_nm: Tensor, q: Tensor, reflection: Tensor) -> Tensor:
    """Return views float32 (batch, CHANNELS, EDGE, EDGE, EDGE) of patterns with Q along z; the roll about it is any.

    `counts` as above; `basis_nm` (batch, 3, 3) columns are the steps of the object's voxels along z, y, x, `q` (batch,
    3), both in any one frame; `reflection` int64 (batch,): number in REFLECTIONS, or len(REFLECTIONS) where it is none
    of them.
    """
    extent = extent_of(counts)
    semi_axes, along_q = extent.semi_axes, unit(q)
    per_nm = torch.linalg.inv(basis_nm) @ torch.stack([along_q, *perpendicular(along_q)], -1)
    steps = per_nm * (extent.radius_nm(per_nm) * (2.0 * REACH / EDGE))[:, None, None]  # voxels
    fine = semi_axes * (2.0 * REACH / FINE)
    coefficients = _faded(counts / _spline_transfer(counts.shape[1:], fine), semi_axes, FINE)
    return _channels(_resampled(coefficients, steps / fine[..., None]), reflection)


def _channels(correlation: Tensor, reflection: Tensor) -> Tensor:
    pattern = far_field(correlation).real.clamp(min=0.0)
    shown = channels(correlation, pattern)
    lifted = shown[:, 1:] / (shown[:, 1:].abs() + FAINT).sqrt()
    return torch.cat([shown[:, :1], lifted, spread(one_hot(reflection), EDGE, EDGE, EDGE)], 1)


def _faded(counts: Tensor, semi_axes: Tensor, edge: int) -> Tensor:
    """Return autocorrelations complex64 (batch, edge, edge, edge), out to REACH of the semi-axes and faded there."""
    places = (torch.arange(edge, device=counts.device) - edge // 2) * (2.0 * REACH / edge)
    kept = faded(places)
    return autocorrelation(counts, semi_axes, edge) * (kept[:, None, None] * kept[:, None] * kept)


def _spline_transfer(shape: Sequence[int], steps: Tensor) -> Tensor:
    """Return what cubic B-splines on samples `steps` (batch, 3) voxels apart make of each frequency, float32 (batch, z,
    y, x): divided by it, samples are coefficients (Unser, IEEE Signal Process. Mag. 16 (1999) 22).
    """
    z, y, x = (
        (2.0 + torch.cos(2.0 * math.pi * ((torch.arange(n, device=steps.device) - n // 2) / n) * steps[:, axis, None]))
        / 3.0
        for axis, n in enumerate(shape)
    )
    return z[:, :, None, None] * y[:, None, :, None] * x[:, None, None, :]


def _resampled(coefficients: Tensor, steps: Tensor) -> Tensor:
    """Return cubic B-splines of `coefficients` complex64 (batch, n, n, n) about their middles at `steps` (batch, 3, 3),
    columns of samples a voxel of the new grid; 0 outside.

    Linear interpolation puts a thousandth of the peak all over the pattern, where fringes are as weak. Eight linear
    fetches make a cubic one (Sigg and Hadwiger, GPU Gems 2 (2005), chapter 20).
    """
    n = coefficients.shape[-1]
    index = torch.arange(EDGE, device=steps.device, dtype=torch.float32) - EDGE // 2
    places = torch.stack(torch.meshgrid(index, index, index, indexing="ij"), -1) @ steps[:, None, None].mT + n // 2
    below = places.floor()
    t = places - below
    first = (1.0 - t) ** 3 / 6.0
    second = (4.0 - 6.0 * t**2 + 3.0 * t**3) / 6.0
    fourth = t**3 / 6.0
    low = first + second
    ends = (low, below - 1.0 + second / low), (1.0 - low, below + 1.0 + fourth / (1.0 - low))
    fields = torch.view_as_real(coefficients).movedim(-1, 1)
    total = torch.zeros((), device=steps.device)
    for chosen in itertools.product(ends, repeat=3):
        weight = chosen[0][0][..., 0] * chosen[1][0][..., 1] * chosen[2][0][..., 2]
        at = torch.stack([place[..., axis] for axis, (_, place) in enumerate(chosen)], -1)
        grid = ((2.0 * at + 1.0) / n - 1.0).flip(-1)
        total = total + weight[:, None] * grid_sample(fields, grid, align_corners=False)
    return torch.complex(total[:, 0], total[:, 1])


def one_hot(reflection: Tensor) -> Tensor:
    """Return numbers in REFLECTIONS, one more where none is known, int64 (batch,), as float32 (batch, numbers)."""
    return torch.nn.functional.one_hot(reflection, len(REFLECTIONS) + 1).float()


def spread(values: Tensor, *shape: int) -> Tensor:
    """Return channels (batch, n, *shape), each of `values` (batch, n) all over one."""
    return values[(..., *[None] * len(shape))].expand(*values.shape, *shape)
