"""The denoiser in use: counts in, expected counts out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from models.denoise.network import MULTIPLE, decoded, encoded
from models.engine.port import Engine

CHANNELS = 2  # what the network takes: counts, and where they are announced


def item_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape (channels, z, y, x) of the items of an engine that takes counts of `shape` (z, y, x)."""
    return CHANNELS, *(-(-edge // MULTIPLE) * MULTIPLE for edge in shape)


def denoise(counts: NDArray[np.float32], mask: NDArray[np.bool_], engine: Engine) -> NDArray[np.float32]:
    """Return the expected counts float32 [z, y, x] behind `counts` of the same shape.

    `mask` True where the detector announces a good voxel; what it counts elsewhere is not looked at, and what is
    returned there is a guess. `engine` runs the network on items of `item_shape(counts.shape)`: what is missing at the
    far edges is announced as no good voxel. Raises ValueError where it is an engine of another shape. For pictures and
    as a start: figures of merit use the measured counts. Safe in streaming.
    """
    wanted = item_shape(counts.shape)
    if engine.takes.shape != wanted:
        raise ValueError(f"counts of {counts.shape} need an engine of items {wanted}, got one of {engine.takes.shape}")
    missing = [(0, whole - edge) for whole, edge in zip(wanted[1:], counts.shape, strict=True)]
    seen = torch.from_numpy(np.pad(np.where(mask, counts, 0.0).astype(np.float32), missing))
    announced = torch.from_numpy(np.pad(mask, missing))
    expected = decoded(engine.run(encoded(seen[None], announced[None]).to(engine.device)))
    z, y, x = counts.shape
    return np.ascontiguousarray(expected[0, :z, :y, :x].cpu().numpy())
