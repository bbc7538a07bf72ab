"""Shapes of crystals, in batches: faceted, Wulff, smooth, hollow, of several grains. Laboratory frame, nm.

A shape is anything with `reach` (how far its surface lies from the centre along a direction) and `filling` (which
share of each voxel it occupies), so that a batch may mix them and measurement need not know them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor

from models.simulate.draws import directions, fibonacci_sphere, normal, rotations, uniform, unit
from models.simulate.grid import Grid
from models.simulate.harmonics import harmonics_count, real_harmonics

# Distance of gold's {100} facets to that of its {111}: the ratio of their surface energies, 1.627 and 1.283 J/m^2
# (Vitos et al., Surf. Sci. 411 (1998) 186).
WULFF_100_TO_111 = 1.27
# A cuboctahedron has its corners in the middles of the cube's edges: {100} at 1 and {111} at 2 / sqrt(3).
CUBOCTAHEDRON_100_TO_111 = math.sqrt(3.0) / 2.0
# Eight {111} and six {100}.
FCC_FACETS = 14
# Facets of a crystal on a substrate lie up to this share nearer to or farther from its centre than Wulff's.
FACET_SPREAD = 0.15
# Fewer facets, spread evenly and then jittered, may not close; needles would come of more jitter.
FEWEST_FACETS = 8
FACET_JITTER = 0.15
FACET_DISTANCES = (0.7, 1.0)
# Rays on which a surface is sampled for its size: the angle between two is about 5 degrees.
SURFACE_RAYS = 2000
# Degrees of spherical harmonics: more make bumps smaller than the voxels that phase retrieval resolves.
HARMONIC_DEGREE = 6
# Roughness of a smooth surface, as a share of its mean radius, and how fast it dies out with the degree.
HARMONIC_SPREAD = 0.35
HARMONIC_DECAY = 1.5
# A surface never comes nearer to its centre than this share of the mean radius, so that it stays one piece.
NEAREST_SURFACE = 0.35
# Directions on which a smooth surface is tabulated: its finest bump is 30 degrees wide.
MAP_ROWS, MAP_COLUMNS = 64, 128


class Shape(Protocol):
    """A batch of bodies, star-shaped about their centres at the origin."""

    def reach(self, rays: Tensor) -> Tensor:
        """Return the distance of the surface in nm along unit `rays` (batch, n, 3), float32 (batch, n)."""
        ...

    def filling(self, grid: Grid) -> Tensor:
        """Return the share of each voxel that lies inside, float32 (batch, z, y, x), 0 to 1."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Polyhedra:
    """Convex crystals: the points with normals . r <= distances; (batch, facets, 3) unit, (batch, facets)."""

    normals: Tensor
    distances_nm: Tensor

    def __getitem__(self, chosen: Tensor) -> Polyhedra:
        """Return the crystals `chosen`, indices or bool (batch,)."""
        return Polyhedra(normals=self.normals[chosen], distances_nm=self.distances_nm[chosen])

    def reach(self, rays: Tensor) -> Tensor:
        """See Shape."""
        toward = rays @ self.normals.mT
        meets = torch.where(toward > 1e-6, self.distances_nm[:, None] / toward.clamp(min=1e-6), torch.inf)
        return meets.amin(-1)

    def filling(self, grid: Grid) -> Tensor:
        """See Shape. Each facet cuts off a ramp as wide as the voxel is thick across it, and the facet that cuts off
        most counts: right to first order in the voxel's size but at edges and corners, so that far fringes stay true.
        """
        thickness = grid.voxel_thickness_nm(self.normals)[..., None]
        z, y, x = grid.parts(self.normals)
        z, y, x = (self.distances_nm[..., None] - z) / thickness + 0.5, -y / thickness, -x / thickness
        share = torch.ones((grid.batch, *grid.shape), device=z.device)
        for facet in range(self.normals.shape[1]):
            plane = z[:, facet, :, None] + y[:, facet, None, :]
            torch.minimum(share, plane[..., None] + x[:, facet, None, None, :], out=share)
        return share.clamp_(min=0.0)

    def depths_nm(self, grid: Grid) -> Tensor:
        """Return how deep each voxel lies below each facet, float32 (batch, facets, z, y, x), negative outside."""
        return self.distances_nm[..., None, None, None] - grid.project(self.normals)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmoothSurfaces:
    """Bodies whose radius is a series of real spherical harmonics (Scheinker and Pokharel, J. Appl. Phys. 128 (2020)
    184901): `coefficients_nm` float32 (batch, (degree + 1)^2) in the order of `real_harmonics`.
    """

    coefficients_nm: Tensor

    def __getitem__(self, chosen: Tensor) -> SmoothSurfaces:
        """Return the bodies `chosen`, indices or bool (batch,)."""
        return SmoothSurfaces(coefficients_nm=self.coefficients_nm[chosen])

    @property
    def degree(self) -> int:
        """Highest degree of the series."""
        return math.isqrt(self.coefficients_nm.shape[1]) - 1

    def reach(self, rays: Tensor) -> Tensor:
        """See Shape; no nearer than NEAREST_SURFACE of the mean radius."""
        mean = self.coefficients_nm[:, :1] / math.sqrt(4.0 * math.pi)
        radius = (real_harmonics(self.degree, rays) @ self.coefficients_nm[..., None]).squeeze(-1)
        return torch.maximum(radius, NEAREST_SURFACE * mean)

    def filling(self, grid: Grid) -> Tensor:
        """See Shape. The ramp at the surface is as wide as the voxel is thick across it."""
        return filled_below(self.depth_nm(grid))

    def depth_nm(self, grid: Grid) -> Tensor:
        """Return how far each voxel lies below the surface along its radius, float32 (batch, z, y, x)."""
        points = grid.points_nm()
        radius = points.square().sum(1).sqrt()
        return _looked_up(self._map(), points, radius) - radius

    def _map(self) -> Tensor:
        """Return the radius on a map, float32 (batch, MAP_ROWS, MAP_COLUMNS): polar angle down, azimuth across."""
        device = self.coefficients_nm.device
        polar = torch.linspace(0.0, math.pi, MAP_ROWS, device=device)[:, None]
        azimuth = torch.linspace(-math.pi, math.pi, MAP_COLUMNS, device=device)[None, :]
        ray = torch.stack([polar.sin() * azimuth.cos(), polar.sin() * azimuth.sin(), polar.cos() + 0 * azimuth], -1)
        return self.reach(ray.view(1, -1, 3)).view(-1, MAP_ROWS, MAP_COLUMNS)


def filled_below(depth: Tensor) -> Tensor:
    """Return the share of each voxel below a surface, float32 (batch, z, y, x), from a depth that is 0 on it.

    The depth may be in any unit: its own slope says how much of a voxel a step of it is.
    """
    slopes = torch.gradient(depth, dim=(-3, -2, -1))
    across = slopes[0].square().add_(slopes[1].square()).add_(slopes[2].square()).sqrt_()
    return (depth / across.clamp_(min=1e-12)).add_(0.5).clamp_(0.0, 1.0)


def surface_nm(shape: Shape, batch: int, device: torch.device | str = "cpu") -> Tensor:
    """Return points on the surfaces, float32 (batch, SURFACE_RAYS, 3), nm."""
    rays = fibonacci_sphere(SURFACE_RAYS, device).expand(batch, -1, -1)
    return rays * shape.reach(rays)[..., None]


def random_wulff(
    generator: Generator, radius_nm: Tensor, orientation: Tensor | None = None, ratio: Tensor | None = None
) -> Polyhedra:
    """Draw truncated octahedra of {111} and {100} facets, uneven in size, that reach to `radius_nm` (batch,).

    `orientation` (batch, 3, 3) turns the axes of the cube into the laboratory, at random where None; `ratio` (batch,)
    of the distances of {100} and {111} before they are made uneven, gold's where None; CUBOCTAHEDRON_100_TO_111 makes
    cuboctahedra.
    """
    batch, device = len(radius_nm), radius_nm.device
    ratio = torch.full((batch,), WULFF_100_TO_111, device=device) if ratio is None else ratio
    orientation = rotations(generator, batch) if orientation is None else orientation
    spread = uniform(generator, 1.0 - FACET_SPREAD, 1.0 + FACET_SPREAD, batch, FCC_FACETS)
    distances = torch.cat([torch.ones(batch, 8, device=device), ratio[:, None].expand(-1, 6)], 1) * spread
    return scaled_to_radius(Polyhedra(normals=fcc_normals(device) @ orientation.mT, distances_nm=distances), radius_nm)


def fcc_normals(device: torch.device | str = "cpu") -> Tensor:
    """Return the eight {111} and then the six {100} directions, float32 (FCC_FACETS, 3), axes of the cube."""
    octahedral = [[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    cubic = [[s * (axis == n) for axis in range(3)] for s in (1, -1) for n in range(3)]
    return unit(torch.tensor(octahedral + cubic, dtype=torch.float32, device=device))


def random_polyhedra(generator: Generator, radius_nm: Tensor, facets: int = FCC_FACETS) -> Polyhedra:
    """Draw convex crystals with `facets` facets of random distances, nearly even around, that reach to `radius_nm`."""
    if facets < FEWEST_FACETS:
        raise ValueError(f"a crystal needs at least {FEWEST_FACETS} facets, got {facets}")
    batch = len(radius_nm)
    even = fibonacci_sphere(facets, radius_nm.device) @ rotations(generator, batch).mT
    normals = unit(even + FACET_JITTER * normal(generator, batch, facets, 3))
    distances = uniform(generator, *FACET_DISTANCES, batch, facets)
    return scaled_to_radius(Polyhedra(normals=normals, distances_nm=distances), radius_nm)


def scaled_to_radius(crystals: Polyhedra, radius_nm: Tensor) -> Polyhedra:
    """Return the crystals scaled so that their farthest corners lie at `radius_nm` (batch,).

    The corners are sampled by SURFACE_RAYS rays. Raises ValueError where facets do not close.
    """
    batch = len(radius_nm)
    rays = fibonacci_sphere(SURFACE_RAYS, radius_nm.device).expand(batch, -1, -1)
    farthest = crystals.reach(rays).amax(1)
    if not torch.isfinite(farthest).all():
        raise ValueError("the facets leave a crystal open: draw more of them")
    scaled = crystals.distances_nm * (radius_nm / farthest)[:, None]
    return Polyhedra(normals=crystals.normals, distances_nm=scaled)


def random_smooth(generator: Generator, radius_nm: Tensor) -> SmoothSurfaces:
    """Draw smooth bodies of mean radius about `radius_nm` (batch,) and degree HARMONIC_DEGREE."""
    degrees = torch.cat([torch.full((2 * n + 1,), float(n)) for n in range(HARMONIC_DEGREE + 1)]).to(radius_nm.device)
    spread = HARMONIC_SPREAD * (1.0 + degrees) ** -HARMONIC_DECAY * math.sqrt(4.0 * math.pi)
    spread[:4] = 0.0  # degree 0 is the radius, degree 1 a shift of the whole
    series = normal(generator, len(radius_nm), harmonics_count(HARMONIC_DEGREE)) * spread
    series[:, 0] = math.sqrt(4.0 * math.pi)
    return SmoothSurfaces(coefficients_nm=series * radius_nm[:, None])


def hollowed(generator: Generator, crystals: Polyhedra, grid: Grid, filling: Tensor) -> Tensor:
    """Return `filling` with a void of the crystal's own shape, 0.25 to 0.6 of its size, somewhere inside."""
    batch = grid.batch
    size = uniform(generator, 0.25, 0.6, batch, 1)
    inner = crystals.distances_nm.amin(1, keepdim=True)
    shift = directions(generator, batch) * inner * (1.0 - size) * uniform(generator, 0.0, 0.8, batch, 1)
    moved = crystals.distances_nm * size + (crystals.normals @ shift[..., None]).squeeze(-1)
    return filling * (1.0 - Polyhedra(normals=crystals.normals, distances_nm=moved).filling(grid))


def _looked_up(table: Tensor, points: Tensor, radius: Tensor) -> Tensor:
    """Read a map of directions (batch, rows, columns) at `points` (batch, 3, z, y, x), bilinearly."""
    x, y, z = points.unbind(1)
    across = torch.atan2(y, x) / math.pi
    down = torch.arccos((z / radius.clamp(min=1e-9)).clamp(-1.0, 1.0)) * (2.0 / math.pi) - 1.0
    places = torch.stack([across, down], -1).flatten(1, 3).unsqueeze(1)
    found = torch.nn.functional.grid_sample(table[:, None], places, align_corners=True, padding_mode="border")
    return found.view(radius.shape)
