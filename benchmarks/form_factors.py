"""The simulator against closed forms: python -m benchmarks.form_factors

Sphere and cube against their analytic form factors, Friedel symmetry of an unstrained crystal, the dark axis of a
centred screw dislocation with g.b = 1, and sign and size of the phase under a uniform strain. Each with its bar.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from models.simulate.crystals import Polyhedra, SmoothSurfaces, random_wulff
from models.simulate.diffraction import far_field, intensity
from models.simulate.dislocations import straight_dislocation
from models.simulate.displacement import phase_of
from models.simulate.draws import seeded
from models.simulate.grid import Grid

EDGE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One comparison: `figure` must stay under `bar`."""

    name: str
    figure: float
    bar: float


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write every figure here")
    options = parser.parse_args(arguments)
    checks = [sphere(), cube(), friedel(), screw(), strain()]
    table = Table("against", "figure", "bar", title=f"{EDGE}^3 voxels")
    for check in checks:
        table.add_row(check.name, f"{check.figure:.2g}", f"{check.bar:g}")
    Console(width=120).print(table)
    if options.json:
        options.json.write_text(json.dumps({check.name: check.figure for check in checks}, indent=1))
    return int(any(check.figure > check.bar for check in checks))


def grid(voxel_nm: float = 1.0) -> Grid:
    return Grid(basis_nm=voxel_nm * torch.eye(3).flip(-1)[None], shape=(EDGE,) * 3)


def wave_vectors(voxel_nm: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """q along z, y, x of each voxel of the pattern, 1/nm, to be broadcast."""
    line = (torch.arange(EDGE) - EDGE // 2) * (2 * math.pi / (EDGE * voxel_nm))
    return line[:, None, None], line[None, :, None], line[None, None, :]


def sphere(radius: float = 12.0) -> Check:
    """Rayleigh's form factor 3 (sin x - x cos x) / x^3, out to half of the array."""
    ball = SmoothSurfaces(coefficients_nm=torch.tensor([[radius * math.sqrt(4 * math.pi), 0.0, 0.0, 0.0]]))
    psi = far_field(ball.filling(grid()).to(torch.complex64))[0].real
    z, y, x = wave_vectors()
    turn = radius * (z.square() + y.square() + x.square()).sqrt().double()
    analytic = 3 * (turn.sin() - turn * turn.cos()) / turn.clamp(min=1e-3) ** 3
    analytic[turn < 1e-3] = 1.0
    near = turn < radius * math.pi / 2
    error = (psi / (4 / 3 * math.pi * radius**3) - analytic)[near].abs().max()
    return Check(name="sphere: largest deviation of F(q) / F(0)", figure=float(error), bar=0.005)


def cube(edge: float = 20.0) -> Check:
    """Product of three sinc, out to half of the array, where the voxels of a straight face show."""
    box = Polyhedra(normals=torch.cat([torch.eye(3), -torch.eye(3)])[None], distances_nm=torch.full((1, 6), edge / 2))
    psi = far_field(box.filling(grid()).to(torch.complex64))[0].real
    z, y, x = wave_vectors()
    analytic = math.prod((torch.sinc(q * edge / (2 * math.pi)) for q in (z, y, x)), start=torch.ones(()))
    near = (z.square() + y.square() + x.square()).sqrt() < math.pi / 2
    error = (psi / edge**3 - analytic)[near].abs().max()
    return Check(name="cube: largest deviation of F(q) / F(0)", figure=float(error), bar=0.02)


def friedel() -> Check:
    filling = random_wulff(seeded(0), torch.tensor([14.0])).filling(grid())
    inner = intensity(far_field(filling.to(torch.complex64)))[0, 1:, 1:, 1:]
    figure = (inner - inner.flip((0, 1, 2))).abs().sum() / inner.sum()
    return Check(name="Friedel: share of I(q) - I(-q), no strain", figure=float(figure), bar=1e-5)


def screw(radius: float = 14.0) -> Check:
    """A vortex of charge one along the axis of a body of revolution is dark on the axis of q."""
    ball = SmoothSurfaces(coefficients_nm=torch.tensor([[radius * math.sqrt(4 * math.pi), 0.0, 0.0, 0.0]]))
    _, y, z = torch.eye(3)[:, None].unbind(0)
    burgers_nm, origin = 0.2882, torch.full((1, 3), 1e-3)  # gold, a / sqrt(2)
    u = straight_dislocation(grid().points_nm(), z, burgers_nm * z, origin, y)
    phase = phase_of(u, 2 * math.pi / burgers_nm * z)
    pattern = intensity(far_field(torch.polar(ball.filling(grid()), phase)))[0]
    figure = pattern[:, EDGE // 2, EDGE // 2].max() / pattern.max()
    return Check(name="screw, g.b = 1: on-axis intensity, share of the maximum", figure=float(figure), bar=0.01)


def strain(share: float = 1e-3) -> Check:
    """u = e r: the crystal's Q becomes Q (1 - e), so the pattern's centre lies at -e Q, in nm and 1/nm."""
    voxel_nm, q = 2.0, torch.tensor([[20.0, -10.0, 15.0]])
    here = grid(voxel_nm)
    filling = random_wulff(seeded(0), torch.tensor([20.0])).filling(here)
    pattern = intensity(far_field(torch.polar(filling, phase_of(share * here.points_nm(), q))))[0]
    pattern = pattern / pattern.sum()
    z, y, x = ((pattern * line).sum() for line in wave_vectors(voxel_nm))
    found = torch.stack([x, y, z])
    figure = (found + share * q[0]).norm() / (share * q.norm())
    return Check(name="uniform strain: centre of the pattern against -e Q", figure=float(figure), bar=0.05)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
