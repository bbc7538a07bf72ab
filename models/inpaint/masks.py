"""What may be missing from a pattern: lines, crosses, blocks, discs and frames, drawn near its peak."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from models.simulate.draws import chosen, uniform

# Widest gap, px.
WIDEST = 16
WIDEST_FRAMES = 4
# Chances, of ten: a line across rows, one across columns, a cross, a block, a disc, missing frames.
KINDS = (0.27, 0.27, 0.28, 0.06, 0.06, 0.06)
# Gaps lie within this many voxels of the peak, but for a share that lies anywhere.
NEAR, ANYWHERE = 14.0, 0.15


def random_hidden(generator: Generator, peaks: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Draw bool (batch, z, y, x), True where a volume of `shape` shows nothing; `peaks` (batch, 3), index of each peak.

    A gap is the same in all frames, missing frames in all pixels.
    """
    batch, device = len(peaks), generator.device
    middles = peaks + uniform(generator, -NEAR, NEAR, batch, 3)
    extent = torch.tensor(shape, device=device, dtype=torch.float32)
    middles = torch.where(
        chosen(generator, ANYWHERE, batch, 1), uniform(generator, 0.0, 1.0, batch, 3) * extent, middles
    )
    widths = torch.randint(1, WIDEST + 1, (batch, 1), generator=generator, device=device).expand(-1, 3).clone()
    widths[:, 0] = torch.randint(1, WIDEST_FRAMES + 1, (batch,), generator=generator, device=device)
    first = (middles - widths / 2).round()
    z, y, x = (_between(first[:, axis], widths[:, axis], length, axis) for axis, length in enumerate(shape))
    away = sum(
        (torch.arange(shape[axis], device=device).view(_view(axis)) - middles[:, axis].view(-1, 1, 1, 1)).square()
        for axis in (1, 2)
    )
    disc = away <= (widths[:, 1].view(-1, 1, 1, 1) / 2).square()
    kinds = torch.multinomial(torch.tensor(KINDS, device=device), batch, replacement=True, generator=generator)
    hidden = torch.zeros((batch, *shape), dtype=torch.bool, device=device)
    for kind, mask in enumerate((y, x, y | x, y & x, disc, z)):
        hidden |= mask & (kinds == kind).view(-1, 1, 1, 1)
    return hidden


def _between(first: Tensor, width: Tensor, length: int, axis: int) -> Tensor:
    index = torch.arange(length, device=first.device).view(_view(axis))
    low, high = first.view(-1, 1, 1, 1), (first + width).view(-1, 1, 1, 1)
    return (index >= low) & (index < high)


def _view(axis: int) -> list[int]:
    return [1, *(-1 if other == axis else 1 for other in range(3))]
