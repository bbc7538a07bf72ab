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
from models.counts import as_volume, require_counts
from models.engine.port import Engine
from models.engine.torch import TorchEngine
from models.inpaint.masks import WIDEST, WIDEST_FRAMES
from models.inpaint.network import CHANNELS, EDGE, decoded, variance
from models.inpaint.windows import Pattern, blended, encoded, pattern_of, placed
from models.light import Light, in_even_light, light_of

NAME = "inpaint"
ITEM = (CHANNELS, EDGE, EDGE, EDGE)  # what an engine must take
# Windows at once in the engine made here.
BATCH = 16
# The network tells the root of the mean square of what it misses, which a few large misses decide; these shares of it
# hold 68 % of the counts, without a guide and with one (16 validation crystals of the family of training, 1e4 to 1e7
# counts in the peak, 440,000 voxels of 10 counts or more).
SIGMA_SHARE, GUIDED_SHARE = 0.80, 0.75
# Where the crystal is found it is believed in the bright, the network in the dark, half each at so many counts; the
# share in the bright (17 other validation crystals).
FOUND_FROM, FOUND_SHARE = 2.0, 0.35


@dataclass(frozen=True, slots=True, kw_only=True)
class Inpainted:
    """A filled pattern, arrays of the shape that was given.

    `volume` float32: the counts as given where they are seen, what is expected in gaps. `std` float32: standard
    deviation of the count that the detector would have shown there, Poisson noise included; 0 where it was seen.
    `filled` bool: where something was filled in. What is hidden and not filled stays 0, with `std` 0: nobody knows.
    """

    volume: NDArray[np.float32]
    std: NDArray[np.float32]
    filled: NDArray[np.bool_]


def inpaint(
    volume: NDArray[np.float32],
    mask: NDArray[np.bool_],
    *,
    engine: Engine | None = None,
    guided: bool = True,
    scale: NDArray[np.float32] | None = None,
    background: NDArray[np.float32] | None = None,
    leave: NDArray[np.bool_] | None = None,
) -> Inpainted:
    """Fill what a detector did not count around a Bragg peak.

    `volume` float32 counts [rocking, row, column], or a single frame [row, column]; `mask` bool of the same shape, True
    where a voxel was seen; what the volume holds elsewhere is not looked at. `engine` runs the network on items of
    ITEM, the one that comes with Braggloop where None; `guided` by the crystal of one density that explains what is
    seen, which takes longer than the network. `scale` float32 (monitor times transmission times flat field; of the
    counts' shape or [rocking]) and `background` float32 counts (of the counts' shape or [row, column]): what is filled
    in is what would have been counted in that light. `leave` bool of the counts' shape: hidden voxels that are not
    filled, as saturated ones, which hold more than their neighbours say.
    Only voxels between seen ones are filled, up to half the widest gap of training away from them (8 px, 2 frames).
    Without a gap the volume comes back as it is. Safe in streaming.
    Raises ValueError in one line where nothing is seen, for counts that are negative or not numbers, for other shapes.
    """
    mask = np.asarray(mask, dtype=bool)
    require(volume, mask)
    if leave is not None and leave.shape != volume.shape:
        raise ValueError(f"what to leave has shape {leave.shape}, counts {volume.shape}: expected the same")
    counts = np.where(mask, volume, np.float32(0.0)).astype(np.float32).reshape(as_volume(volume.shape))
    seen = mask.reshape(counts.shape)
    filled = fillable(seen) & (True if leave is None else ~leave.astype(bool).reshape(counts.shape))
    if not filled.any():
        nothing = np.zeros(volume.shape, np.float32)
        return Inpainted(volume=counts.reshape(volume.shape), std=nothing, filled=nothing.astype(bool))
    light = light_of(counts.shape, scale, background)
    expected, spread = counted(counts, seen, filled, engine or default_engine(), light, guided=guided)
    return Inpainted(
        volume=np.where(filled, expected, counts).reshape(volume.shape),
        std=np.where(filled, np.sqrt(spread), np.float32(0.0)).reshape(volume.shape),
        filled=filled.reshape(volume.shape),
    )


def counted(
    counts: NDArray[np.float32],
    seen: NDArray[np.bool_],
    wanted: NDArray[np.bool_],
    engine: Engine,
    light: Light,
    *,
    guided: bool = True,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the count that is expected where `wanted`, and its variance, float32 [z, y, x]; see `predicted`."""
    even, scale = in_even_light(counts, seen, light)
    intensity, sigma = predicted(even, seen, wanted, engine, guided)
    intensity, sigma = intensity * scale, sigma * np.sqrt(scale)
    return intensity + light.background, variance(intensity, sigma) + light.background


def fillable(seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which hidden voxels something can be said about, bool [z, y, x]: those between seen ones along an axis, or
    between such, and no farther from a seen one than half the widest gap of training: 8 px, 2 frames.
    """
    if seen.all():
        return ~seen
    near = seen
    for axis, widest in enumerate((WIDEST_FRAMES, WIDEST, WIDEST)):
        near = ndimage.maximum_filter1d(near, widest + 1, axis=axis, mode="constant", cval=False)
    return np.asarray(~seen & _between(_between(seen)) & near)


def _between(known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What is known, and what has something known on both sides of it along an axis."""
    found = known.copy()
    for axis in range(known.ndim):
        before = np.logical_or.accumulate(known, axis=axis)
        after = np.flip(np.logical_or.accumulate(np.flip(known, axis), axis=axis), axis)
        found |= before & after
    return found


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
    shown, there = (torch.from_numpy(array)[None].to(engine.device) for array in (counts, seen))
    return completed(pattern_of(shown, there, [guided], framed=True), wanted, engine)


def completed(
    pattern: Pattern, wanted: NDArray[np.bool_], engine: Engine
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what `predicted` does, of a pattern alone in its batch."""
    starts = placed(torch.from_numpy(wanted)).to(engine.device)
    windows = ((_decoded(engine, pattern, part), part) for part in torch.split(starts, engine.takes.batch[1]))
    log_intensity, sigma = blended(windows, torch.zeros((2, *wanted.shape), device=engine.device)).cpu().numpy()
    guided, found, framed = (part[0].cpu().numpy() for part in (pattern.guided, pattern.found, pattern.framed))
    trust = np.where(found, framed / (framed + FOUND_FROM), np.float32(0.0))
    share = np.where(guided, np.float32(GUIDED_SHARE), np.float32(SIGMA_SHARE))
    share += trust * (FOUND_SHARE - share)
    log_intensity += trust * (np.log1p(framed) - log_intensity)
    return np.expm1(log_intensity), share * sigma


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
    require_counts(volume, mask)
    if volume[mask].min() < 0:
        raise ValueError("negative counts: give counts as measured, without subtraction")
