"""A single frame as a volume of one."""

from __future__ import annotations


def as_volume(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape [z, y, x] of a volume that holds a frame or a volume of `shape`."""
    return shape if len(shape) == 3 else (1, *shape)
