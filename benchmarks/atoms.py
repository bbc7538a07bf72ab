"""The atomistic simulator against independents: direct sums, published potentials, -Q.u.

    python benchmarks/atoms.py [--json atoms.json]

Far field of 1e5 atoms at 2,000 points by the non-uniform FFT and by the direct sum, and on the 64^3 voxels of a scan;
lattice constant and stacking-fault energy of each potential beside those of its paper; the phase of a uniformly
strained crystal. Needs the extra `train`. Exits 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from models.simulate.atoms.bulk import lattice_constant_nm, stacking_fault_energy_mj_m2
from models.simulate.atoms.nanocrystals import cut, lattice_sites, random_facets
from models.simulate.atoms.potentials import POTENTIALS
from models.simulate.draws import seeded, uniform
from models.simulate.grid import oversampled_grid, random_frame
from models.simulate.nufft import far_field_at, far_field_on, object_of_atoms

POINTS, SCAN = 2_000, (64, 64, 64)
FAR_FIELD_BAR, POTENTIAL_BAR, PHASE_BAR_RAD = 1e-5, 0.02, 0.05
LATTICE_NM, RADIUS_NM = 0.408, 9.2
STRAIN = (1e-2, -5e-3, 2e-3)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured thing; `bar` is what it must not exceed, None where nothing is promised."""

    name: str
    value: float
    unit: str
    bar: float | None = None

    @property
    def passed(self) -> bool:
        return self.bar is None or self.value <= self.bar


def crystal() -> torch.Tensor:
    """About 1e5 atoms of gold."""
    facets = random_facets(seeded(0), RADIUS_NM)
    return torch.from_numpy(cut(lattice_sites("Au", LATTICE_NM, RADIUS_NM + 1.0), facets))


def seconds(call: Callable[[], torch.Tensor], times: int) -> tuple[torch.Tensor, float]:
    begun = time.perf_counter()
    for _ in range(times):
        result = call()
    return result, (time.perf_counter() - begun) / times


def direct(positions: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    phases = (-(some @ positions.T) for some in q.split(20))
    return torch.cat([torch.complex(phase.cos().sum(-1), phase.sin().sum(-1)) for phase in phases])


def far_field() -> list[Figure]:
    generator, positions = seeded(1), crystal()
    peak = torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64) * (2 * torch.pi / LATTICE_NM)
    q = peak + uniform(generator, -2.0, 2.0, POINTS, 3).double()
    far_field_at(positions[:10], q)  # the first call loads the library
    fast, fast_s = seconds(lambda: far_field_at(positions, q), 3)
    slow, slow_s = seconds(lambda: direct(positions, q), 1)
    frame = random_frame(generator, 1)
    grid = oversampled_grid(frame, positions[None].float(), torch.full((1, 3), 3.0), SCAN)
    on_scan, scan_s = seconds(lambda: far_field_on(positions, grid, peak), 3)
    per_point = slow_s / POINTS
    return [
        Figure("atoms", len(positions), ""),
        Figure("relative error at points", float((fast - slow).norm() / slow.norm()), "", FAR_FIELD_BAR),
        Figure("direct sum", 1e6 * per_point, "us a point"),
        Figure("at points", 1e6 * fast_s / POINTS, "us a point"),
        Figure("faster at points", per_point / (fast_s / POINTS), "times"),
        Figure("on 64^3 of a scan", 1e6 * scan_s / on_scan.numel(), "us a point"),
        Figure("faster on a scan", per_point / (scan_s / on_scan.numel()), "times"),
    ]


def phase() -> list[Figure]:
    """Within the crystal, two voxels from its surface, phase + Q.u of a strain along each axis."""
    positions = crystal()
    strain = torch.tensor(STRAIN, dtype=torch.float64)
    q = torch.tensor([1.0, 1.0, 1.0], dtype=torch.float64) * (2 * torch.pi / LATTICE_NM)
    grid = oversampled_grid(random_frame(seeded(2), 1), positions[None].float(), torch.full((1, 3), 2.5), SCAN)
    object_ = object_of_atoms(positions * (1.0 + strain), grid, q, LATTICE_NM)
    expected = -torch.einsum("c,czyx->zyx", (q * strain).float(), grid.points_nm()[0])
    inner = random_facets(seeded(0), 0.6 * RADIUS_NM).filling(grid)[0] == 1.0
    off = torch.angle(object_ * torch.polar(torch.ones_like(expected), -expected))[inner]
    return [
        Figure("span of the phase -Q.u", float(expected[inner].max() - expected[inner].min()), "rad"),
        Figure("largest phase + Q.u", float(off.abs().max()), "rad", PHASE_BAR_RAD),
    ]


def potentials(console: Console) -> list[Figure]:
    figures = []
    for element, potential in POTENTIALS.items():
        lattice_nm = lattice_constant_nm(potential)
        fault = stacking_fault_energy_mj_m2(potential, lattice_nm)
        off = abs(lattice_nm / potential.lattice_nm - 1.0)
        figures.append(Figure(f"{element} lattice constant", lattice_nm, "nm"))
        figures.append(Figure(f"{element} lattice constant off", off, "", POTENTIAL_BAR))
        figures.append(Figure(f"{element} stacking fault", fault, "mJ/m^2"))
        published = potential.stacking_fault_mj_m2
        if published is not None:
            name = f"{element} stacking fault off {published}"
            figures.append(Figure(name, abs(fault / published - 1.0), "", POTENTIAL_BAR))
        console.print(f"{element}: {potential.file}, {potential.source}", style="dim")
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    console = Console()
    figures = far_field() + phase() + potentials(console)
    table = Table(title=f"Atoms ({torch.get_num_threads()} threads)")
    for heading in ("what", "measured", "unit", "at most", ""):
        table.add_column(heading)
    for figure in figures:
        bar = "" if figure.bar is None else f"{figure.bar:g}"
        table.add_row(figure.name, f"{figure.value:.4g}", figure.unit, bar, "" if figure.passed else "MISSED")
    console.print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=1))
    return 0 if all(figure.passed for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
