"""Dislocation lines of a reconstructed crystal, by geometry alone: where the phase turns by whole circles.

Once around a line the phase gains 2 pi g.b. The sum of wrapped differences around the four voxels of a face is 0 or a
whole number of turns; faces that turn are pierced by a line, and a line never ends within a crystal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from models.defects.body import body_of

# Where lines pierce more faces than this share of the voxels, the phase is noise.
MOST_PIERCED = 0.3
# Shorter ones are noise, and so are open ones that go through less than this share of the crystal.
SHORTEST_VOXELS, SHORTEST_SHARE = 5.0, 0.33
FEWEST_STEPS = 4
# Lines nearer than this that run alike are one: the core of a dislocation with g.b = 2, or partials not told apart.
TOGETHER_VOXELS, ALIKE = 3.0, 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class Vortex:
    """One line in a complex object, in index units [z, y, x].

    `points` float64 (n, 3) on it, sorted along unit `direction` (3,); `middle` their mean; `turns` of 2 pi that the
    phase gains right-handed about `direction` (in the order z, y, x); `spread` rms distance of the points from a
    straight line; `closed`: a loop, whose `turns` is that of the line and whose `direction` the normal of its plane.
    """

    points: NDArray[np.float64]
    direction: NDArray[np.float64]
    turns: int
    spread: float
    closed: bool

    @property
    def middle(self) -> NDArray[np.float64]:
        """The mean of the points."""
        return np.asarray(self.points.mean(0))

    @property
    def length(self) -> float:
        """From end to end along the direction, voxels; of a loop its longest width."""
        return float(np.ptp(self.points, axis=0).max()) if self.closed else float(np.ptp(self.points @ self.direction))


def vortices(object_: NDArray[np.complex64], inside: NDArray[np.bool_] | None = None) -> tuple[Vortex, ...]:
    """Return the lines of `object_` complex64 [z, y, x], longest first.

    `inside` bool of the same shape, where the crystal is; found from the amplitude where None. Raises ValueError for
    other shapes. A phase that is noise turns everywhere: no lines are told of it.
    """
    if object_.ndim != 3 or (inside is not None and inside.shape != object_.shape):
        other = "" if inside is None else f" and {inside.shape}"
        raise ValueError(f"object and inside must be volumes of one shape, got {object_.shape}{other}")
    body = body_of(object_) if inside is None else inside
    starts, ends = pierced(np.angle(object_), body)
    if len(starts) > MOST_PIERCED * np.count_nonzero(body):
        return ()
    lines = [line for part in connected(starts, ends) if (line := _line(*part)) is not None]
    return tuple(sorted((line for line in _merged(lines) if _through(line, body)), key=lambda line: -line.length))


def pierced(phase: NDArray[Any], body: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where lines go, from and to the middle of which cubes of 2^3 voxels, int64 (n, 3) each: cube i lies
    between voxels i and i + 1.
    """
    starts, ends = [], []
    for axis in range(3):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        here = {
            (a, b): _shifted(phase, first, a, second, b) for a in (0, 1) for b in (0, 1)
        }  # the corners of each face
        around = sum(
            wrapped(here[there] - here[before])
            for before, there in (((0, 0), (1, 0)), ((1, 0), (1, 1)), ((1, 1), (0, 1)), ((0, 1), (0, 0)))
        )
        within = np.logical_and.reduce([_shifted(body, first, a, second, b) for a in (0, 1) for b in (0, 1)])
        turns = np.rint(np.asarray(around) / (2.0 * np.pi)).astype(int) * within
        face = np.argwhere(turns)
        below = face.copy()
        below[:, axis] -= 1
        forward = (turns[tuple(face.T)] > 0)[:, None]
        starts.append(np.where(forward, below, face))
        ends.append(np.where(forward, face, below))
    return np.concatenate(starts), np.concatenate(ends)


def _shifted(values: NDArray[Any], first: int, a: int, second: int, b: int) -> NDArray[Any]:
    index = [slice(None)] * values.ndim
    index[first] = slice(a, values.shape[first] - 1 + a)
    index[second] = slice(b, values.shape[second] - 1 + b)
    return values[tuple(index)]


def wrapped(phase: NDArray[Any]) -> NDArray[Any]:
    """Return a phase, rad, within half a turn of 0."""
    # Odd, half turns too: what a face gains on an edge its neighbour loses.
    return np.asarray(phase - 2.0 * np.pi * np.rint(phase / (2.0 * np.pi)))


def connected(
    starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the steps of each piece that is no noise, those that share a cube together."""
    if not len(starts):
        return
    cubes, numbers = np.unique(np.concatenate([starts, ends]), axis=0, return_inverse=True)
    one, other = np.split(numbers.reshape(-1), 2)
    graph = coo_matrix((np.ones(len(one)), (one, other)), shape=(len(cubes),) * 2)
    _, label = connected_components(graph, directed=False)
    pieces = label[one]
    order = np.argsort(pieces, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(pieces[order])) + 1):
        if len(part) >= FEWEST_STEPS:
            yield starts[part], ends[part]


def _line(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Vortex | None:
    """Return the line of a piece's steps; None where it is too short."""
    steps = (ends - starts).astype(float)
    points = 0.5 * (starts + ends).astype(np.float64) + 0.5
    flow = steps.sum(0)
    far = points - points.mean(0)
    if np.linalg.norm(flow) >= SHORTEST_VOXELS:  # its ends are apart
        direction = np.linalg.svd(far, full_matrices=False)[2][0]
        direction = direction * np.sign(direction @ flow)
        if direction @ flow < 0.5 * np.linalg.norm(flow):  # a hairpin: wider than its ends are apart
            direction = flow / np.linalg.norm(flow)
        along = points @ direction
        turns = max(1, round(float(flow @ direction) / max(float(np.ptp(along)), 1.0)))
        return Vortex(
            points=points[np.argsort(along)],
            direction=direction,
            turns=turns,
            spread=_spread(far, direction),
            closed=False,
        )
    if np.ptp(points, axis=0).max() < SHORTEST_VOXELS:
        return None
    area = np.cross(far, steps).sum(0)  # twice the area about which it turns right
    length = np.linalg.norm(area)
    if length < SHORTEST_VOXELS**2:
        return None
    normal = area / length
    flat = far - (far @ normal)[:, None] * normal
    around = (np.cross(flat, steps) @ normal / np.maximum((flat**2).sum(1), 1.0)).sum() / (2.0 * np.pi)
    return Vortex(
        points=points,
        direction=normal,
        turns=max(1, round(float(around))),
        spread=float(np.sqrt((far @ normal).var())),
        closed=True,
    )


def _through(line: Vortex, body: NDArray[np.bool_]) -> bool:
    return line.closed or line.length >= SHORTEST_SHARE * float(np.ptp(np.argwhere(body) @ line.direction))


def _spread(far: NDArray[np.float64], direction: NDArray[np.float64]) -> float:
    across = far - (far @ direction)[:, None] * direction
    return float(np.sqrt((across**2).sum(1).mean()))


def _merged(lines: list[Vortex]) -> list[Vortex]:
    """Return the lines, those together that run close to each other in one direction or go on where another ends."""
    left, done = sorted(lines, key=lambda line: -line.length), []
    while left:
        line = left.pop(0)
        if not line.closed:
            near = [other for other in left if not other.closed and _together(line, other)]
            left = [other for other in left if all(other is not one for one in near)]
            for other in near:
                line = _joined(line, other)
        done.append(line)
    return done


def _together(line: Vortex, other: Vortex) -> bool:
    if line.direction @ other.direction < ALIKE:
        return False
    across = other.middle - line.middle
    across = across - (across @ line.direction) * line.direction
    return bool(np.linalg.norm(across) < TOGETHER_VOXELS)


def _joined(line: Vortex, other: Vortex) -> Vortex:
    """Return two as one: turns add up where they run beside each other, not where one goes on."""
    points = np.concatenate([line.points, other.points])
    far = points - points.mean(0)
    direction = np.linalg.svd(far, full_matrices=False)[2][0]
    direction = direction * np.sign(direction @ line.direction)
    along = points @ direction
    extents = [np.ptp(one.points @ direction) * one.turns for one in (line, other)]
    return Vortex(
        points=points[np.argsort(along)],
        direction=direction,
        turns=max(1, round(float(sum(extents) / np.ptp(along)))),
        spread=_spread(far, direction),
        closed=False,
    )
