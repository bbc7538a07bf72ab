"""One frame through a peak as its classifier takes it: where the geometry is known turned, the part of Q in the plane
of the frame along y, both axes alike.

A frame at one rocking position tells of the crystal seen along the normal of the frame's plane: what a point adds to it
depends on where the point lies in the plane alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.defects.extent import extent_of, faded
from models.defects.view import one_hot, spread
from models.invert.view import CHANNELS as PATTERN_CHANNELS
from models.invert.view import REACH, autocorrelation, channels
from models.simulate.diffraction import far_field
from models.simulate.draws import unit
from models.simulate.specimens import REFLECTIONS

EDGE = 48
# Which reflection, or none known; the sine of the angle between Q and the plane, 0 where nobody knows it.
CHANNELS = PATTERN_CHANNELS + len(REFLECTIONS) + 2
# Where less of Q than this share lies in the plane it tells no direction there.
LEAST_IN_PLANE = 1e-3


def skewed(counts: Tensor) -> Tensor:
    """Return views float32 (batch, CHANNELS, 1, EDGE, EDGE) of frames whose geometry nobody knows.

    `counts` float32 (batch, y, x), the frame through the peak, zero frequency at index n // 2, gaps filled.
    """
    correlation = autocorrelation(counts, extent_of(counts).semi_axes, EDGE)
    unknown = torch.full((len(counts),), len(REFLECTIONS), device=counts.device)
    return _channels(correlation, unknown, torch.zeros(len(counts), device=counts.device))


def upright(counts: Tensor, basis_nm: Tensor, q: Tensor, reflection: Tensor) -> Tensor:
    """Return views float32 (batch, CHANNELS, 1, EDGE, EDGE) of frames with the part of Q in their plane along y.

    `counts` as above; `basis_nm` (batch, 3, 3) columns are the steps of the object's voxels along z, y, x, `q` (batch,
    3), both in any one frame; `reflection` int64 (batch,): number in REFLECTIONS, or len(REFLECTIONS) where it is none
    of them. How the detector is rolled about its normal does not matter.
    """
    in_frame, sine = _in_frame(torch.linalg.inv(basis_nm)[:, 1:], q)
    extent = extent_of(counts)
    step_nm = extent.radius_nm(in_frame) * (2.0 * REACH / EDGE)
    correlation = _turned(counts, in_frame * step_nm[:, None, None], extent.semi_axes)
    return _channels(correlation, reflection, sine)


def _turned(counts: Tensor, steps: Tensor, semi_axes: Tensor) -> Tensor:
    """Return autocorrelations complex64 (batch, EDGE, EDGE), faded out beyond the crystals' own.

    `steps` (batch, 2, 2): columns are the steps of the grid, pixels y and x. A direct sum: what is wrong with samples
    between those of another grid is a thousandth of the peak in each place of the pattern, and so are fringes.
    """
    index = torch.arange(EDGE, device=counts.device, dtype=torch.float32) - EDGE // 2
    places = torch.stack(torch.meshgrid(index, index, indexing="ij"), -1).flatten(0, 1) @ steps.mT
    y, x = (_waves(places[..., axis], n) for axis, n in enumerate(counts.shape[1:]))
    correlation = (y @ counts.to(torch.complex64) * x).sum(-1) / EDGE**2
    return (correlation * faded(places / semi_axes[:, None]).prod(-1)).view(-1, EDGE, EDGE)


def _waves(places: Tensor, n: int) -> Tensor:
    """Return exp(2 pi i r q / n), complex64 (batch, places, n), of `places` (batch, places) in pixels of the object."""
    angle = (2.0 * math.pi / n) * places[..., None] * (torch.arange(n, device=places.device) - n // 2)
    return torch.polar(torch.ones_like(angle), angle)


def _in_frame(rows: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Return pixels a nm (batch, 2, 2), rows y and x, along the part of `q` in the plane of `rows` and across it, and
    the sine (batch,) of the angle between `q` and the plane. `rows` (batch, 2, 3): pixels y and x of a point in nm.
    """
    normal = unit(torch.linalg.cross(rows[:, 0], rows[:, 1]))
    toward = unit(q)
    sine = (toward * normal).sum(-1, keepdim=True)
    part = toward - sine * normal
    along = unit(torch.where(part.norm(dim=-1, keepdim=True) > LEAST_IN_PLANE, part, rows[:, 0]))
    return rows @ torch.stack([along, torch.linalg.cross(normal, along)], -1), sine.abs().squeeze(-1)


def _channels(correlation: Tensor, reflection: Tensor, sine: Tensor) -> Tensor:
    planes = correlation[:, None]
    pattern = far_field(planes).real.clamp(min=0.0)
    known = torch.cat([one_hot(reflection), sine[:, None]], 1)
    return torch.cat([channels(planes, pattern), spread(known, 1, EDGE, EDGE)], 1)
