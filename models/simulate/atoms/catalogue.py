"""A catalogue of relaxed nanocrystals with what was inserted and what relaxation left of it.

    python -m models.simulate.atoms.catalogue OUT.h5 --elements Au Pt Cu Al --seed 0

Each crystal is written to a file of its own beside OUT.h5 when it is done, and all are gathered at the end: a run that
was stopped goes on where it was, and there is never half a catalogue. Needs the extra `train`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from models.simulate.atoms.labels import findings
from models.simulate.atoms.nanocrystals import random_facets, random_nanocrystal
from models.simulate.atoms.potentials import POTENTIALS, potential_of
from models.simulate.atoms.relaxation import relaxed
from models.simulate.atoms.store import Relaxed, gather, write_crystal
from models.simulate.draws import seeded
from models.simulate.families import SINGLE, Defect

# Some 20,000 atoms: half a minute of relaxation, and ten Burgers vectors from a defect to the surface.
RADIUS_NM = 5.0


def relaxed_nanocrystal(element: str, defect: Defect, radius_nm: float, seed: int) -> Relaxed:
    """Return a crystal of its own for each seed, relaxed and labelled."""
    begun = time.perf_counter()
    potential, generator = potential_of(element), seeded(seed)
    facets = random_facets(generator, radius_nm)
    positions_nm, inserted = random_nanocrystal(generator, element, potential.lattice_nm, facets, defect)
    before, after = relaxed(positions_nm, potential)
    found = findings(after, facets, potential.lattice_nm)
    return Relaxed(
        potential=potential,
        inserted=inserted,
        before=before,
        after=after,
        found=found,
        radius_nm=radius_nm,
        seed=seed,
        seconds=time.perf_counter() - begun,
    )


def make(out: Path, elements: Sequence[str], radius_nm: float, seed: int, console: Console) -> None:
    """Make the crystals that are not there yet and write the catalogue."""

    def write(part: Path, element: str, defect: Defect) -> None:
        write_crystal(part, relaxed_nanocrystal(element, defect, radius_nm, _seed_of(seed, element, defect)))

    wanted = {
        f"{element}-{defect.name.lower()}": partial(write, element=element, defect=defect)
        for element in elements
        for defect in SINGLE
    }
    collect(out, f"{radius_nm:g}nm-{seed}", wanted, console)


def collect(out: Path, run: str, wanted: Mapping[str, Callable[[Path], None]], console: Console) -> None:
    """Write the catalogue `out` of crystals by name; each writes itself to a file where that of this `run` is not yet.

    `run` names what the crystals are made from: files of another run are left alone.
    """
    folder = out.with_name(out.name + ".parts")
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Path] = {}
    with Progress(console=console) as progress:
        for name, write in progress.track(wanted.items(), description="Relaxing"):
            parts[name] = folder / f"{name}-{run}.h5"
            if not parts[name].exists():
                write(parts[name])
    gather(parts, out)
    for part in parts.values():
        part.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def _seed_of(seed: int, element: str, defect: Defect) -> int:
    """Return a number of its own for each crystal of a catalogue, whichever others are made with it."""
    return (seed * len(POTENTIALS) + list(POTENTIALS).index(element)) * len(SINGLE) + int(defect)


def table(path: Path) -> Table:
    """Return what a catalogue holds: each crystal, what was found in it with how many partials, b in sixths of a."""
    shown = Table(title=path.name, box=None)
    for heading in ("crystal", "atoms", "found", "6 b / a", "deg", "g.b", "s"):
        shown.add_column(heading, justify="left" if heading in ("crystal", "found") else "right", no_wrap=True)
    with h5py.File(path) as catalogue:
        for name, group in catalogue.items():
            labels = group.attrs
            partials = f" ({labels['partials']})" if labels["partials"] else ""
            shown.add_row(
                name,
                f"{len(group['after/structure']):,}",
                labels["defect"].lower() + partials,
                " ".join(f"{part:.0f}" for part in 6.0 * labels["burgers"] + 0.0),
                "" if np.isnan(labels["character_deg"]) else f"{labels['character_deg']:.0f}",
                " ".join(f"{part:.1f}" for part in labels["visibility"].round(3) + 0.0),
                f"{labels['seconds']:.0f}",
            )
    return shown


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the catalogue, HDF5")
    parser.add_argument("--elements", nargs="+", default=["Au", "Pt", "Cu", "Al"], choices=list(POTENTIALS))
    parser.add_argument("--radius-nm", type=float, default=RADIUS_NM, help="to the farthest corner (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    console = Console()
    work = partial(make, arguments.out, arguments.elements, arguments.radius_nm, arguments.seed, console)
    return made_and_shown(work, partial(table, arguments.out), console)


def made_and_shown(work: Callable[[], None], show: Callable[[], Table], console: Console) -> int:
    """Do the work, show its table and how long it took; return the exit code, what went wrong in one line."""
    begun = time.perf_counter()
    try:
        work()
    except ModuleNotFoundError as error:
        console.print(f"{error}: pip install 'braggloop[train]'", style="red")
        return 1
    except ValueError as error:
        console.print(str(error), style="red")
        return 1
    console.print(show())
    console.print(f"{time.perf_counter() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
