"""Dislocation lines among atoms, found where lattice vectors around a triangle of neighbours do not close.

After Stukowski and Albe, Modell. Simul. Mater. Sci. Eng. 18 (2010) 085001. Each edge of the Delaunay tetrahedra is
given the lattice vector nearest to it, one of the fcc lattice or of its mirror images across {111}, so that faults and
twins close. A triangle whose three vectors do not add up to zero is threaded by a dislocation; as triangles share
their edges, what enters a tetrahedron leaves it, and no line ends inside the crystal. Lattice vectors are integers in
sixths of the lattice constant, so that sums are exact.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay, cKDTree

from models.simulate.fcc import PLANES

# Tetrahedra with a larger circumsphere, in lattice constants, bridge steps of the surface (octahedra have 0.5).
LARGEST_SPHERE = 0.75
# The four triangles of a tetrahedron, each opposite to the vertex of its number and right-handed seen from outside
# where the tetrahedron is right-handed.
FACES = ((1, 2, 3), (0, 3, 2), (0, 1, 3), (0, 2, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Threads:
    """Steps of dislocation lines from tetrahedron to tetrahedron, each through one triangle.

    `start_nm` and `end_nm` float64 (n, 3), centres of the tetrahedra; `sixths` int64 (n, 3), the Burgers vector in
    sixths of the lattice constant with the sense of the step.
    """

    start_nm: NDArray[np.float64]
    end_nm: NDArray[np.float64]
    sixths: NDArray[np.int64]

    def __len__(self) -> int:
        """How many steps."""
        return len(self.sixths)

    def __getitem__(self, chosen: NDArray[np.bool_]) -> Threads:
        """Return the steps `chosen`, bool (n,)."""
        return Threads(
            start_nm=self.start_nm[chosen],
            end_nm=self.end_nm[chosen],
            sixths=self.sixths[chosen],
        )

    @property
    def middle_nm(self) -> NDArray[np.float64]:
        """Where the triangles are, to within an atom's size, float64 (n, 3)."""
        return 0.5 * (self.start_nm + self.end_nm)


def neighbour_vectors() -> NDArray[np.int64]:
    """Return first and second neighbours of fcc and of its four twins in sixths of the lattice constant, (66, 3)."""
    first = [v for v in itertools.product((-3, 0, 3), repeat=3) if np.count_nonzero(v) == 2]
    second = [v for v in itertools.product((-6, 0, 6), repeat=3) if np.count_nonzero(v) == 1]
    lattice = np.array(first + second)
    images = [lattice - 2 * (lattice @ n)[:, None] * np.array(n) // 3 for n in PLANES]
    return np.unique(np.concatenate([lattice, *images]), axis=0)


def dislocation_threads(positions_nm: NDArray[np.float64], lattice_nm: float) -> Threads:
    """Return what dislocations thread among atoms (n, 3) of one lattice, along the axes to within some degrees."""
    mesh = Delaunay(positions_nm)
    corners, neighbours = _right_handed(positions_nm, mesh.simplices.astype(np.int64), mesh.neighbors.astype(np.int64))
    kept = _circumradius(positions_nm[corners]) < LARGEST_SPHERE * lattice_nm
    index = np.arange(len(corners))
    centres = positions_nm[corners].mean(1)
    starts, ends, sums = [], [], []
    for opposite, face in enumerate(FACES):
        other = neighbours[:, opposite]
        # Each triangle once, from the tetrahedron of the lower number outwards to the other.
        shared = (other > index) & kept & kept[other]
        a, b, c = corners[shared][:, face].T
        around = np.sum([_lattice_steps(positions_nm, p, q, lattice_nm) for p, q in ((a, b), (b, c), (c, a))], axis=0)
        # The circuit closes among the atoms; what it lacks in the lattice is -b.
        open_ = np.any(around != 0, axis=1)
        starts.append(index[shared][open_])
        ends.append(other[shared][open_])
        sums.append(-around[open_])
    return Threads(
        start_nm=centres[np.concatenate(starts)],
        end_nm=centres[np.concatenate(ends)],
        sixths=np.concatenate(sums),
    )


def _right_handed(
    positions: NDArray[np.float64], corners: NDArray[np.int64], neighbours: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    a, b, c, d = (positions[corners[:, n]] for n in range(4))
    left = np.einsum("ni,ni->n", np.cross(b - a, c - a), d - a) < 0.0
    for array in (corners, neighbours):
        array[left] = array[left][:, [1, 0, 2, 3]]
    return corners, neighbours


def _circumradius(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the radii (n,) of the spheres through tetrahedra (n, 4, 3), infinite where they are flat."""
    edges = corners[:, 1:] - corners[:, :1]
    squares = np.einsum("nij,nij->ni", edges, edges)
    around = np.cross(edges[:, [1, 2, 0]], edges[:, [2, 0, 1]])
    volume = np.einsum("ni,ni->n", edges[:, 0], around[:, 0])
    with np.errstate(divide="ignore", invalid="ignore"):
        radius = np.linalg.norm(np.einsum("ni,nij->nj", squares, around), axis=1) / np.abs(2.0 * volume)
    return np.where(np.isfinite(radius), radius, np.inf)


def _lattice_steps(
    positions: NDArray[np.float64], first: NDArray[np.int64], second: NDArray[np.int64], lattice_nm: float
) -> NDArray[np.int64]:
    vectors = neighbour_vectors()
    # One sense for either way along an edge: ties are decided alike.
    low, high = np.minimum(first, second), np.maximum(first, second)
    nearest = cKDTree(vectors / 6.0).query((positions[high] - positions[low]) / lattice_nm)[1]
    return np.asarray(vectors[nearest] * np.where(first < second, 1, -1)[:, None])
