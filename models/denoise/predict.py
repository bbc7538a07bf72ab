"""The denoiser in use: counts in, expected counts and their standard deviations out."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models import registry
from models.denoise.network import CHANNELS, MULTIPLE, decoded, encoded
from models.engine.port import Engine
from models.engine.torch import TorchEngine
from models.frames import as_volume

NAME = "denoise"
# Engines made here that are kept, of as many shapes.
KEPT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Denoised:
    """Expected counts, arrays of the shape that was given.

    `frames` float32: what would be counted on average, less the background where one was given; a guess where the mask
    hides something. `std` float32: how far off that may be; noise of a further count is not in it.
    """

    frames: NDArray[np.float32]
    std: NDArray[np.float32]


def item_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape (channels, z, y, x) of items of an engine for counts of `shape`, [z, y, x] or [y, x]."""
    return CHANNELS, *(-(-edge // MULTIPLE) * MULTIPLE for edge in as_volume(shape))


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
    float32 [frame], the beam of each frame relative to that of the background (None: the same); what is left may be
    negative. For pictures and as a start: figures of merit use the measured counts. Safe in streaming. Raises
    ValueError in one line for counts that are not finite, for other shapes and for an engine of another shape.
    """
    shown = np.ones(frames.shape, bool) if mask is None else np.asarray(mask, bool)
    _require(frames, shown)
    shape = as_volume(frames.shape)
    engine = engine or default_engine(item_shape(shape))
    if engine.takes.shape != item_shape(shape):
        wanted = item_shape(shape)
        raise ValueError(f"counts of {frames.shape} need an engine of items {wanted}, got one of {engine.takes.shape}")
    missing = [(0, whole - edge) for whole, edge in zip(item_shape(shape)[1:], shape, strict=True)]
    counts = np.where(shown, frames, np.float32(0.0)).astype(np.float32).reshape(shape)
    seen = torch.from_numpy(np.pad(counts, missing))[None]
    announced = torch.from_numpy(np.pad(shown.reshape(shape), missing))[None]
    found = decoded(engine.run(encoded(seen, announced).to(engine.device)))
    z, y, x = shape
    expected, std = (np.ascontiguousarray(part[0, :z, :y, :x].cpu().numpy()) for part in found)
    if background is not None:
        expected = expected - _backgrounds(background, monitor, shape)
    return Denoised(frames=expected.reshape(frames.shape), std=std.reshape(frames.shape))


@functools.lru_cache(KEPT)
def default_engine(item: tuple[int, ...]) -> Engine:
    """Return the network that comes with Braggloop for items of a shape, on the CPU."""
    return TorchEngine(registry.build(registry.network(NAME)), item)


def _backgrounds(
    background: NDArray[np.float32], monitor: NDArray[np.float32] | None, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Counts of the background in each frame, float32 [frame, row, column]."""
    factors = np.ones(shape[0], np.float32) if monitor is None else np.asarray(monitor, np.float32)
    for name, array, wanted in (("background", background, shape[1:]), ("monitor", factors, shape[:1])):
        if array.shape != wanted or not np.all(np.isfinite(array) & (array >= 0)):
            raise ValueError(f"{name} of shape {array.shape}: expected {wanted}, finite and not negative")
    return factors[:, None, None] * background


def _require(frames: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
    if frames.ndim not in (2, 3):
        raise ValueError(f"counts have shape {frames.shape}: expected [frame, row, column] or [row, column]")
    if mask.shape != frames.shape:
        raise ValueError(f"mask has shape {mask.shape}, counts {frames.shape}: expected the same")
    if not mask.any():
        raise ValueError("all voxels are masked: there is nothing to denoise")
    wrong = np.count_nonzero(~np.isfinite(frames[mask]))
    if wrong:
        raise ValueError(f"{wrong} voxels that the mask calls good are not finite: mask them")
