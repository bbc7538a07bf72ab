"""Windows of a volume: where they lie, what the network sees in them, how what it says is put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from models.inpaint.guide import Guide, guide, no_guide
from models.inpaint.lines import FARTHEST, along_lines
from models.inpaint.network import EDGE
from models.inpaint.symmetry import centre_sums

# Positions from the centre are told to the network in units of this many voxels, to this many units.
POSITION_UNIT, MOST_UNITS = 16.0, 2.0


class Pattern(NamedTuple):
    """`counts` float32, 0 where not `seen` bool, (batch, z, y, x); `sums` int64 (batch, 3), see symmetry.centre_sums;
    `guide` float32, counts, and `apart` float32, told where `guided` bool, and `framed` float32, counts, where `found`
    bool, see guide.Guide; `line` float32, log1p of counts, and `span`, see lines.along_lines.
    """

    counts: Tensor
    seen: Tensor
    sums: Tensor
    guide: Tensor
    apart: Tensor
    guided: Tensor
    framed: Tensor
    found: Tensor
    line: Tensor
    span: Tensor


def pattern_of(counts: Tensor, seen: Tensor, guided: Sequence[bool], *, framed: bool = False) -> Pattern:
    """Return what windows are cut from; `counts` float32, 0 where not `seen` bool, (batch, z, y, x), and which of the
    batch are `guided`, and whether it is asked if their crystals are found (`framed`).
    """
    sums = centre_sums(counts, seen)
    guides = [
        guide(*item, framed=framed) if wanted else no_guide(item[0])
        for *item, wanted in zip(counts, seen, sums, guided, strict=True)
    ]
    said = Guide(*map(torch.stack, zip(*guides, strict=True)))
    return Pattern(
        counts,
        seen,
        sums,
        said.told,
        said.apart,
        said.where,
        said.framed,
        said.found,
        *along_lines(counts.log1p(), seen),
    )


def encoded(pattern: Pattern, items: Tensor, starts: Tensor) -> Tensor:
    """Return what the network takes, float32 (windows, CHANNELS, 32, 32, 32).

    `items` int64 (windows,): of the batch; `starts` int64 (windows, 3): first voxel of each window, which may lie
    beyond the volume: what is not there is not seen.
    """
    along = starts[..., None] + torch.arange(EDGE, device=starts.device)  # (windows, 3, 32)
    opposite = pattern.sums[items][..., None] - along
    channels = []
    for values, known, index in (
        (pattern.counts, pattern.seen, along),
        (pattern.counts, pattern.seen, opposite),
        (pattern.guide, pattern.guided, along),
    ):
        there = _taken(known, items, index) & _within(index, known.shape[-3:])
        channels += [torch.where(there, _taken(values, items, index), 0.0).log1p(), there.float()]
    away = ((along - opposite) / (2.0 * POSITION_UNIT)).clamp(-MOST_UNITS, MOST_UNITS)
    shape = (len(items), EDGE, EDGE, EDGE)
    positions = [_spread(away[:, axis], axis).expand(shape) for axis in range(3)]
    inside = _within(along, pattern.line.shape[-3:])
    line = torch.where(inside, _taken(pattern.line, items, along), 0.0)
    span = torch.where(inside, _taken(pattern.span, items, along), FARTHEST)
    apart = torch.where(inside, _taken(pattern.apart, items, along), 0.0)
    return torch.stack([*channels, *positions, line, span.log1p(), apart], 1)


def _taken(volumes: Tensor, items: Tensor, index: Tensor) -> Tensor:
    """Values of (batch, z, y, x) at `index` (windows, 3, 32) of each axis, the nearest ones where that is beyond."""
    z, y, x = (_spread(index[:, axis].clamp(0, n - 1), axis) for axis, n in enumerate(volumes.shape[-3:]))
    return volumes[items.view(-1, 1, 1, 1), z, y, x]


def _within(index: Tensor, shape: torch.Size) -> Tensor:
    z, y, x = (_spread((index[:, axis] >= 0) & (index[:, axis] < n), axis) for axis, n in enumerate(shape))
    return z & y & x


def _spread(values: Tensor, axis: int) -> Tensor:
    """(windows, 32) along one axis of (windows, z, y, x)."""
    shape = [len(values), 1, 1, 1]
    shape[axis + 1] = EDGE
    return values.view(shape)


def cut(volumes: Tensor, items: Tensor, starts: Tensor) -> Tensor:
    """Return windows (windows, 32, 32, 32) of volumes (batch, z, y, x), 0 or False beyond them."""
    index = starts[..., None] + torch.arange(EDGE, device=starts.device)
    taken = _taken(volumes, items, index)
    return torch.where(_within(index, volumes.shape[-3:]), taken, torch.zeros((), dtype=taken.dtype))


def placed(hidden: Tensor) -> Tensor:
    """Return int64 (windows, 3), the first voxels of windows for a volume whose voxels are `hidden` bool (z, y, x).

    The inner halves of all windows tile the volume, set so that gaps lie in their middle; those without a hidden voxel
    are left out.
    """
    axes = [
        _starts(hidden.sum([other for other in range(3) if other != axis]), length)
        for axis, length in enumerate(hidden.shape)
    ]
    grid = torch.cartesian_prod(*axes)
    corner = torch.tensor([axis[0] + EDGE // 4 for axis in axes])
    tile = (torch.nonzero(hidden).cpu() - corner).div(EDGE // 2, rounding_mode="floor")
    _, rows, columns = (len(axis) for axis in axes)
    numbers = (tile[:, 0] * rows + tile[:, 1]) * columns + tile[:, 2]
    return grid.view(-1, 3)[torch.unique(numbers)].to(hidden.device)


def _starts(profile: Tensor, length: int) -> Tensor:
    """First voxels of windows along an axis; `profile` (length,) hidden voxels of each plane across it."""
    half, quarter = EDGE // 2, EDGE // 4
    if length <= half:
        return torch.tensor([(length - EDGE) // 2])
    gap = (profile - profile.min()).cpu().float()
    index = torch.arange(length)
    both = torch.minimum(gap, torch.cat([gap.new_zeros(1), gap[:-1]]))  # hidden on either side of a seam
    costs = []
    for first in range(half):
        from_middle = ((index - first) % half - (half - 1) / 2).abs()
        costs.append(from_middle @ gap + half * both[first::half].sum())
    first = int(torch.stack(costs).argmin()) if bool(gap.any()) else 0
    return torch.arange(first - half * (first > 0) - quarter, length - quarter, half)


def blended(parts: Iterable[tuple[Tensor, Tensor]], into: Tensor) -> Tensor:
    """Put windows together in `into`, zeros float32 (channels, z, y, x): the mean, each voxel the lighter the farther
    it is from the middle of its window; 0 where no window lies. Return it.

    `parts` are windows (windows, channels, 32, 32, 32) and their first voxels (windows, 3).
    """
    ramp = 1.0 - ((torch.arange(EDGE, device=into.device) + 0.5) / (EDGE / 2) - 1.0).abs()
    weight = ramp[:, None, None] * ramp[:, None] * ramp
    weights = torch.zeros_like(into[0])
    for values, starts in parts:
        for value, start in zip(values, starts.tolist(), strict=True):
            z, y, x = (slice(max(0, -s), min(EDGE, n - s)) for s, n in zip(start, weights.shape, strict=True))
            there = tuple(slice(s + i.start, s + i.stop) for s, i in zip(start, (z, y, x), strict=True))
            into[:, *there] += value[:, z, y, x] * weight[z, y, x]
            weights[there] += weight[z, y, x]
    return into.div_(weights.clamp_(min=1e-12))
