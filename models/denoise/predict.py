"""The denoiser in use: counts in, expected counts and their standard deviations out."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models import registry
from models.counts import as_volume, require_counts
from models.denoise.network import CHANNELS, MULTIPLE, decoded, encoded
from models.engine.port import Engine
from models.engine.torch import TorchEngine

NAME = "denoise"
# Engines made here that are kept, of as many shapes.
KEPT = 4
# Longer edges (frames, rows, columns) are cut into tiles of so many voxels, which share HALO at each side: a network
# needs some hundred times the memory of its counts.
LARGEST, HALO = (64, 256, 256), 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Denoised:
    """Expected counts, arrays of the shape that was given.

    `frames` float32: what would be counted on average, less the background where one was given; a guess where the mask
    hides something. `std` float32: how far off that may be; noise of a further count is not in it.
    """

    frames: NDArray[np.float32]
    std: NDArray[np.float32]


def item_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape (channels, z, y, x) of items of an engine for counts of `shape`, [z, y, x] or [y, x]: of the
    whole, or of the tiles of something large.
    """
    edges = zip(as_volume(shape), LARGEST, strict=True)
    return CHANNELS, *(min(-(-edge // MULTIPLE) * MULTIPLE, largest) for edge, largest in edges)


def denoise(
    frames: NDArray[np.float32],
    mask: NDArray[np.bool_] | None = None,
    *,
    engine: Engine | None = None,
    background: NDArray[np.float32] | None = None,
    monitor: NDArray[np.float32] | None = None,
) -> Denoised:
    """Tell what frames would count on average.

    `frames` float32 counts [frame, row, column] of neighbouring exposures (a rocking curve, a time series), or a single
    one [row, column]; `mask` bool of the same shape, True where the detector announces a good voxel (None: everywhere);
    what the frames hold elsewhere is not looked at. `engine` runs the network on items of `item_shape(frames.shape)`,
    the one that comes with Braggloop where None: what is missing at the far edges is announced as no good voxel.
    `background` float32 [row, column], counts a frame without the sample, is subtracted in proportion to `monitor`
    float32 [frame] or of the shape of the frames, the beam of each frame relative to that of the background (None: the
    same); what is left may be negative. For pictures and as a start: figures of merit use the measured counts. Safe in
    streaming. Raises ValueError in one line for counts that are not finite, for other shapes and for an engine of
    another shape.
    """
    shown = np.ones(frames.shape, bool) if mask is None else np.asarray(mask, bool)
    require_counts(frames, shown)
    shape = as_volume(frames.shape)
    engine = engine or default_engine(item_shape(shape))
    if engine.takes.shape != item_shape(shape):
        wanted = item_shape(shape)
        raise ValueError(f"counts of {frames.shape} need an engine of items {wanted}, got one of {engine.takes.shape}")
    counts = np.where(shown, frames, np.float32(0.0)).astype(np.float32).reshape(shape)
    expected, std = _told(counts, shown.reshape(shape), engine)
    if background is not None:
        expected = expected - _backgrounds(background, monitor, shape)
    return Denoised(frames=expected.reshape(frames.shape), std=std.reshape(frames.shape))


def _told(
    counts: NDArray[np.float32], shown: NDArray[np.bool_], engine: Engine
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Expected counts and standard deviations float32 [z, y, x], tile by tile."""
    edges = engine.takes.shape[1:]
    expected, std = np.empty_like(counts), np.empty_like(counts)
    for places in itertools.product(*map(_tiles, counts.shape, edges)):
        taken = tuple(slice(first, first + edge) for (first, _, _), edge in zip(places, edges, strict=True))
        seen, announced = (torch.from_numpy(_padded(array[taken], edges))[None] for array in (counts, shown))
        found = decoded(engine.run(encoded(seen, announced).to(engine.device)))
        kept = tuple(slice(begin, end) for _, begin, end in places)
        inner = tuple(slice(begin - first, end - first) for first, begin, end in places)
        expected[kept], std[kept] = (part[0][inner].cpu().numpy() for part in found)
    return expected, std


def _tiles(length: int, edge: int) -> list[tuple[int, int, int]]:
    """First voxel of each tile of `edge` along an axis, and the voxels from and to which it is kept."""
    if length <= edge:
        return [(0, 0, length)]
    last = -(-length // MULTIPLE) * MULTIPLE - edge
    firsts = [*range(0, last, edge - 2 * HALO), last]  # where the network halves edges, so would it the whole
    seams = [0, *(first + HALO for first in firsts[1:]), length]
    return list(zip(firsts, seams[:-1], seams[1:], strict=True))


def _padded(array: NDArray[Any], edges: tuple[int, ...]) -> NDArray[Any]:
    return np.pad(array, [(0, edge - n) for edge, n in zip(edges, array.shape, strict=True)])


@functools.lru_cache(KEPT)
def default_engine(item: tuple[int, ...]) -> Engine:
    """Return the network that comes with Braggloop for items of a shape, on the CPU."""
    return TorchEngine(registry.build(registry.network(NAME)), item)


def _backgrounds(
    background: NDArray[np.float32], monitor: NDArray[np.float32] | None, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Counts of the background in each frame, float32 [frame, row, column]."""
    factors = np.ones(shape[0], np.float32) if monitor is None else np.asarray(monitor, np.float32)
    factors = factors[None] if factors.ndim == 2 else factors  # of a single frame
    for name, array, fitting in (("background", background, (shape[1:],)), ("monitor", factors, (shape[:1], shape))):
        if array.shape not in fitting or not np.all(np.isfinite(array) & (array >= 0)):
            wanted = " or ".join(map(str, fitting))
            raise ValueError(f"{name} of shape {array.shape}: expected {wanted}, finite and not negative")
    return (factors[:, None, None] if factors.ndim == 1 else factors) * background
