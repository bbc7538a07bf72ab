"""Far field of atoms around any Bragg peak by the non-uniform FFT, kinematic approximation: every atom counts.

psi(q) = sum exp(-i q.r) over atoms r, as in diffraction.far_field for voxels. On the CPU by finufft, on CUDA by
cufinufft (Barnett, Magland, af Klinteberg, SIAM J. Sci. Comput. 41 (2019) C479).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.simulate.diffraction import AXES
from models.simulate.grid import Grid, reciprocal_basis

# Relative error asked of the transform: ten times under what is promised.
TOLERANCE = 1e-6


def far_field_at(positions_nm: Tensor, q: Tensor) -> Tensor:
    """Return psi at any `q` (m, 3), 1/nm with the 2 pi, complex128 (m,), of atoms `positions_nm` float64 (n, 3).

    Computed where the positions are, CPU or CUDA. Relative error TOLERANCE.
    """
    ones = torch.ones(len(positions_nm), dtype=torch.complex128, device=positions_nm.device)
    points, targets = (array.double().T.contiguous().unbind() for array in (positions_nm, q))
    return _transformed("nufft3d3", [*points, ones, *targets], positions_nm.device)


def far_field_on(positions_nm: Tensor, grid: Grid, q: Tensor) -> Tensor:
    """Return psi on the voxels of a rocking scan around the peak `q` (3,), complex64 (z, y, x), q at index n // 2.

    `positions_nm` float64 (n, 3) in the laboratory frame of the first object of `grid`. Raises ValueError where the
    atoms do not fit into the array: the pattern would be undersampled.
    """
    reciprocal = reciprocal_basis(grid)[0].double()
    along = positions_nm @ reciprocal
    if bool((along.abs() > torch.pi).any()):
        widths = (along.amax(0) - along.amin(0)) / (2.0 * torch.pi)
        raise ValueError(f"atoms fill {widths.max():.2f} of the array, expected at most 1: make the grid larger")
    phase = -(positions_nm @ q.double())
    strengths = torch.polar(torch.ones_like(phase), phase)
    arrays = [*along.T.contiguous().unbind(), strengths]
    return _transformed("nufft3d1", arrays, positions_nm.device, n_modes=grid.shape).to(torch.complex64)


def object_of_atoms(positions_nm: Tensor, grid: Grid, q: Tensor, lattice_nm: float) -> Tensor:
    """Return the object whose far_field is that of the atoms of an fcc crystal, complex64 (z, y, x).

    Amplitude 1 within the crystal, the phase -Q.u. Only the part of the pattern that the scan covers makes it, so its
    edges ring as those of any band-limited object do.
    """
    psi = far_field_on(positions_nm, grid, q)
    object_: Tensor = torch.fft.fftshift(torch.fft.ifftn(torch.fft.ifftshift(psi, dim=AXES), dim=AXES), dim=AXES)
    atoms_per_voxel = 4.0 / lattice_nm**3 * float(torch.linalg.det(grid.basis_nm[0]).abs())
    return object_ / atoms_per_voxel


def _transformed(name: str, arrays: list[Tensor], device: torch.device, **options: Any) -> Tensor:
    """Call finufft's `name` on arrays, or cufinufft's where they are on CUDA, with exp(-i q.r)."""
    options.update(eps=TOLERANCE, isign=-1)
    if device.type == "cuda":
        import cufinufft

        return torch.as_tensor(getattr(cufinufft, name)(*arrays, **options))
    import finufft

    found = getattr(finufft, name)(*(array.numpy() for array in arrays), **options)
    return torch.from_numpy(np.ascontiguousarray(found))
