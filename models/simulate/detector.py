"""Photon counting detectors with their faults: gaps, dead and hot pixels, background, streaks, saturation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from models.layouts import ChipLayout, chip_edges
from models.simulate.draws import chosen, log_uniform, uniform
from models.simulate.grid import Triple

FrameShape = tuple[int, int]

# Counts a frame that a hot pixel adds by itself.
HOT_COUNTS = (5.0, 2000.0)
# A gap wider than this share of a crop leaves no pattern: the experimenter has moved the crystal or the detector.
WIDEST_GAP = 0.25
# Half widths of a parasitic streak (scatter off slits, a neighbour's truncation rod), px.
STREAK_WIDTHS = (0.7, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """What the frames of a batch pass through.

    `gaps` and `dead` bool (batch, row, column), True where nothing is counted; `added_counts` float32 (batch, row,
    column), counts a frame that pixels see without the crystal (hot pixels, streaks, background); `hot` bool;
    `saturation_counts` float32 (batch,), at which the counter stops.
    """

    gaps: Tensor
    dead: Tensor
    hot: Tensor
    added_counts: Tensor
    saturation_counts: Tensor

    @property
    def announced_mask(self) -> Tensor:
        """What such a detector tells about itself, True is good: gaps and dead pixels, not the hot ones."""
        return ~(self.gaps | self.dead)

    @property
    def true_mask(self) -> Tensor:
        """True where a pixel counts photons and nothing else."""
        return self.announced_mask & ~self.hot


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How faulty the detectors of a family are: each range is drawn from evenly, counts by their logarithm.

    `dead` and `hot`: fewest and most pixels of a crop; `background_counts` a voxel; `streak_chance` of a streak and its
    `streak_counts` a frame at its brightest; `saturation_chance` that the counter stops, then at a share of the
    brightest voxel drawn from `saturation_share`.
    """

    dead: tuple[int, int] = (0, 8)
    hot: tuple[int, int] = (0, 8)
    background_counts: tuple[float, float] = (1e-4, 1e-1)
    streak_chance: float = 0.1
    streak_counts: tuple[float, float] = (0.1, 100.0)
    saturation_chance: float = 0.05
    saturation_share: tuple[float, float] = (0.1, 0.8)


def perfect_detector(shape: FrameShape, batch: int = 1, device: torch.device | str = "cpu") -> Detector:
    """Return detectors that only count."""
    nothing = torch.zeros((batch, *shape), dtype=torch.bool, device=device)
    return Detector(
        gaps=nothing,
        dead=nothing,
        hot=nothing,
        added_counts=torch.zeros((batch, *shape), device=device),
        saturation_counts=torch.full((batch,), torch.inf, device=device),
    )


def random_detectors(generator: Generator, gaps: Tensor, faults: Faults, brightest: Tensor) -> Detector:
    """Draw the faults of detectors with `gaps` bool (batch, row, column); `brightest` (batch,) expected counts."""
    batch, rows, columns = gaps.shape
    dead = _some_pixels(generator, ~gaps, *faults.dead)
    hot = _some_pixels(generator, ~(gaps | dead), *faults.hot)
    stops = chosen(generator, faults.saturation_chance, batch)
    level = brightest * uniform(generator, *faults.saturation_share, batch)
    background = log_uniform(generator, *faults.background_counts, batch)[:, None, None]
    added = background + log_uniform(generator, *HOT_COUNTS, batch, rows, columns) * hot
    seen = chosen(generator, faults.streak_chance, batch)[:, None, None]
    counts = log_uniform(generator, *faults.streak_counts, batch)[:, None, None]
    return Detector(
        gaps=gaps,
        dead=dead,
        hot=hot,
        added_counts=added + seen * counts * random_streaks(generator, batch, (rows, columns)),
        saturation_counts=torch.where(stops, level.round().clamp(min=1.0), torch.inf),
    )


def random_gaps(generator: Generator, layouts: list[ChipLayout], shape: FrameShape, chance: float) -> Tensor:
    """Draw where crops of `shape` lie on detectors with `layouts`, one each; bool (batch, row, column), True in gaps.

    Across each axis a gap falls into the crop with `chance`, anywhere in it; without, the crop lies on one chip as far
    as it fits.
    """
    batch = len(layouts)
    crossed = chosen(generator, chance, batch, 2).tolist()
    places = torch.rand((batch, 2), generator=generator, device=generator.device).tolist()
    masks = [
        torch.from_numpy(~chip_edges(shape, chips, _start(chips, shape, cross, place)))
        for chips, cross, place in zip(layouts, crossed, places, strict=True)
    ]
    return torch.stack(masks).to(generator.device)


def _start(chips: ChipLayout, shape: FrameShape, cross: list[bool], place: list[float]) -> FrameShape:
    row, column = (
        pixels - 1 - int(share * (length - 1))
        if crosses and gap + 2 * chips.enlarged <= WIDEST_GAP * length
        else chips.enlarged * (pixels + gap > length) + int(share * max(0, pixels - length - 2 * chips.enlarged))
        for pixels, gap, length, crosses, share in zip(chips.pixels, chips.gap, shape, cross, place, strict=True)
    )
    return max(0, row), max(0, column)


def random_streaks(generator: Generator, batch: int, shape: FrameShape) -> Tensor:
    """Draw straight streaks of height 1 through crops, float32 (batch, row, column): a Lorentzian across a line, fading
    along it from some point.
    """
    device = generator.device
    rows = torch.arange(shape[0], device=device)[:, None] - shape[0] * uniform(generator, 0.0, 1.0, batch, 1, 1)
    columns = torch.arange(shape[1], device=device)[None, :] - shape[1] * uniform(generator, 0.0, 1.0, batch, 1, 1)
    angle = uniform(generator, 0.0, torch.pi, batch, 1, 1)
    width = uniform(generator, *STREAK_WIDTHS, batch, 1, 1)
    length = uniform(generator, 0.2, 1.0, batch, 1, 1) * max(shape)
    across = rows * angle.cos() - columns * angle.sin()
    along = rows * angle.sin() + columns * angle.cos()
    return 1.0 / ((1.0 + (across / width).square()) * (1.0 + (along / length).square()))


def expose(generator: Generator, expected: Tensor, detector: Detector) -> Tensor:
    """Draw the counts, float32 (batch, z, row, column), of expected photons float32 of the same shape."""
    rate = (expected + detector.added_counts[:, None]) * detector.announced_mask[:, None]
    return torch.minimum(torch.poisson(rate, generator=generator), detector.saturation_counts[:, None, None, None])


def saturated(counts: Tensor, detector: Detector) -> Tensor:
    """Return where the counter stopped, bool (batch, z, row, column)."""
    return counts >= detector.saturation_counts[:, None, None, None]


def random_masks(generator: Generator, batch: int, shape: Triple, most: int = 3) -> Tensor:
    """Draw arbitrary masks, bool (batch, z, y, x), False in up to `most` boxes of up to a quarter of each axis.

    A beam stop, a burnt corner, frames that a shutter missed.
    """
    good = torch.ones((batch, *shape), dtype=torch.bool, device=generator.device)
    for _ in range(most):
        box = chosen(generator, 0.5, batch)[:, None, None, None]
        for axis, n in enumerate(shape):
            index = torch.arange(n, device=generator.device).view([-1 if a == axis else 1 for a in range(3)])
            middle = uniform(generator, 0.0, float(n), batch)[:, None, None, None]
            half = uniform(generator, 0.5, n / 8.0, batch)[:, None, None, None]
            box = box & ((index - middle).abs() <= half)
        good &= ~box
    return good


def _some_pixels(generator: Generator, free: Tensor, fewest: int, most: int) -> Tensor:
    """Draw `fewest` to `most` pixels a crop where `free` bool (batch, row, column), bool of the same shape."""
    room = int(free.sum((1, 2)).min())
    if most > room:
        raise ValueError(f"{most} faulty pixels do not fit into {room} free ones: give fewer, or larger frames")
    score = torch.rand(free.shape, generator=generator, device=generator.device).add_(1.0) * free
    count = torch.randint(fewest, most + 1, (len(free), 1), generator=generator, device=generator.device)
    drawn = torch.arange(most, device=free.device) < count
    places = score.flatten(1).topk(most).indices
    return torch.zeros_like(free).flatten(1).scatter_(1, places, drawn).view(free.shape)
