"""When a filling is doubted: what the network's own test says, beside what it really misses in the gap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.restore.gaps import EDGE_VOXELS, Case, gap, simulated
from models.engine.port import Engine
from models.inpaint.predict import inpaint
from models.inpaint.trial import trial
from models.light import light_of
from models.misfit import mean_square
from models.simulate.draws import seeded
from models.simulate.small_angle import random_small_angle
from service.repair import MOST_UNSURE, unsure_share

WIDTH = 6
PEAKS = (1e4, 1e6)
SMALL_ANGLE_COUNTS = 3e6
SHAPE = (EDGE_VOXELS,) * 3
MIDDLE = tuple(np.intp(n // 2) for n in SHAPE)


class Judged(NamedTuple):
    """Root of the mean square of what a network misses, in its own standard deviations: where its test put a gap beside
    the real one, and `missed` in the real one, which only a simulation knows; NaN in the dark. `told_off`: how far off
    it thinks that it may be, as a share of what it filled in; `off`: how far off it is.
    """

    tested: float
    missed: float
    told_off: float
    off: float

    def doubted(self, limit: float) -> bool:
        """Whether the service says that it is not sure, where `limit` is how much a network may miss, sigma."""
        return self.tested > limit or self.told_off > MOST_UNSURE


def judged(cases: Iterator[Case], engine: Engine) -> list[Judged]:
    """Return what is said of each case."""
    found = []
    for case in cases:
        counts = np.where(case.mask, case.counts, np.float32(0.0))
        light = light_of(counts.shape)
        filled = inpaint(counts, case.mask, engine=engine)
        tested = trial(counts, case.mask, filled.filled, engine, light)
        told, std, really = (array[filled.filled] for array in (filled.volume, filled.std, case.counts))
        missed = mean_square(really, told, np.maximum(std**2, 1.0))
        assert case.expected is not None
        off = np.abs(told - case.expected[filled.filled]).sum(dtype=np.float64) / max(float(told.sum()), 1.0)
        told_off = unsure_share(told, std, np.zeros_like(told))
        found.append(Judged(tested=tested**0.5, missed=missed**0.5, told_off=told_off, off=float(off)))
    return found


def kinds(count: int) -> dict[str, Iterator[Case]]:
    """Return what is judged, `count` of each: crystals as in training, crystals whose mask does not fit, and patterns
    that are of no crystal.
    """
    crystals = {f"crystals, peak {peak:.0e}": simulated(peak, count, WIDTH, "cross") for peak in PEAKS}
    return {
        **crystals,
        "crystals, mask one pixel off": map(_mask_off, simulated(PEAKS[-1], count, WIDTH, "cross")),
        "crystals amid hot pixels": map(_hot, simulated(PEAKS[-1], count, WIDTH, "cross")),
        "powder ring": _drawn(_ring, count),
        "small-angle pattern": _drawn(_small_angle, count),
        "speckle of a powder": _drawn(_speckle, count),
        "nothing but background": _drawn(lambda _: np.full(SHAPE, 5.0), count),
    }


def _mask_off(case: Case) -> Case:
    """The mask is a pixel off the gap: on one side a dead line counts as seen."""
    dead = np.where(case.mask, case.counts, np.float32(0.0))
    moved = np.roll(case.mask, (1, 1), axis=(1, 2))
    return case._replace(counts=np.where(moved, dead, case.counts), mask=moved)


def _hot(case: Case) -> Case:
    """One voxel in a hundred is a hot one, and the mask does not know."""
    hot = np.random.default_rng(int(case.counts.sum())).random(case.counts.shape) < 0.01
    return case._replace(counts=np.where(hot & case.mask, np.float32(1e3), case.counts))


def _drawn(rate: Callable[[int], NDArray[np.float64]], count: int) -> Iterator[Case]:
    for number in range(count):
        rng, expected = np.random.default_rng(number), rate(number)
        counts = rng.poisson(expected).astype(np.float32)
        yield Case(counts, expected.astype(np.float32), gap(SHAPE, MIDDLE, WIDTH, "cross", rng))


def _ring(number: int) -> NDArray[np.float64]:
    """Part of a ring, the same in all frames, 20 to 200 counts on the background of one."""
    rng = np.random.default_rng((1, number))
    centre = rng.uniform(-60, -20, 2)
    rows, columns = np.ogrid[:EDGE_VOXELS, :EDGE_VOXELS]
    away = np.hypot(rows - centre[0], columns - centre[1])
    radius = away[MIDDLE[1:]] + rng.uniform(-10, 10)
    frame = 1.0 + rng.uniform(20, 200) * np.exp(-(((away - radius) / rng.uniform(2, 8)) ** 2))
    return np.broadcast_to(frame, SHAPE)


def _small_angle(number: int) -> NDArray[np.float64]:
    return random_small_angle(seeded(number), 1, SHAPE, torch.tensor([SMALL_ANGLE_COUNTS]))[0].double().numpy()


def _speckle(number: int) -> NDArray[np.float64]:
    """Far field of 300 grains strewn over the field of view: speckles of one voxel, 30 counts on average."""
    rng = np.random.default_rng((2, number))
    object_ = torch.zeros(SHAPE, dtype=torch.complex64)
    places = rng.integers(0, EDGE_VOXELS, (300, 3))
    phases = np.exp(2j * np.pi * rng.random(len(places))).astype(np.complex64)
    object_[tuple(places.T)] = torch.from_numpy(phases)
    pattern = torch.fft.fftn(object_).abs().square().double().numpy()
    return np.asarray(30.0 * pattern / pattern.mean())
