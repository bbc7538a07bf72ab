"""What a potential makes of the endless crystal: its lattice constant and the energy of its stacking fault."""

from __future__ import annotations

import numpy as np

from models.simulate.atoms.potentials import Potential
from models.simulate.atoms.relaxation import relaxed

EV_PER_NM2_IN_MJ_PER_M2 = 160.2176634
# Strains at which the energy is taken: close enough for a polynomial of the fourth degree.
STRAINS = np.linspace(-0.01, 0.01, 7)
# Cells along an edge of the block: wider than two cutoffs of any potential.
BLOCK_CELLS = 4
# Cells of three layers {111} in a slab, its fault in the middle: half of it reaches farther than any potential.
SLAB_CELLS = 8


def lattice_constant_nm(potential: Potential) -> float:
    """Return the lattice constant at 0 K in nm: where the energy of the crystal is least."""
    from ase.lattice.cubic import FaceCenteredCubic

    edge_nm = BLOCK_CELLS * potential.lattice_nm
    block = FaceCenteredCubic(potential.element, latticeconstant=potential.lattice_nm, size=(BLOCK_CELLS,) * 3)
    energies = []
    for strain in STRAINS:
        cell_nm = ((1.0 + strain) * edge_nm,) * 3
        before, _ = relaxed((1.0 + strain) * block.positions, potential, cell_nm)
        energies.append(before.energies_ev.mean())
    slope = np.polynomial.Polynomial.fit(STRAINS, energies, 4).deriv()
    roots = slope.roots()
    rest = roots[np.abs(roots).argmin()].real
    return float((1.0 + rest) * potential.lattice_nm)


def stacking_fault_energy_mj_m2(potential: Potential, lattice_nm: float) -> float:
    """Return the energy of the relaxed intrinsic stacking fault in mJ/m^2, `lattice_nm` as the potential has it.

    A slab with free {111} surfaces, its upper half shifted by a/6[11-2], less the same slab without.
    """
    from ase.lattice.cubic import FaceCenteredCubic

    axes = [[1, -1, 0], [1, 1, -2], [1, 1, 1]]
    slab = FaceCenteredCubic(potential.element, latticeconstant=lattice_nm, directions=axes, size=(4, 3, SLAB_CELLS))
    edges = slab.cell.lengths()
    upper = slab.positions[:, 2] > 0.5 * edges[2] - 0.1 * lattice_nm
    faulted = slab.positions + upper[:, None] * [0.0, lattice_nm / np.sqrt(6.0), 0.0]
    energies = [
        relaxed(positions, potential, (edges[0], edges[1], None))[1].energies_ev.sum()
        for positions in (slab.positions, faulted)
    ]
    return float((energies[1] - energies[0]) / (edges[0] * edges[1]) * EV_PER_NM2_IN_MJ_PER_M2)
