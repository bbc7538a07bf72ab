"""Where the Bragg peak is, and whether it is alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Counts = NDArray[np.float32]

# Edge of the blocks of the coarse map, voxels.
BLOCK = 4
# A separate maximum above this share of the main one is another crystal. The first fringe of a cube has 0.047 of the
# peak's intensity, that of a sphere 0.017.
OTHER_FRACTION = 0.1
# A strained crystal's peak splits within a few of its own widths; what lies further off belongs to another crystal.
OTHER_WIDTHS = 6.0
# Half the edge of the box around the brightest block in which the peak is centred, voxels.
WINDOW = 10
# The centre of mass is taken above this share of the maximum, so that fringes and background do not pull it.
CORE_FRACTION = 0.3
SLAB = 8 * BLOCK  # frames at once: large arrays that are made anew cost more than what fills them


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """`index` (z, y, x) of the main peak in voxels, fractional; `others` those of further separate peaks, if any."""

    index: tuple[float, float, float]
    others: tuple[tuple[float, float, float], ...] = ()


def find_peak(counts: Counts, mask: Mask) -> Peak:
    """Find the Bragg peak of a volume, float32 counts and bool mask [rocking, row, column].

    The search runs on the squared mean of the square root over blocks of 4 voxels, where a single wild voxel weighs
    1/64 of a peak with the same counts; the peak is then the centre of mass of its core, so that a gap line or a wild
    voxel does not move it. Hot pixels should be masked before. Raises ValueError where no good voxel has counts.
    """
    coarse = _coarse_map(counts, mask)
    if not coarse.max() > 0:
        raise ValueError("no counts in any good voxel: expected a Bragg peak; check shutter, detector mask and region")
    main = np.unravel_index(int(coarse.argmax()), coarse.shape)
    index = _core_centre(counts, mask, [int(i) for i in main])
    return Peak(index=index, others=_others(coarse, np.asarray(main)))


def _coarse_map(counts: Counts, mask: Mask) -> NDArray[np.float64]:
    """Squared mean of sqrt(counts) in blocks, float64; masked voxels and those beyond the volume count as empty."""
    pooled = []
    for first in range(0, len(counts), SLAB):
        slab = slice(first, first + SLAB)
        root = torch.from_numpy(np.sqrt(counts[slab] * mask[slab]))[None, None]
        root = torch.nn.functional.pad(root, (0, 0, 0, 0, 0, -root.shape[2] % BLOCK))  # the last may be thin
        pooled.append(torch.nn.functional.avg_pool3d(root, BLOCK, ceil_mode=True, divisor_override=BLOCK**3)[0, 0])
    return np.asarray(torch.cat(pooled).numpy().astype(np.float64) ** 2)


def _core_centre(counts: Counts, mask: Mask, block: list[int]) -> tuple[float, float, float]:
    """Centre of mass of the smoothed core around a block of the coarse map."""
    middle = [BLOCK * i + BLOCK // 2 for i in block]
    box = tuple(slice(max(0, m - WINDOW), m + WINDOW + 1) for m in middle)
    weight = ndimage.gaussian_filter(mask[box].astype(np.float64), 1.0)
    root = ndimage.gaussian_filter(np.sqrt(counts[box] * mask[box]).astype(np.float64), 1.0)
    # Divided by the weight of good voxels, a gap line across the peak leaves no dent in it.
    smooth = (root / np.maximum(weight, 0.1)) ** 2
    core, _ = ndimage.label(smooth > CORE_FRACTION * smooth.max())
    core = core == core[np.unravel_index(int(smooth.argmax()), smooth.shape)]
    centre = ndimage.center_of_mass(smooth * core)
    z, y, x = (float(c) + s.start for c, s in zip(centre, box, strict=True))
    return z, y, x


def _others(coarse: NDArray[np.float64], main: NDArray[np.int64]) -> tuple[tuple[float, float, float], ...]:
    """Maxima apart from the main one, brightest first, in voxels."""
    labels, count = ndimage.label(coarse > OTHER_FRACTION * coarse.max(), structure=np.ones((3, 3, 3)))
    of_main = labels[tuple(main)]
    rest = [label for label in range(1, count + 1) if label != of_main]
    if not rest:
        return ()
    width = _rms_width(coarse * (labels == of_main))
    tops = ndimage.maximum_position(coarse, labels, rest)
    tops.sort(key=lambda top: -coarse[top])
    far = [top for top in tops if np.any(np.abs(np.subtract(top, main)) > 1 + OTHER_WIDTHS * width)]
    return tuple((_block_centre(z), _block_centre(y), _block_centre(x)) for z, y, x in far)


def _block_centre(block: int) -> float:
    return BLOCK * float(block) + (BLOCK - 1) / 2


def _rms_width(intensity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of an intensity along each axis, in blocks, at least that of one block."""
    total = intensity.sum()
    widths = []
    for axis, length in enumerate(intensity.shape):
        profile = intensity.sum(axis=tuple(other for other in range(3) if other != axis)) / total
        steps = np.arange(length)
        mean = float(profile @ steps)
        widths.append(float(profile @ (steps - mean) ** 2))
    return np.sqrt(np.maximum(widths, 1 / 12))
