"""The light that a series was counted in: what a count is made of besides the crystal."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# Voxels of an edge over which the share of a background is averaged.
AROUND = 5


class Light(NamedTuple):
    """counts ~ Poisson(scale * |F|^2 + background), both float32, of three axes, and broadcasting against the counts.

    `scale` is made of monitor, attenuators and flat field.
    """

    scale: NDArray[np.float32]
    background: NDArray[np.float32]


def light_of(
    shape: tuple[int, ...],
    scale: NDArray[np.float32] | None = None,
    background: NDArray[np.float32] | None = None,
) -> Light:
    """Return the light of counts of `shape` [z, y, x]; raise ValueError in one line for one that is none.

    `scale` and `background` are a number, or of a shape that broadcasts against the counts, or [rocking]; 1 and 0 where
    None.
    """
    factor = _fitting("scale", 1.0 if scale is None else scale, shape)
    if not np.all((factor > 0) & np.isfinite(factor)):
        raise ValueError("scale has values that are not above zero and finite: mask those voxels and give them 1")
    dark = _fitting("background", 0.0 if background is None else background, shape)
    if not np.all((dark >= 0) & np.isfinite(dark)):
        raise ValueError("background has values that are negative or not finite: give counts, 0 where there is none")
    return Light(factor, dark)


def in_even_light(
    counts: NDArray[np.float32], seen: NDArray[np.bool_], light: Light
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the counts [z, y, x] as they would be without background and in the mean light of what is `seen`, and the
    light of each relative to that.
    """
    mean = np.broadcast_to(light.scale, counts.shape)[seen].mean(dtype=np.float64)
    scale = (light.scale / mean).astype(np.float32)
    return _without_background(counts, seen, light.background) / scale, scale


def _without_background(
    counts: NDArray[np.float32], seen: NDArray[np.bool_], background: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Counts less the background, never negative: each is multiplied by the share of the crystal in the counts around
    it. Cutting off the negative ones of counts - background would leave half of its noise as signal.
    """
    if not background.any():
        return counts
    size = np.minimum(AROUND, counts.shape)
    around, dark = (
        ndimage.uniform_filter(np.where(seen, values, 0.0).astype(np.float32), size, mode="constant")
        for values in (counts, np.broadcast_to(background, counts.shape))
    )
    share = 1.0 - dark / np.maximum(around, np.float32(1e-6))
    return np.asarray(counts * np.clip(share, 0.0, 1.0), dtype=np.float32)


def _fitting(name: str, values: NDArray[np.float32] | float, shape: tuple[int, ...]) -> NDArray[np.float32]:
    array = np.asarray(values, dtype=np.float32)
    if array.ndim == 1 and len(array) == shape[0]:
        array = array[:, None, None]
    try:
        fits = np.broadcast_shapes(array.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name} has shape {array.shape}, which does not fit counts of shape {shape}")
    return array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
