"""The inpainter in use: gaps filled with expected counts, each with its standard deviation."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from models import registry
from models.engine.port import Engine
from models.engine.torch import TorchEngine
from models.frames import as_volume
from models.inpaint.masks import WIDEST, WIDEST_FRAMES
from models.inpaint.network import CHANNELS, EDGE, decoded
from models.inpaint.windows import Pattern, blended, encoded, pattern_of, placed

NAME = "inpaint"
ITEM = (CHANNELS, EDGE, EDGE, EDGE)  # what an engine must take
# Windows at once in the engine made here.
BATCH = 16
# The network tells the root of the mean square of what it misses, which a few large misses decide; this share of it
# holds 68 % of the counts (16 validation crystals of the family of training, 300,000 voxels of 10 counts or more).
SIGMA_SHARE = 0.67


@dataclass(frozen=True, slots=True, kw_only=True)
class Inpainted:
    """A filled pattern, arrays of the shape that was given.

    `volume` float32: the counts as given where they are seen, what is expected in gaps. `std` float32: standard
    deviation of the count that the detector would have shown there, Poisson noise included; 0 where it was seen.
    `filled` bool: where something was filled in. Voxels deeper than half the widest gap that was trained (8 px, 2
    frames) inside what is hidden stay 0, with `std` 0 and `filled` False: nobody knows what is there.
    """

    volume: NDArray[np.float32]
    std: NDArray[np.float32]
    filled: NDArray[np.bool_]


def inpaint(
    volume: NDArray[np.float32], mask: NDArray[np.bool_], *, engine: Engine | None = None, guided: bool = True
) -> Inpainted:
    """Fill what a detector did not count around a Bragg peak.

    `volume` float32 counts [rocking, row, column], or a single frame [row, column]; `mask` bool of the same shape, True
    where a voxel was seen; what the volume holds elsewhere is not looked at. `engine` runs the network on items of
    ITEM, the one that comes with Braggloop where None; `guided` by a short phase retrieval of what is seen, which takes
    longer than the network. Without a gap the volume comes back as it is. Safe in streaming.
    Raises ValueError in one line where nothing is seen, for counts that are negative or not numbers, for other shapes.
    """
    require(volume, mask)
    counts = np.where(mask, volume, np.float32(0.0)).astype(np.float32).reshape(as_volume(volume.shape))
    seen = np.asarray(mask, dtype=bool).reshape(counts.shape)
    filled = ~seen & within_reach(seen)
    if not filled.any():
        nothing = np.zeros(volume.shape, np.float32)
        return Inpainted(volume=counts.reshape(volume.shape), std=nothing, filled=nothing.astype(bool))
    intensity, sigma = predicted(counts, seen, filled, engine or default_engine(), guided)
    return Inpainted(
        volume=np.where(filled, intensity, counts).reshape(volume.shape),
        std=np.where(filled, np.sqrt(variance(intensity, sigma)), np.float32(0.0)).reshape(volume.shape),
        filled=filled.reshape(volume.shape),
    )


def variance(intensity: NDArray[np.float32], sigma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the variance of a count whose expectation is the square of a normal amplitude: of mean the square root of
    `intensity`, of standard deviation `sigma`.
    """
    return np.asarray(4.0 * intensity * sigma**2 + 2.0 * sigma**4 + intensity + sigma**2, dtype=np.float32)


def within_reach(seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return where a seen voxel is near enough for the network to tell something, bool [z, y, x].

    Half the widest gap of training: 8 px, 2 frames.
    """
    sampling = (WIDEST / WIDEST_FRAMES, 1.0, 1.0)
    return np.asarray(ndimage.distance_transform_edt(~seen, sampling=sampling) <= WIDEST / 2)


def predicted(
    counts: NDArray[np.float32],
    seen: NDArray[np.bool_],
    wanted: NDArray[np.bool_],
    engine: Engine,
    guided: bool = True,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the intensity, counts, and the standard deviation of its square root, float32 [z, y, x], where `wanted`.

    `counts` are 0 where not `seen`. The intensity's square root is taken as normal, so the intensity told is its
    median.
    """
    device = engine.device
    shown, there = (torch.from_numpy(array)[None].to(device) for array in (counts, seen))
    pattern = pattern_of(shown, there, [guided])
    starts = placed(torch.from_numpy(wanted)).to(device)
    most = engine.takes.batch[1]
    outputs = [_decoded(engine, pattern, part) for part in torch.split(starts, most)]
    z, y, x = counts.shape
    log_intensity, sigma = blended(torch.cat(outputs), starts, (z, y, x)).cpu().numpy()
    return np.expm1(log_intensity), SIGMA_SHARE * sigma


def _decoded(engine: Engine, pattern: Pattern, starts: Tensor) -> Tensor:
    items = torch.zeros(len(starts), dtype=torch.long, device=starts.device)
    intensity, sigma = decoded(engine.run(encoded(pattern, items, starts)))
    return torch.stack([intensity.log1p(), sigma], 1)


@functools.cache
def default_engine() -> Engine:
    """Return the network that comes with Braggloop, on the CPU."""
    return TorchEngine(registry.build(registry.network(NAME)), ITEM, batch=(1, BATCH))


def require(volume: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
    """Raise ValueError in one line where counts and mask are none that can be filled."""
    if volume.ndim not in (2, 3):
        raise ValueError(f"counts have shape {volume.shape}: expected [rocking, row, column] or [row, column]")
    if mask.shape != volume.shape:
        raise ValueError(f"mask has shape {mask.shape}, counts {volume.shape}: expected the same")
    shown = volume[mask]
    if not len(shown):
        raise ValueError("all voxels are masked: there is nothing to fill from")
    wrong = np.count_nonzero(~np.isfinite(shown))
    if wrong:
        raise ValueError(f"{wrong} voxels that the mask calls good are not finite: mask them")
    if shown.min() < 0:
        raise ValueError("negative counts: give counts as measured, without subtraction")
