"""The inpainter adapted to one scan: a few more steps of training on gaps put over voxels that the scan shows."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from models import registry
from models.counts import as_volume
from models.engine.port import Engine
from models.engine.torch import TorchEngine, channels_last
from models.inpaint.masks import random_hidden
from models.inpaint.network import EDGE, decoded
from models.inpaint.predict import BATCH, ITEM, NAME, require
from models.inpaint.windows import Pattern, cut, encoded, pattern_of
from models.light import in_even_light, light_of
from models.simulate.draws import seeded

# Sets of gaps that are drawn over the scan; with a guide each costs as much as a reconstruction, so that they may take
# this share of the time and no more.
LAYOUTS, LAYING = 6, 0.5
WINDOWS = 4  # a step
LEARNING_RATE = 2e-4
# Variance of the square root of a Poisson count, nearly.
COUNTED = 0.25


def adapted_engine(
    volume: NDArray[np.float32],
    mask: NDArray[np.bool_],
    seconds: float,
    *,
    guided: bool = True,
    scale: NDArray[np.float32] | None = None,
    background: NDArray[np.float32] | None = None,
    seed: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> Engine:
    """Return an engine of the network that comes with Braggloop, trained for `seconds` more on what `volume` shows.

    `volume` float32 counts [rocking, row, column], `mask` bool, True where seen, `scale` and `background` are as in
    `predict.inpaint`: only seen voxels are looked at, and nothing is kept but the engine. On the CPU. Raises ValueError
    where nothing is seen, for light that is none, and where the time was over before the first step: a guide takes
    longer than some seconds.
    """
    mask = np.asarray(mask, dtype=bool)
    require(volume, mask)
    shape = as_volume(volume.shape)
    volume, mask = volume.reshape(shape), mask.reshape(shape)
    until, laid_until = clock() + seconds, clock() + LAYING * seconds
    network = registry.build(registry.network(NAME)).train()
    shown = np.where(mask, volume, np.float32(0.0)).astype(np.float32)
    counts = torch.from_numpy(in_even_light(shown, mask, light_of(shape, scale, background))[0])
    generator = seeded(seed)
    pattern, asked = _gaps(counts, torch.from_numpy(mask), generator, guided, lambda: clock() < laid_until)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    if not clock() < until:
        raise ValueError(f"{seconds:g} s were over before the first step of adaptation: give more, or no guide")
    while clock() < until:
        inputs, wanted, where = _windows(counts, pattern, asked, generator)
        optimizer.zero_grad()
        _loss(network, inputs, wanted, where).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    return TorchEngine(network.eval(), ITEM, batch=(1, BATCH))


def _gaps(
    counts: Tensor, seen: Tensor, generator: Generator, guided: bool, in_time: Callable[[], bool]
) -> tuple[Pattern, Tensor]:
    """The scan with further gaps in it, and where they are, as long as there is time, one at least."""
    z, y, x = counts.shape
    peak = torch.stack(torch.unravel_index(counts.argmax(), counts.shape))[None]
    patterns: list[Pattern] = []
    hidden: list[Tensor] = []
    while not patterns or (len(patterns) < LAYOUTS and in_time()):
        asked = random_hidden(generator, peak, (z, y, x)) & seen
        left = seen[None] & ~asked
        patterns.append(pattern_of(counts[None] * left, left, [guided]))
        hidden.append(asked)
    return Pattern(*map(torch.cat, zip(*patterns, strict=True))), torch.cat(hidden)


def _windows(counts: Tensor, pattern: Pattern, asked: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs of windows about voxels that are asked for, the counts there and where they are."""
    items = torch.randint(len(asked), (WINDOWS,), generator=generator)
    score = torch.rand((WINDOWS, *counts.shape), generator=generator) * asked[items]
    places = torch.stack(torch.unravel_index(score.flatten(1).argmax(1), counts.shape), -1)
    starts = places - EDGE // 2 + torch.randint(-EDGE // 4, EDGE // 4, places.shape, generator=generator)
    whole = torch.zeros(WINDOWS, dtype=torch.long)
    return encoded(pattern, items, starts), cut(counts[None], whole, starts), cut(asked, items, starts)


def _loss(network: nn.Module, inputs: Tensor, wanted: Tensor, where: Tensor) -> Tensor:
    """Likelihood of the square roots of the counts, normal about the amplitude told."""
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(channels_last(inputs))
    intensity, sigma = decoded(outputs.float())
    total = sigma.square() + COUNTED
    off = (wanted + COUNTED).sqrt() - (intensity + COUNTED).sqrt()
    unlikely = total.log() / 2.0 + off.square() / (2.0 * total)
    return (unlikely * where).sum() / where.sum().clamp(min=1)
