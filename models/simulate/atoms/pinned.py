"""A catalogue of relaxed nanocrystals with a defect somewhere in them that stays, many of each kind.

    python -m models.simulate.atoms.pinned OUT.h5 --defects none edge screw --count 200 --seed 0

In a crystal of ten nanometres whose surface is free, surfaces pull nearly every dislocation out. Real ones are pinned
by oxide and by steps. So where the planes in which a line glides meet the surface, the atoms stay where they were put;
all others, facets included, relax. Edges are Lomer's, a/2<110> on {100}: they do not split, while the ribbon of one on
{111} is wider than a tenth of so small a crystal. Frank's loops, faults and twins glide nowhere, and none of their
atoms is held. Every crystal draws its own size, facets and place of the defect.
Resumes as models.simulate.atoms.catalogue does. Needs the extra `train`.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Generator, Tensor

from models.simulate.atoms.catalogue import collect, made_and_shown
from models.simulate.atoms.labels import depth_nm, findings
from models.simulate.atoms.lines import angle_deg
from models.simulate.atoms.nanocrystals import Inserted, drawn_system, nanocrystal, random_facets
from models.simulate.atoms.potentials import POTENTIALS, potential_of
from models.simulate.atoms.relaxation import relaxed
from models.simulate.atoms.store import Entry, Relaxed, entries, write_at_rest
from models.simulate.crystals import CUBOCTAHEDRON_100_TO_111, Polyhedra, random_polyhedra, random_wulff
from models.simulate.draws import choice, directions, seeded, uniform
from models.simulate.families import SINGLE, Defect, Range, Shape
from models.simulate.fcc import PLANES, slip_systems

STRAIGHT = (Defect.EDGE, Defect.SCREW, Defect.MIXED, Defect.DISSOCIATED)
KINDS = {defect.name.lower(): defect for defect in SINGLE}
SHAPES = (Shape.WULFF, Shape.CUBOCTAHEDRON, Shape.POLYHEDRON)
# To the farthest corner: 5,000 to 40,000 atoms.
RADII_NM = (3.5, 6.0)
# A defect lies within this share of the radius from the centre.
DEFECT_OFFSET = 0.4
# Held are the atoms this deep below the surface and this near to a glide plane of the line. A belt half as deep holds
# lines as well, but lets ribbons of screws become as wide as a tenth of the crystal and more.
BELT_DEPTH_NM, BELT_HALF_WIDTH_NM = 1.0, 0.6
# Largest force at rest, eV/A. A hundredth of it takes twice the time, and moves no line and no ribbon by a tenth.
FORCE_TOLERANCE = 1e-2
# Numbers of crystals of one kind before the seeds of the next begin.
MOST = 100_000


def pinned_nanocrystal(element: str, defect: Defect, radii_nm: Range, seed: int) -> Relaxed:
    """Return a crystal of its own for each seed, a straight dislocation held at the surface, relaxed and labelled."""
    begun = time.perf_counter()
    potential, generator = potential_of(element), seeded(seed)
    radius_nm = float(uniform(generator, *radii_nm))
    facets = random_body(generator, radius_nm)
    systems = lomer_systems() if defect == Defect.EDGE else slip_systems()
    glide, burgers = drawn_system(generator, systems)
    middle_nm = random_site(generator, potential.lattice_nm, DEFECT_OFFSET * radius_nm)
    positions_nm, inserted = nanocrystal(element, potential.lattice_nm, facets, defect, glide, burgers, middle_nm)
    held = belt(positions_nm - middle_nm.numpy(), depth_nm(positions_nm, facets), inserted)
    before, after = relaxed(positions_nm, potential, held=held, force_tolerance=FORCE_TOLERANCE)
    return Relaxed(
        potential=potential,
        inserted=inserted,
        before=before,
        after=after,
        found=findings(after, facets, potential.lattice_nm),
        radius_nm=radius_nm,
        seed=seed,
        seconds=time.perf_counter() - begun,
    )


def random_body(generator: Generator, radius_nm: float) -> Polyhedra:
    """Draw a crystal of one of SHAPES that reaches to `radius_nm`, in the axes of the cube."""
    radius, cube = torch.tensor([radius_nm]), torch.eye(3).expand(1, 3, 3)
    shape = int(choice(generator, torch.tensor([int(kind) for kind in SHAPES]), 1))
    if shape == Shape.POLYHEDRON:
        return random_polyhedra(generator, radius)
    if shape == Shape.CUBOCTAHEDRON:
        return random_wulff(generator, radius, cube, torch.tensor([CUBOCTAHEDRON_100_TO_111]))
    return random_facets(generator, radius_nm)


def random_site(generator: Generator, lattice_nm: float, within_nm: float) -> Tensor:
    """Draw a vector of the lattice, float64 (3,) in nm, about as long as a number even between 0 and `within_nm`."""
    away_nm = directions(generator, 1)[0].double() * float(uniform(generator, 0.0, within_nm))
    # Any point is within a lattice constant of a corner of its cell, and each corner is a site.
    return (away_nm / lattice_nm).round() * lattice_nm


def lomer_systems() -> tuple[Tensor, Tensor]:
    """Return the 12 pairs {100}<110>, sense counted: normals (12, 3) unit and Burgers vectors (12, 3), a/2<110>."""
    normals = torch.eye(3).repeat_interleave(4, dim=0)
    aside = torch.tensor(list(itertools.product((-0.5, 0.5), repeat=2))).repeat(3, 1)
    steps = torch.zeros(12, 3).masked_scatter(normals == 0.0, aside)
    return normals, steps


def belt(positions_nm: NDArray[np.float64], depths_nm: NDArray[np.float64], inserted: Inserted) -> NDArray[np.bool_]:
    """Return which atoms (n, 3) are held, (n,): where planes {111} that hold the line meet the surface.

    Positions are counted from a point on the line, `depths_nm` (n,) from the surface. Without a line none are held.
    """
    planes = np.array(PLANES) / 3.0**0.5
    gliding = planes[np.abs(planes @ inserted.line) < 1e-6] if inserted.defect in STRAIGHT else planes[:0]
    near = (np.abs(positions_nm @ gliding.T) < BELT_HALF_WIDTH_NM).any(1)
    return np.asarray(near & (depths_nm < BELT_DEPTH_NM))


def make(
    out: Path,
    defects: Sequence[Defect],
    elements: Sequence[str],
    count: int,
    seed: int,
    console: Console,
    radii_nm: Range = RADII_NM,
) -> None:
    """Make the crystals that are not there yet, `count` of each defect, the elements in turn; write the catalogue."""

    def write(part: Path, element: str, defect: Defect, number: int) -> None:
        write_at_rest(part, pinned_nanocrystal(element, defect, radii_nm, _seed_of(seed, defect, number)))

    wanted = {}
    for number, defect in itertools.product(range(count), defects):
        element = elements[number % len(elements)]
        name = f"{element}-{defect.name.lower()}-{number:04d}"
        wanted[name] = partial(write, element=element, defect=defect, number=number)
    collect(out, f"{radii_nm[0]:g}-{radii_nm[1]:g}nm-{seed}", wanted, console)


def _seed_of(seed: int, defect: Defect, number: int) -> int:
    """Return a number of its own for each crystal of a catalogue, whichever others are made with it."""
    return (seed * len(Defect) + int(defect)) * MOST + number


def tally(path: Path) -> Table:
    """Return how many crystals of each kind and element there are, and what the defects in them have become."""
    shown = Table(title=path.name, box=None)
    for heading in ("inserted", "element", "found", "deg to b", "ribbon / diameter"):
        shown.add_column(heading, justify="right" if heading in ("deg to b", "ribbon / diameter") else "left")
    kinds: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries(path):
        kinds.setdefault((entry.inserted.name.lower(), entry.name.split("-")[0]), []).append(entry)
    for (inserted, element), crystals in kinds.items():
        lines = [crystal for crystal in crystals if crystal.line.any()]
        angles = [angle_deg(crystal.burgers, crystal.line) for crystal in lines]
        widths = [crystal.ribbon_nm / (2.0 * crystal.radius_nm) for crystal in lines]
        counts = Counter(crystal.defect.name.lower() for crystal in crystals)
        found = ", ".join(f"{count} {name}" for name, count in counts.most_common())
        shown.add_row(inserted, element, found, _span(angles, ".0f"), _span(widths, ".3f"))
    return shown


def _span(values: Sequence[float], precision: str) -> str:
    return f"{min(values):{precision}} to {max(values):{precision}}" if values else ""


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the catalogue, HDF5")
    parser.add_argument("--defects", nargs="+", default=["none", "edge", "screw"], choices=list(KINDS))
    parser.add_argument("--elements", nargs="+", default=list(POTENTIALS), choices=list(POTENTIALS))
    parser.add_argument("--count", type=int, default=200, help="crystals of each defect (%(default)s)")
    parser.add_argument("--radii-nm", type=float, nargs=2, default=RADII_NM, help="smallest and largest (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    console = Console()
    defects, (low, high) = [KINDS[name] for name in arguments.defects], arguments.radii_nm
    work = partial(
        make, arguments.out, defects, arguments.elements, arguments.count, arguments.seed, console, (low, high)
    )
    return made_and_shown(work, partial(tally, arguments.out), console)


if __name__ == "__main__":
    sys.exit(main())
