"""Faceted crystals with a smooth strain field, in laboratory coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

# Distance of gold's {100} facets to that of its {111}: the ratio of their surface energies, 1.627 and 1.283 J/m^2
# (Vitos et al., Surf. Sci. 411 (1998) 186).
WULFF_100_TO_111 = 1.27
# Facets of a crystal on a substrate lie up to this share nearer to or farther from its centre than Wulff's.
FACET_SPREAD = 0.15
# Fewer facets, spread evenly and then jittered, may not close; needles would come of more jitter.
FEWEST_FACETS = 8
FACET_JITTER = 0.15
# A strain field that varies over less than this share of the crystal's radius is a defect, not a smooth field.
STRAIN_LENGTHS = (0.6, 1.2)
STRAIN_BUMPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Polyhedron:
    """A convex crystal: the points with `normals @ r <= distances_nm`; normals (n, 3) unit, laboratory frame."""

    normals: NDArray[np.float64]
    distances_nm: NDArray[np.float64]

    def filling(self, points_nm: Points, basis_nm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of the voxel around each point (..., 3) that lies inside, 0 to 1, for voxels with edges `basis_nm`.

        Each facet cuts off a linear ramp as wide as the voxel is thick across it, and the facet that cuts off most
        counts: right to first order in the voxel's size but at edges and corners, so that far fringes stay true.
        """
        share = np.ones(points_nm.shape[:-1])
        thicknesses = np.linalg.norm(self.normals @ basis_nm, axis=1)
        for normal, distance, thickness in zip(self.normals, self.distances_nm, thicknesses, strict=True):
            np.minimum(share, (distance - points_nm @ normal) / thickness + 0.5, out=share)
        return np.maximum(share, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmoothField:
    """A sum of Gaussians: `centres_nm` (n, 3), `lengths_nm` (n,) their sigmas, `heights` (n,)."""

    centres_nm: NDArray[np.float64]
    lengths_nm: NDArray[np.float64]
    heights: NDArray[np.float64]

    def at(self, points_nm: Points) -> NDArray[np.float64]:
        """Value at points (..., 3) in nm."""
        value = np.zeros(points_nm.shape[:-1])
        for centre, length, height in zip(self.centres_nm, self.lengths_nm, self.heights, strict=True):
            value += height * np.exp(-((points_nm - centre) ** 2).sum(axis=-1) / (2.0 * length**2))
        return value


def random_wulff(rng: np.random.Generator, radius_nm: float) -> Polyhedron:
    """Draw a truncated octahedron of {111} and {100} facets, uneven and turned at random, inside `radius_nm`."""
    octahedral = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / np.sqrt(3.0)
    cubic = np.concatenate([np.eye(3), -np.eye(3)])
    normals = np.concatenate([octahedral, cubic]) @ random_rotation(rng).T
    energies = np.concatenate([np.ones(8), np.full(6, WULFF_100_TO_111)])
    distances = energies * rng.uniform(1.0 - FACET_SPREAD, 1.0 + FACET_SPREAD, len(energies))
    return scaled_to_radius(normals, distances, radius_nm)


def random_polyhedron(rng: np.random.Generator, radius_nm: float, facets: int = 12) -> Polyhedron:
    """Draw a convex polyhedron with `facets` facets of random distances, nearly even around it, inside `radius_nm`."""
    if facets < FEWEST_FACETS:
        raise ValueError(f"a crystal needs at least {FEWEST_FACETS} facets, got {facets}")
    even = fibonacci_sphere(facets) @ random_rotation(rng).T
    normals = _unit(even + FACET_JITTER * rng.normal(size=even.shape))
    return scaled_to_radius(normals, rng.uniform(0.7, 1.0, facets), radius_nm)


def scaled_to_radius(normals: NDArray[np.float64], distances: NDArray[np.float64], radius_nm: float) -> Polyhedron:
    """Polyhedron of facets (n, 3) and distances (n,) scaled so that its farthest corner lies at `radius_nm`.

    The corners are sampled by 2000 rays. Raises ValueError where the facets do not close.
    """
    rays = fibonacci_sphere(2000)
    reach = np.where(rays @ normals.T > 1e-9, distances / np.maximum(rays @ normals.T, 1e-9), np.inf).min(axis=1)
    farthest = float(reach.max())
    if not np.isfinite(farthest):
        raise ValueError("the facets leave the crystal open: draw more of them")
    return Polyhedron(normals=normals, distances_nm=distances * radius_nm / farthest)


def random_strain(rng: np.random.Generator, radius_nm: float) -> SmoothField:
    """Draw a smooth field over a crystal of `radius_nm`; its scale is arbitrary (see `crystal_object`)."""
    return SmoothField(
        centres_nm=radius_nm * rng.uniform(-0.7, 0.7, (STRAIN_BUMPS, 3)),
        lengths_nm=radius_nm * rng.uniform(*STRAIN_LENGTHS, STRAIN_BUMPS),
        heights=rng.choice([-1.0, 1.0], STRAIN_BUMPS) * rng.uniform(0.5, 1.0, STRAIN_BUMPS),
    )


def crystal_object(
    crystal: Polyhedron,
    strain: SmoothField,
    basis_nm: NDArray[np.float64],
    shape: tuple[int, int, int],
    phase_range: float,
) -> NDArray[np.complex64]:
    """Sample a crystal on the grid of a reconstruction, complex64 [z, y, x].

    `basis_nm` (3, 3): columns are the laboratory steps of a voxel along z, y, x; the origin is at index n // 2.
    The amplitude falls from 1 to 0 over one voxel at a facet; the phase spans `phase_range` radians inside, mean 0.
    """
    points = grid_points(basis_nm, shape)
    amplitude = crystal.filling(points, basis_nm)
    inside = amplitude > 0.5
    if not inside.any():
        edges = ", ".join(f"{edge:.3g}" for edge in np.linalg.norm(basis_nm, axis=0))
        raise ValueError(f"the crystal fills no voxel of {edges} nm: make it larger or the grid finer")
    field = strain.at(points)
    span = float(np.ptp(field[inside]))
    phase = phase_range * (field - field[inside].mean()) / span if span > 0 else np.zeros(shape)
    return np.asarray(amplitude * np.exp(1j * phase), dtype=np.complex64)


def grid_points(basis_nm: NDArray[np.float64], shape: tuple[int, int, int]) -> Points:
    """Laboratory positions (z, y, x, 3) in nm of the voxels of a grid whose origin is at index n // 2."""
    index = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij"), axis=-1)
    return np.asarray(index @ basis_nm.T)


def random_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a rotation matrix, uniform over all orientations (from a Gaussian quaternion)."""
    w, x, y, z = _unit(rng.normal(size=4))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def fibonacci_sphere(count: int) -> NDArray[np.float64]:
    """Nearly even unit vectors (count, 3)."""
    index = np.arange(count) + 0.5
    polar, azimuth = np.arccos(1.0 - 2.0 * index / count), np.pi * (1.0 + np.sqrt(5.0)) * index
    return np.column_stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)])


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
