"""The fcc lattice as dislocations see it: slip systems, Burgers vectors, partials, reflections; how it stands."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from models.simulate.draws import perpendicular, unit

# {111}: the planes of close packing, in which dislocations glide and across which twins are mirrored.
PLANES = ((1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1))


def slip_systems(device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Return the 24 slip systems {111}<110>, sense counted: glide normals (24, 3) unit and Burgers vectors (24, 3).

    Burgers vectors are in lattice constants, a/2<110>, and lie in their planes.
    """
    steps = [s for s in itertools.product((-1, 0, 1), repeat=3) if sum(map(abs, s)) == 2]
    pairs = [(n, b) for n in PLANES for b in steps if sum(p * q for p, q in zip(n, b, strict=True)) == 0]
    normals, burgers = (torch.tensor(each, dtype=torch.float32, device=device) for each in zip(*pairs, strict=True))
    return unit(normals), burgers / 2.0


def shockley_partials(normal: Tensor, burgers: Tensor) -> Tensor:
    """Return the two partials a/6<112> into which a/2<110> falls in its plane, (..., 2, 3) in the unit of `burgers`.

    In the axes of the cube. The first makes an intrinsic fault where it shifts what lies on the side of the normal (B
    onto C); the second would put atoms on top of atoms there.
    """
    aside = torch.linalg.cross(normal, burgers) / (2.0 * 3.0**0.5)
    # Above (111) the shifts from hollow to hollow are those a/6<112> whose large component is negative.
    large = ((burgers / 2.0 + aside) * normal.sign()).pow(3).sum(-1, keepdim=True)
    first = -large.sign() * aside
    return torch.stack([burgers / 2.0 + first, burgers / 2.0 - first], -2)


def line_of_character(normal: Tensor, burgers: Tensor, angle_rad: Tensor) -> Tensor:
    """Return unit lines (..., 3) in the glide plane at `angle_rad` (...) from b: 0 screw, pi / 2 edge."""
    along = unit(burgers)
    aside: Tensor = torch.linalg.cross(normal, along)
    return along * angle_rad.cos()[..., None] + aside * angle_rad.sin()[..., None]


def shared_by_twin(normal: Tensor, reflection: Tensor) -> Tensor:
    """Return bool (...): does a twin, mirrored in the plane {111} of unit `normal` (..., 3), have `reflection` h, k, l
    in the same place and phase?

    Its lattice has g where ours has g - 2 (g.n) n, a whole h, k, l if the sum of g along the normal's <111> is a
    multiple of 3 (the coincidence lattice of a Sigma 3 boundary): for g normal to the boundary and for g within it.
    """
    along = (3.0**0.5 * (normal * reflection).sum(-1)).round()
    return torch.eq(along.remainder(3.0), 0.0)


def visibility(reflection: Tensor, burgers: Tensor, normal: Tensor, twin: Tensor) -> Tensor:
    """Return what `reflection` (..., 3) shows of a defect, (...): g.b, and of a `twin` (bool) 1 where it is dark.

    `burgers` (..., 3) in lattice constants, `normal` (..., 3) unit, of the boundary; all in the axes of the cube.
    """
    dark = twin & ~shared_by_twin(normal, reflection)
    return torch.where(dark, 1.0, (reflection * burgers).sum(-1))


def momentum_transfer(direction: Tensor, reflection: Tensor, lattice_nm: Tensor) -> Tensor:
    """Return Q (batch, 3) in 1/nm along unit `direction`, as long as a `reflection` h, k, l says, (batch, 3) each."""
    length: Tensor = 2.0 * torch.pi * reflection.norm(dim=-1) / lattice_nm
    return direction * length[:, None]


def standing(reflection: Tensor, q: Tensor, roll_rad: Tensor) -> Tensor:
    """Return the rotations (batch, 3, 3) from the axes of the cube to the laboratory that turn a reflection onto Q.

    `reflection` (batch, 3) h, k, l; `q` (batch, 3); `roll_rad` (batch,) is what the peak leaves open: a turn about Q.
    """
    first, second = unit(reflection), unit(q)
    cosine, sine = roll_rad.cos()[:, None], roll_rad.sin()[:, None]
    a, b = perpendicular(first)
    c, d = perpendicular(second)
    source = torch.stack([first, a, b], -1)
    target = torch.stack([second, c * cosine + d * sine, d * cosine - c * sine], -1)
    return target @ source.mT
