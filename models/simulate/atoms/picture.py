"""A picture of a catalogue: of each defect one crystal, its central slice of atoms and its diffraction pattern.

python -m models.simulate.atoms.picture CATALOGUE.h5 docs/images/catalogue.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models.simulate.atoms.relaxation import FCC, HCP
from models.simulate.atoms.store import Entry, entries
from models.simulate.diffraction import intensity
from models.simulate.families import SINGLE, Defect
from models.simulate.grid import orthogonal_frame, oversampled_grid
from models.simulate.nufft import far_field_on
from models.simulate.specimens import REFLECTIONS

# Thickness of the slice of atoms, lattice constants.
SLICE_LATTICES = 1.5
PATTERN_PIXELS, OVERSAMPLING = 64, 2.0
# Decades of intensity shown.
DECADES = 5.0
COLOURS = {FCC: "#c9d3df", HCP: "#d1495b"}
OTHER_COLOUR = "#30638e"


def representatives(crystals: list[Entry]) -> list[Entry]:
    """Return for each defect inserted one crystal: one that still has it, else one that has any, else the first."""
    chosen = []
    for defect in SINGLE:
        of_kind = [crystal for crystal in crystals if crystal.inserted == defect]
        of_kind.sort(key=lambda crystal: (crystal.defect != crystal.inserted, crystal.defect == Defect.NONE))
        chosen.extend(of_kind[:1])
    return chosen


def draw(crystals: list[Entry], out: Path) -> None:
    """Draw the crystals side by side and write a PNG."""
    figure = Figure(figsize=(2.1 * len(crystals), 4.6), layout="constrained")
    axes = figure.subplots(2, len(crystals), squeeze=False)
    for column, crystal in zip(axes.T, crystals, strict=True):
        _draw_atoms(column[0], crystal)
        _draw_pattern(column[1], crystal)
    figure.savefig(out, dpi=60, pil_kwargs={"optimize": True})


def _draw_atoms(axis: Any, crystal: Entry) -> None:
    across, up, view = _frame(crystal)
    within = np.abs(crystal.positions_nm @ view) < 0.5 * SLICE_LATTICES * crystal.lattice_nm
    points, structure = crystal.positions_nm[within], crystal.structure[within]
    colours = [COLOURS.get(int(kind), OTHER_COLOUR) for kind in structure]
    axis.scatter(points @ across, points @ up, s=3.0, c=colours, linewidths=0)
    left = "" if crystal.defect == crystal.inserted else f"\nrelaxed: {crystal.defect.name.lower()}"
    axis.set_title(f"{crystal.name}{left}", fontsize=8)
    axis.set_aspect("equal")
    axis.axis("off")


def _draw_pattern(axis: Any, crystal: Entry) -> None:
    """The plane through the brightest voxel, across the view, around the reflection that shows the defect best."""
    across, up, view = _frame(crystal)
    turn = torch.from_numpy(np.stack([across, up, view]))
    reflection = max(REFLECTIONS, key=lambda each: abs(np.array(each) @ crystal.burgers))
    q = turn @ torch.tensor(reflection, dtype=torch.float64) * (2.0 * torch.pi / crystal.lattice_nm)
    positions_nm = torch.from_numpy(crystal.positions_nm) @ turn.T
    shape = (PATTERN_PIXELS // 2, PATTERN_PIXELS, PATTERN_PIXELS)
    oversampling = torch.full((1, 3), OVERSAMPLING)
    grid = oversampled_grid(orthogonal_frame(1), positions_nm[None].float(), oversampling, shape)
    pattern = intensity(far_field_on(positions_nm, grid, q))
    plane = pattern[int(pattern.amax((1, 2)).argmax())]
    axis.imshow(torch.log10(plane / plane.max()).clamp(min=-DECADES), origin="lower", cmap="magma")
    axis.set_title("".join(f"{index:.0f}" for index in reflection), fontsize=8)
    axis.axis("off")


def _frame(crystal: Entry) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return right-handed axes across, up (the normal of the glide plane or fault) and toward the viewer."""
    up = crystal.glide if np.any(crystal.glide) else np.array([1.0, 1.0, 1.0]) / 3.0**0.5
    # Along a row of atoms in the plane, the one nearest to the line.
    rows = np.array([[0, 1, -1], [1, 0, -1], [1, -1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2.0**0.5
    along = crystal.line if np.any(crystal.line) else np.array([1.0, -1.0, 0.0])
    view = rows[(np.abs(rows @ along) - np.abs(rows @ up)).argmax()]
    up = up - (up @ view) * view
    up = up / np.linalg.norm(up)
    return np.cross(up, view), up, view


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("out", type=Path, help="PNG")
    arguments = parser.parse_args()
    draw(representatives(list(entries(arguments.catalogue))), arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
