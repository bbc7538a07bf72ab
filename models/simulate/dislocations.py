"""Dislocations in closed form, isotropic elasticity: straight edge, screw and mixed ones, partials, loops.

At any points, voxels or atoms alike: (batch, 3, ...), nm, in the frame of the vectors given. Signs are those of Hirth
and Lothe, Theory of Dislocations (1982): the Burgers vector closes the right-handed circuit about the line from start
to finish, so that u gains b once around.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from models.simulate.draws import perpendicular, unit

# Poisson's ratio of fcc metals lies between 0.27 (Ir) and 0.44 (Au); the field hardly depends on it.
POISSON_RATIO = 0.38
# Elasticity ends in the core, about a Burgers vector wide; here the logarithm stops.
CORE_NM = 0.25
# A part of the Burgers vector shorter than this share of it is rounding.
NEGLIGIBLE = 1e-4


def straight_dislocation(
    points_nm: Tensor,
    line: Tensor,
    burgers_nm: Tensor,
    through_nm: Tensor,
    glide_normal: Tensor,
    poisson_ratio: float = POISSON_RATIO,
) -> Tensor:
    """Return the displacement (batch, 3, ...) in nm of a straight dislocation in an endless crystal, at `points_nm`.

    `line` (batch, 3) unit, the sense of the line; `burgers_nm` (batch, 3), zero where there is none; `through_nm`
    (batch, 3) a point on it. `glide_normal` (batch, 3) lays the cut, where u jumps by b: the half plane that ends at
    the line and is perpendicular to it. For a lattice vector b the jump is a whole number of 2 pi in phase and shows
    nothing; for a partial it is the stacking fault, so the normal must be that of its {111} plane. It must be
    perpendicular to the line.

    Screw part b_s t atan2(y, x) / 2 pi; edge part Hirth and Lothe eq. 3-45, with y along the glide normal.
    """
    across = torch.linalg.cross(glide_normal, line)
    points = points_nm - _over(through_nm, points_nm)
    x = torch.einsum("bc,bc...->b...", across, points)
    y = torch.einsum("bc,bc...->b...", glide_normal, points)
    angle = torch.atan2(y, x) / (2.0 * torch.pi)
    square = (x.square() + y.square()).clamp(min=CORE_NM**2)
    along, first, second = ((burgers_nm * axis).sum(-1) for axis in (line, across, glide_normal))
    # An edge with b along y is one with b along x in axes turned by 90 degrees: x -> y, y -> -x.
    first_x, first_y = _edge(x, y, square, poisson_ratio)
    second_y, second_minus_x = _edge(y, -x, square, poisson_ratio)
    along, first, second = (_over(each, angle) for each in (along, first, second))
    u_across = first * (first_x + angle) - second * second_minus_x
    u_normal = first * first_y + second * (second_y + angle)
    frame = torch.stack([across, glide_normal, line], -1)
    return torch.einsum("bck,bk...->bc...", frame, torch.stack([u_across, u_normal, along * angle], 1))


def dissociated(
    points_nm: Tensor,
    line: Tensor,
    partials_nm: Tensor,
    through_nm: Tensor,
    glide_normal: Tensor,
    width_nm: Tensor,
    poisson_ratio: float = POISSON_RATIO,
) -> Tensor:
    """Return the displacement (batch, 3, ...) of a dislocation split into `partials_nm` (batch, 2, 3).

    The partials lie `width_nm` (batch,) apart in the glide plane, a ribbon of stacking fault between them: each has
    its cut on the same side, where the two jumps add up to a lattice vector. The ribbon jumps by the first.
    """
    across = torch.linalg.cross(glide_normal, line)
    shift = 0.5 * width_nm[:, None] * across
    ends = (through_nm + shift, through_nm - shift)
    return sum(
        (
            straight_dislocation(points_nm, line, partials_nm[:, n], end, glide_normal, poisson_ratio)
            for n, end in enumerate(ends)
        ),
        start=torch.zeros((), device=line.device),
    )


def dislocation_loop(
    points_nm: Tensor, corners_nm: Tensor, burgers_nm: Tensor, poisson_ratio: float = POISSON_RATIO
) -> Tensor:
    """Return the displacement (batch, 3, ...) in nm of a closed polygon of dislocation.

    `corners_nm` (batch, n, 3) in the sense of the line, `burgers_nm` (batch, 3). Burgers' formula, the line integrals
    in the closed form of Barnett, Philos. Mag. A 51 (1985) 383: a solid angle and two terms for each edge. The cut is
    the fan of triangles from the first corner, whose solid angle is positive as seen from where the line turns right.
    """
    count = corners_nm.shape[1]
    rays = [_Ray.of(_over(corners_nm[:, n], points_nm) - points_nm) for n in range(count)]
    u = torch.zeros_like(points_nm)
    share = 1.0 / (8.0 * torch.pi * (1.0 - poisson_ratio))
    for n, here in enumerate(rays):
        there = rays[(n + 1) % count]
        tangent = unit(corners_nm[:, (n + 1) % count] - corners_nm[:, n])
        across = torch.linalg.cross(burgers_nm, tangent) * (share * (1.0 - 2.0 * poisson_ratio))
        u -= _over(across, points_nm) * _edge_logarithm(here, there, tangent)[:, None]
        u += share * _edge_rays(here, there, burgers_nm)
    solid = sum((_solid_angle(rays[0], *pair) for pair in pairwise(rays[1:])), start=torch.zeros_like(rays[0].length))
    return u + _over(burgers_nm, points_nm) * solid[:, None] / (4.0 * torch.pi)


def circle(centre_nm: Tensor, normal: Tensor, radius_nm: Tensor, corners: int = 8) -> Tensor:
    """Return the corners (batch, corners, 3) of regular polygons, right-handed about `normal` (batch, 3)."""
    first, second = perpendicular(normal)
    angle = torch.arange(corners, device=normal.device) * (2.0 * torch.pi / corners)
    around = angle.cos()[None, :, None] * first[:, None] + angle.sin()[None, :, None] * second[:, None]
    return centre_nm[:, None] + radius_nm[:, None, None] * around


def _edge(x: Tensor, y: Tensor, square: Tensor, poisson_ratio: float) -> tuple[Tensor, Tensor]:
    """Return the displacement along x and y of an edge with b = 1 along x, without its turn atan2(y, x) / 2 pi."""
    front = 1.0 / (8.0 * torch.pi * (1.0 - poisson_ratio))
    logarithm = (1.0 - 2.0 * poisson_ratio) * torch.log(square)
    return 2.0 * front * x * y / square, -front * (logarithm + (x.square() - y.square()) / square)


@dataclass(frozen=True, slots=True)
class _Ray:
    """From each point to a corner: `vector` (batch, 3, ...) and its `length` (batch, ...)."""

    vector: Tensor
    length: Tensor

    @staticmethod
    def of(vector: Tensor) -> _Ray:
        return _Ray(vector, _dot(vector, vector).sqrt().clamp(min=CORE_NM))


def _edge_logarithm(here: _Ray, there: _Ray, tangent: Tensor) -> Tensor:
    # ln (R + R.t) of one end over the other. Where the edge lies behind both vanish: the ratio is then that of R - R.t
    # the other way round.
    along = _over(tangent, here.vector)
    ahead, beyond = _dot(here.vector, along), _dot(there.vector, along)
    forward = ahead + beyond > 0
    above = torch.where(forward, there.length + beyond, here.length - ahead)
    below = torch.where(forward, here.length + ahead, there.length - beyond)
    return torch.log((above / below.clamp(min=1e-9)).clamp(min=1e-9))


def _edge_rays(here: _Ray, there: _Ray, burgers_nm: Tensor) -> Tensor:
    product = here.length * there.length
    triple = _triple(_over(burgers_nm, here.vector), here.vector, there.vector)
    weight = triple / (product + _dot(here.vector, there.vector)).clamp(min=1e-6)
    return (weight / here.length)[:, None] * here.vector + (weight / there.length)[:, None] * there.vector


def _solid_angle(a: _Ray, b: _Ray, c: _Ray) -> Tensor:
    """Return the signed solid angle of a triangle (Van Oosterom, Strackee, IEEE Trans. Biomed. Eng. 30 (1983) 125)."""
    ab, bc, ca = _dot(a.vector, b.vector), _dot(b.vector, c.vector), _dot(c.vector, a.vector)
    beside = a.length * b.length * c.length + ab * c.length + bc * a.length + ca * b.length
    return 2.0 * torch.atan2(_triple(a.vector, b.vector, c.vector), beside)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return a . b over the second axis; by hand, as sums over a strided axis of three are slow."""
    return a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2]


def _triple(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Return a . (b x c) over the second axis."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = a.unbind(1), b.unbind(1), c.unbind(1)
    return ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)


def _over(values: Tensor, points: Tensor) -> Tensor:
    """Return values (batch,) or (batch, 3) with the axes to stand beside `points` (batch, ...)."""
    return values.reshape(*values.shape, *[1] * (points.ndim - values.ndim))
