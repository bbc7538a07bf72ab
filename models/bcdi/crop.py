"""Which part of a volume is inverted: a box around the peak with edges that the FFT likes, binned where asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Counts = NDArray[np.float32]
Triple = tuple[int, int, int]

# Share of the counts above background that the box holds along each axis; with less the outer fringes, which carry the
# resolution, are lost, with more the box grows fast for fringes below one count a voxel.
SIGNAL_SHARE = 0.998
# Background is the level of the dimmest tenth of the slices along an axis; a slice within three standard deviations of
# it holds no signal, so that noise does not widen the box.
BACKGROUND_PERCENTILE = 10.0
NOISE_SIGMAS = 3.0
# A box with fewer voxels along an edge resolves nothing.
SMALLEST_EDGE = 16
FFT_FACTORS = (2, 3, 5, 7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """A box of a volume [rocking, row, column]: first voxel (negative: padded), shape after binning, voxels a bin.

    Voxel i of the crop is centred on volume index `offset + binning * i + (binning - 1) / 2`, so a basis of Q (columns:
    steps per voxel) of the volume becomes that of the crop by multiplying its columns with `binning`.
    """

    offset: Triple
    shape: Triple
    binning: Triple = (1, 1, 1)

    def to_volume(self, index: tuple[float, float, float]) -> tuple[float, float, float]:
        """Return the index in the whole volume of an index (z, y, x) in the crop."""
        z, y, x = (o + b * i + (b - 1) / 2 for o, b, i in zip(self.offset, self.binning, index, strict=True))
        return z, y, x

    def to_crop(self, index: tuple[float, float, float]) -> tuple[float, float, float]:
        """Return the index in the crop of an index (z, y, x) in the whole volume."""
        z, y, x = ((i - o - (b - 1) / 2) / b for o, b, i in zip(self.offset, self.binning, index, strict=True))
        return z, y, x


def next_good_size(length: int) -> int:
    """Smallest even product of 2, 3, 5 and 7 that is at least `length`."""
    size = max(2, length + length % 2)
    while not _is_good(size):
        size += 2
    return size


def last_good_size(length: int) -> int:
    """Largest even product of 2, 3, 5 and 7 that is at most `length` (at least 2)."""
    size = max(2, length - length % 2)
    while not _is_good(size):
        size -= 2
    return size


def choose_crop(
    counts: Counts,
    mask: Mask,
    peak_index: tuple[float, float, float],
    *,
    size: int | Triple = 0,
    binning: Triple = (1, 1, 1),
    largest: int = 256,
) -> tuple[Crop, str]:
    """Choose the box around `peak_index` and say why.

    `counts` float32 and `mask` bool [rocking, row, column]. `size` fixes the edge of a cube, or the three
    edges (voxels after binning). With 0 each edge is the smallest good size that holds 99.8 % of the counts above
    background along its axis, no longer than the volume and than `largest`.
    """
    if size:
        edges = (size, size, size) if isinstance(size, int) else size
        why = f"crop {' x '.join(map(str, edges))} as set"
    else:
        seen = counts * mask
        wanted = [_signal_edge(profile, centre) for profile, centre in zip(_profiles(seen), peak_index, strict=True)]
        z, y, x = (_fit(w, b, n, largest) for w, b, n in zip(wanted, binning, counts.shape, strict=True))
        edges = (z, y, x)
        why = f"crop {z} x {y} x {x}: holds {_share(seen, peak_index, edges, binning):.1%} of the counts"
    return _box_around(peak_index, edges, binning), why


def cut(array: NDArray[Any], crop: Crop, fill: float) -> NDArray[Any]:
    """Return the unbinned box of a volume, `fill` where it reaches beyond the volume."""
    result = np.full([n * b for n, b in zip(crop.shape, crop.binning, strict=True)], fill, dtype=array.dtype)
    source, target = [], []
    for first, edge, length in zip(crop.offset, result.shape, array.shape, strict=True):
        start, stop = max(0, first), max(0, min(length, first + edge))
        source.append(slice(start, stop))
        target.append(slice(start - first, max(0, stop - first)))
    result[tuple(target)] = array[tuple(source)]
    return result


def bin_with(reduce: Callable[..., Any], array: NDArray[Any], binning: Triple) -> NDArray[Any]:
    """Reduce each block of `binning` voxels with np.sum (counts), np.mean (scales) or np.all (masks)."""
    if binning == (1, 1, 1):
        return array
    z, y, x = (n // b for n, b in zip(array.shape, binning, strict=True))
    blocks = array.reshape(z, binning[0], y, binning[1], x, binning[2])
    return np.asarray(reduce(blocks, axis=(1, 3, 5)))


def _is_good(size: int) -> bool:
    for factor in FFT_FACTORS:
        while size % factor == 0:
            size //= factor
    return size == 1


def _profiles(counts: Counts) -> list[NDArray[np.float64]]:
    plane = counts.sum(axis=0, dtype=np.float64)
    return [counts.sum(axis=(1, 2), dtype=np.float64), plane.sum(axis=1), plane.sum(axis=0)]


def _signal_edge(profile: NDArray[np.float64], centre: float) -> int:
    """Edge of the window about `centre` that holds nearly all of a profile above its background."""
    background = np.percentile(profile, BACKGROUND_PERCENTILE)
    excess = profile - background
    signal = np.where(excess > NOISE_SIGMAS * np.sqrt(background), excess, 0.0)
    distance = np.abs(np.arange(len(profile)) - round(centre))
    within = np.cumsum(np.bincount(distance, weights=signal))
    half = int(np.searchsorted(within, SIGNAL_SHARE * within[-1]))
    return 2 * half + 1


def _fit(wanted: int, binning: int, length: int, largest: int) -> int:
    available = last_good_size(min(length // binning, largest))
    return min(next_good_size(max(SMALLEST_EDGE, -(-wanted // binning))), available)


def _box_around(peak_index: tuple[float, float, float], edges: Triple, binning: Triple) -> Crop:
    # The peak's voxel becomes the zero frequency of the crop, index n // 2.
    z, y, x = (round(p - (b - 1) / 2) - b * (n // 2) for p, n, b in zip(peak_index, edges, binning, strict=True))
    return Crop(offset=(z, y, x), shape=edges, binning=binning)


def _share(counts: Counts, peak_index: tuple[float, float, float], edges: Triple, binning: Triple) -> float:
    inside = cut(counts, _box_around(peak_index, edges, binning), 0.0)
    return float(inside.sum(dtype=np.float64) / counts.sum(dtype=np.float64))
