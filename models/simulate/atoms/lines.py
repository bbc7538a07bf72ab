"""Dislocations put together from the threads that they leave among atoms: Burgers vector, direction, place."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

from models.simulate.atoms.threads import Threads

# Pieces of threads shorter than this many lattice constants are a vacancy or noise.
SHORTEST = 2.5
# Cross-sections along a line, and the share of them in which it must be found.
SECTIONS, FOUND_IN = 15, 0.4
# Threads of one core lie within this many lattice constants of each other; partials farther apart are two.
CORE_WIDTH = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One dislocation: `burgers` in lattice constants and unit `direction` in the axes of the cube, (3,) each.

    For a loop `direction` is the normal about which it runs right-handed.
    """

    burgers: NDArray[np.float64]
    direction: NDArray[np.float64]
    middle_nm: NDArray[np.float64]
    length_nm: float
    closed: bool

    @property
    def character_deg(self) -> float:
        """Angle between line (of a loop: its normal) and Burgers vector, 0 to 90 degrees."""
        return angle_deg(self.burgers, self.direction)

    @property
    def partial(self) -> bool:
        """Whether the Burgers vector is no vector of the lattice."""
        doubled = 2.0 * self.burgers
        whole = np.abs(doubled - doubled.round()).max() < 1e-6
        return not (whole and round(float(doubled.sum())) % 2 == 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dislocations:
    """All of a crystal: `through` it from surface to surface, `loops` within it, and the sum of those through it.

    `burgers` (3,) in lattice constants, what they carry together, and `along` unit (3,), their mean direction; both
    zero where nothing runs through.
    """

    through: list[Line]
    loops: list[Line]
    burgers: NDArray[np.float64]
    along: NDArray[np.float64]

    @property
    def ribbon_nm(self) -> float:
        """Largest distance across `along` between the lines into which what runs through is split; 0 if it is not."""
        if not any(line.partial for line in self.through):
            return 0.0
        middles_nm = np.array([line.middle_nm for line in self.through])
        across_nm = middles_nm - np.outer(middles_nm @ self.along, self.along)
        return float(max(pdist(across_nm), default=0.0))


def dislocations(threads: Threads, lattice_nm: float) -> Dislocations:
    """Return the lines that threads make up."""
    through: list[Line] = []
    loops: list[Line] = []
    running = np.zeros(len(threads), dtype=bool)
    for part in _apart(threads.middle_nm, CORE_WIDTH * lattice_nm):
        piece = threads[part]
        extent_nm = float(np.linalg.norm(piece.middle_nm.max(0) - piece.middle_nm.min(0)))
        if extent_nm < SHORTEST * lattice_nm:
            continue
        # The sum of b times the way is b times start to end; its right singular vector is the way.
        flow = (piece.sixths / 6.0).T @ (piece.end_nm - piece.start_nm)
        way = np.linalg.svd(flow)[2][0]
        # What closes within the crystal carries nothing through a plane in sum.
        if np.any(_carried(piece, way)):
            running |= part
            through.extend(_through(piece, way, lattice_nm))
        else:
            loops.extend(_loop(piece, lattice_nm))
    if not through:
        return Dislocations(through=through, loops=loops, burgers=np.zeros(3), along=np.zeros(3))
    along = _mean_direction(through)
    return Dislocations(through=through, loops=loops, burgers=_carried(threads[running], along), along=along)


def _mean_direction(lines: list[Line]) -> NDArray[np.float64]:
    ways = np.array([line.length_nm * line.direction for line in lines])
    ways[ways @ ways[0] < 0.0] *= -1.0
    return np.asarray(ways.sum(0) / np.linalg.norm(ways.sum(0)))


def _carried(threads: Threads, along: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what all threads carry through most of the planes across `along`, in lattice constants."""
    heights = threads.middle_nm @ along
    totals: Counter[tuple[int, ...]] = Counter()
    for height in np.linspace(heights.min(), heights.max(), SECTIONS + 2)[1:-1]:
        sixths, _ = _crossed(threads, along, height)
        totals[tuple(sixths.sum(0).tolist())] += 1
    return np.array(totals.most_common(1)[0][0]) / 6.0


def angle_deg(burgers: NDArray[np.float64], along: NDArray[np.float64]) -> float:
    """Return the angle between a Burgers vector and a line of either sense, 0 to 90 degrees."""
    cosine = abs(float(burgers @ along)) / max(float(np.linalg.norm(burgers)), 1e-9)
    return math.degrees(math.acos(min(cosine, 1.0)))


def _through(piece: Threads, way: NDArray[np.float64], lattice_nm: float) -> Iterator[Line]:
    heights = piece.middle_nm @ way
    found: dict[tuple[int, ...], list[NDArray[np.float64]]] = {}
    for height in np.linspace(heights.min(), heights.max(), SECTIONS + 2)[1:-1]:
        for sixths, middle in _crossings(piece, way, height, lattice_nm):
            found.setdefault(tuple(sixths.tolist()), []).append(middle)
    for key, middles in found.items():
        if len(middles) >= FOUND_IN * SECTIONS:
            points = np.array(middles)
            direction = _along(points)
            if direction @ way < 0.0:
                direction = -direction
            yield Line(
                burgers=np.array(key) / 6.0,
                direction=direction,
                middle_nm=points.mean(0),
                length_nm=float(np.ptp(points @ direction)),
                closed=False,
            )


def _loop(piece: Threads, lattice_nm: float) -> Iterator[Line]:
    points = piece.middle_nm
    middle = points.mean(0)
    _, _, axes = np.linalg.svd(points - middle, full_matrices=False)
    crossed = list(_crossings(piece, axes[0], middle @ axes[0], lattice_nm))
    far = [sixths for sixths, where in crossed if (where - middle) @ axes[1] > 0.0]
    burgers = np.sum(far, axis=0) / 6.0 if far else np.zeros(3)
    if np.any(burgers):
        radius_nm = np.linalg.norm(points - middle, axis=1).mean()
        yield Line(
            burgers=burgers,
            direction=np.cross(axes[1], axes[0]),
            middle_nm=middle,
            length_nm=float(2.0 * np.pi * radius_nm),
            closed=True,
        )


def _crossings(
    piece: Threads, normal: NDArray[np.float64], height: float, lattice_nm: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield Burgers vector, in sixths, and place of each core that crosses a plane, in the sense of its normal."""
    sixths, places = _crossed(piece, normal, height)
    for core in _apart(places, CORE_WIDTH * lattice_nm):
        total = sixths[core].sum(0)
        if np.any(total):
            yield total, places[core].mean(0)


def _crossed(
    threads: Threads, normal: NDArray[np.float64], height: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    before, after = (ends @ normal < height for ends in (threads.start_nm, threads.end_nm))
    crossing = before != after
    return threads.sixths[crossing] * np.where(before[crossing], 1, -1)[:, None], threads.middle_nm[crossing]


def _apart(points_nm: NDArray[np.float64], distance_nm: float) -> Iterator[NDArray[np.bool_]]:
    """Yield masks (n,) of the groups into which points (n, 3) fall that lie farther than a distance from each other."""
    pairs = cKDTree(points_nm).query_pairs(distance_nm, output_type="ndarray")
    graph = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(len(points_nm),) * 2)
    count, group = connected_components(graph, directed=False)
    for number in range(count):
        yield group == number


def _along(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.svd(points - points.mean(0), full_matrices=False)[2][0])
