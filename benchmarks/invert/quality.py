"""How near crystals come to those simulated: told in one step, refined from there, found by a search."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from benchmarks.phasing import HELD_OUT_SEED, without_kernel
from models.autoencoder.space import Latents, told_by
from models.bcdi.modes import align, correlation
from models.bcdi.pattern import hold_out, measured_pattern
from models.bcdi.phasing import PhasingConfig, phase_retrieval
from models.engine.port import Engine
from models.invert.adapt import adapted
from models.invert.predict import invert
from models.invert.refine import refine
from models.simulate.detector import Faults
from models.simulate.draws import seeded
from models.simulate.families import Defect, Family, Shape
from models.simulate.scenes import FROZEN_SEEDS, random_scenes

Object = NDArray[np.complex64]
Counts = NDArray[np.float32]

EDGE_VOXELS, SCENES = 64, 8
# What AutoPhaseNN was made for: whole crystals with a smooth phase, on a still beam; and the same highly strained.
CONVEX = Family(
    elements=("Al", "Pd"),
    shapes=(Shape.WULFF, Shape.CUBOCTAHEDRON, Shape.POLYHEDRON, Shape.SMOOTH),
    defects=(Defect.NONE,),
    phase_range=(0.0, 2.0 * np.pi),
    flux=(1e6, 1e8),
    jitter_steps=(0.0, 0.0),
    fluctuation=(0.0, 0.0),
    coherence_voxels=(0.0, 0.0),
    gap_chance=0.0,
    mask_chance=0.0,
    faults=Faults(dead=(0, 0), hot=(0, 0), streak_chance=0.0, saturation_chance=0.0),
)
FAMILIES = {"convex": CONVEX, "high strain": replace(CONVEX, phase_range=(2.0 * np.pi, 4.0 * np.pi))}
INSIDE = 0.3  # share of its largest amplitude at which a crystal ends
WINDOW = 7  # of the structural similarity, voxels
ADAPTIVE_STEPS = 30


class Case(NamedTuple):
    """A pattern, what of it counts photons of the crystal, and the crystal, [z, y, x]."""

    counts: Counts
    mask: NDArray[np.bool_]
    truth: Object


class Quality(NamedTuple):
    """Twin, shift and ramp removed, amplitudes scaled to the same mean inside the true crystal, whose largest is 1.

    `correlation` of the complex objects; `ssim` of the amplitudes (data range 1, window 7) over the whole volume,
    `ssim_box` over the box of the true crystal; `dice` of the supports; `phase` mean |error| inside the true crystal,
    rad; `chi`, `chi2` and `free` (deviance of held-out voxels, which the networks have seen) of the counts, by one
    function for all; `seconds`.
    """

    correlation: float
    ssim: float
    ssim_box: float
    dice: float
    phase: float
    chi: float
    chi2: float
    free: float
    seconds: float


# From a case to its crystal, of any scale.
Way = Callable[[Case], Object]


def cases(family: Family) -> Iterator[Case]:
    """Yield unseen crystals of a family, without end."""
    generator = seeded(FROZEN_SEEDS["test"] + 200)
    while True:
        scenes = random_scenes(generator, family, SCENES, (EDGE_VOXELS,) * 3)
        yield from map(Case, scenes.counts.numpy(), scenes.mask.numpy(), scenes.specimens.object_.numpy())


def quality(case: Case, way: Way) -> Quality:
    """Return how near a way comes to a crystal."""
    began_s = time.perf_counter()
    object_ = way(case)
    seconds = time.perf_counter() - began_s
    held_out = hold_out(case.mask, PhasingConfig().held_out, HELD_OUT_SEED)
    one, nothing = np.ones(case.counts.shape, np.float32), np.zeros(case.counts.shape, np.float32)
    pattern = measured_pattern(case.counts, case.mask, held_out, scale=one, background=nothing, device="cpu")
    found = without_kernel(pattern, object_)
    alike = correlation(object_, case.truth)
    return Quality(alike, *compared(object_, case.truth), found.chi, found.chi2, found.free_log_likelihood, seconds)


def compared(object_: Object, truth: Object) -> tuple[float, float, float, float]:
    """Return `ssim`, `ssim_box`, `dice` and `phase` of Quality."""
    found, true = align(object_, truth).object_, truth / np.abs(truth).max()
    inside = np.abs(true) > INSIDE
    found = found * (np.abs(true)[inside].mean() / max(float(np.abs(found)[inside].mean()), 1e-12))
    overlap = found[inside] * np.conj(true[inside])
    off = np.angle(overlap * np.exp(-1j * np.angle(overlap.sum())))
    supports = np.abs(found) > INSIDE * np.abs(found).max(), inside
    amplitudes = [np.abs(one).clip(0.0, 1.0) for one in (found, true)]
    _, similar = structural_similarity(*amplitudes, data_range=1.0, win_size=WINDOW, full=True)
    box = tuple(slice(int(places.min()), int(places.max()) + 1) for places in np.nonzero(inside))
    return (
        float(similar.mean()),
        float(similar[box].mean()),
        float(2.0 * (supports[0] & supports[1]).sum() / (supports[0].sum() + supports[1].sum())),
        float(np.abs(off).mean()),
    )


def ways(engine: Engine) -> dict[str, Way]:
    """Return the rows that take little time: ours by tier, and what knows the support alone."""
    return {
        "direct": lambda case: invert(case.counts, case.mask, engine=engine).object_,
        "adaptive": lambda case: _adapted(case, engine, "surface"),
        "adaptive, learned latents": lambda case: _adapted(case, engine, "learned"),
        "refined, one round": lambda case: _refined(case, engine, budget_s=0.0),
        "refined": lambda case: _refined(case, engine, budget_s=math.inf),
        "zero phase on the true support": lambda case: (np.abs(case.truth) > INSIDE).astype(np.complex64),
    }


def searches(numbers: Sequence[int]) -> dict[str, Way]:
    """Return phase retrieval from each of these numbers of random starts."""

    def search(starts: int) -> Way:
        config = PhasingConfig(starts=starts, keep=min(10, starts), held_out_seed=HELD_OUT_SEED)
        return lambda case: phase_retrieval(case.counts, case.mask, config).object_

    return {f"search, {starts} start{'s' if starts > 1 else ''}": search(starts) for starts in numbers}


def mean_shape(family: Family, crystals: int = 64) -> Object:
    """Return the mean amplitude of crystals that are in no table, each centred."""
    generator = seeded(FROZEN_SEEDS["validation"] + 200)
    total = np.zeros((EDGE_VOXELS,) * 3)
    for _ in range(crystals // SCENES):
        objects = random_scenes(generator, family, SCENES, (EDGE_VOXELS,) * 3).specimens.object_.numpy()
        total += np.abs(objects).sum(0)
    return (total / crystals).astype(np.complex64)


def _adapted(case: Case, engine: Engine, latents: Latents) -> Object:
    told = told_by(latents, invert(case.counts, case.mask, engine=engine))
    return adapted(*told, case.counts, case.mask, ADAPTIVE_STEPS)


def _refined(case: Case, engine: Engine, budget_s: float) -> Object:
    start = invert(case.counts, case.mask, engine=engine).object_
    config = PhasingConfig(held_out_seed=HELD_OUT_SEED)
    return refine(case.counts, case.mask, start, config, budget_s=budget_s).phased.object_
