"""From coarse to fine: which voxels of the pattern a search begins with."""

from __future__ import annotations

from models.bcdi.pattern import Level

# The field of view of a coarse level is at least this many times the object.
ROOM = 1.5
# Below this many voxels along an axis a level holds no shape worth finding.
SMALLEST_EDGE = 16
# A first level of about this many voxels an axis runs many starts a second.
COARSE_EDGE = 32


def full_level(shape: tuple[int, ...]) -> Level:
    """Return the level of every measured voxel."""
    return Level(shape=shape, step=(1,) * len(shape))


def sparse_level(shape: tuple[int, ...], extent: tuple[int, ...]) -> Level:
    """Return the level of the least field of view that leaves an object of `extent` voxels room, at full resolution."""
    step = tuple(_largest_step(n, size) for n, size in zip(shape, extent, strict=True))
    return Level(shape=tuple(n // k for n, k in zip(shape, step, strict=True)), step=step)


def coarse_to_fine(shape: tuple[int, ...], extent: tuple[int, ...]) -> list[Level]:
    """Return levels from the coarsest to the whole pattern.

    `shape` of the pattern and `extent` of the object, voxels. A level takes every second voxel along an axis (half the
    field of view) as long as the object leaves room, and the central half of what is left (half the resolution) while
    that is larger than COARSE_EDGE.
    """
    sparse = sparse_level(shape, extent)
    step, sampled = sparse.step, sparse.shape
    levels = [full_level(shape)]
    while True:
        levels.insert(0, Level(shape=sampled, step=step))
        if max(sampled) <= COARSE_EDGE:
            return [level for index, level in enumerate(levels) if level not in levels[:index]]
        sampled = tuple(max(_half(n), COARSE_EDGE) if n > COARSE_EDGE else n for n in sampled)


def _largest_step(n: int, size: int) -> int:
    step = 1
    while n % (2 * step) == 0 and n // (2 * step) >= max(ROOM * size, SMALLEST_EDGE):
        step *= 2
    return step


def _half(n: int) -> int:
    half = (n + 1) // 2
    return half + half % 2
