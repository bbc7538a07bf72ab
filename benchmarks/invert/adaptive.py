"""Latents brought to a crystal by its pattern alone: in how many evaluations of the misfit, beside Xopt and Adam."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.invert.quality import CONVEX
from models.bcdi.modes import align
from models.extremum import Seeking, State, init, settled
from models.invert.adapt import descend, latent_seeking, seek
from models.invert.fitted import fitted
from models.invert.latent import SUPPORT, LatentSpace
from models.invert.misfit import Misfit
from models.invert.predict import invert
from models.invert.view import grid_space
from models.simulate.diffraction import far_field, intensity
from models.simulate.draws import fibonacci_sphere, normal, seeded
from models.simulate.specimens import random_specimens

# Crystals that latents can tell: of one piece, without defects, of elements that training never saw.
UNSEEN = replace(CONVEX, phase_range=(0.0, 6.0))
EDGE_VOXELS, CRYSTALS_AT_ONCE = 64, 4
# A begin is off by this share of the root mean square of the surface, of the density and of the phase.
PERTURBED = 0.2
# Reached: surface off by 5 % of the mean radius, phase by 0.2 rad, both rms.
SURFACE, PHASE = 0.05, 0.2
RAYS = 500
# Evaluations in the slowest oscillation of Xopt: ten of its fastest, whose frequency is 1.75 times as high.
PERIOD = 18


class Problem(NamedTuple):
    """A crystal, its pattern, and latents to begin with.

    `wanted` latents (size,) of `grid_space` and `object_` complex64 [z, y, x], the same crystal; `misfit` of its counts
    in a space; `start` (size,) in that space.
    """

    wanted: Tensor
    object_: NDArray[np.complex64]
    misfit: Misfit
    start: Tensor


class Off(NamedTuple):
    """How far a crystal is from the one wanted, twin, shift and ramp removed: surface (share of the mean radius) and
    phase (rad), rms.
    """

    surface: float
    phase: float

    @property
    def reached(self) -> bool:
        return self.surface <= SURFACE and self.phase <= PHASE


# Yields how many evaluations were taken and where the latents stand then, for ever.
Way = Callable[[Problem], Iterator[tuple[int, Tensor]]]


def problems(seed: int, counts: float = 1e7, told: bool = False) -> Iterator[Problem]:
    """Yield crystals of UNSEEN, `counts` photons each with their noise, without end; begun PERTURBED off or, where
    `told`, with what the network tells.
    """
    generator = seeded(seed)
    space = grid_space()
    everywhere = torch.ones(space.shape, dtype=torch.bool)
    for wanted in _latents(generator, space):
        pattern = intensity(far_field(space.objects(wanted[None])))[0]
        counted = torch.poisson(pattern * (counts / pattern.sum()), generator=generator)
        start, begun = _perturbed(generator, space, wanted), space
        if told:
            network = invert(counted.numpy())
            start, begun = torch.from_numpy(network.latent), network.space
        yield Problem(wanted, space.objects(wanted[None])[0].numpy(), Misfit(begun, counted, everywhere), start)


def _perturbed(generator: torch.Generator, space: LatentSpace, wanted: Tensor) -> Tensor:
    start = wanted.clone()
    for part in (space.surface, space.density, space.phase):
        noise = normal(generator, len(wanted[part]))
        start[part] += PERTURBED * wanted[part].norm() * noise / noise.norm()
    return start


def _latents(generator: torch.Generator, space: LatentSpace) -> Iterator[Tensor]:
    while True:
        objects = random_specimens(generator, UNSEEN, CRYSTALS_AT_ONCE, (EDGE_VOXELS,) * 3).object_.numpy()
        for object_ in objects:
            inside = np.argwhere(np.abs(object_) > SUPPORT)
            middle, reach = inside.mean(0), np.ptp(inside, 0) / 2.0 + 0.5
            shift = [int(EDGE_VOXELS // 2 - round(place)) for place in middle]
            told = fitted(LatentSpace((EDGE_VOXELS,) * 3, reach.tolist()), np.roll(object_, shift, (0, 1, 2)))
            low, high = space.bounds()
            yield told.clamp(low, high)


def off(space: LatentSpace, found: Tensor, other: NDArray[np.complex64]) -> Off:
    """Return how far `found` latents (size,) are from a crystal complex64 [z, y, x]."""
    aligned = align(space.objects(found[None])[0].numpy(), other).object_
    rays = fibonacci_sphere(RAYS)
    radii = [space.surface_radius(fitted(space, each)[None], rays)[0] for each in (aligned, other)]
    both = (np.abs(other) > SUPPORT) & (np.abs(aligned) > SUPPORT * np.abs(aligned).max())
    turned = aligned[both] * np.conj(other[both])
    phase = np.angle(turned * np.exp(-1j * np.angle(turned.sum())))
    return Off(
        surface=float((radii[0] - radii[1]).square().mean().sqrt() / radii[1].mean()),
        phase=float(np.sqrt(np.mean(phase**2))),
    )


def evaluations(problem: Problem, way: Way, most: int) -> tuple[int | None, Off]:
    """Return after how many evaluations a way first stands within both bars, None where `most` were not enough, and
    how far off it was then.
    """
    space = problem.misfit.space
    now = off(space, problem.start, problem.object_)
    for taken, latents in way(problem):
        now = off(space, latents, problem.object_)
        if now.reached:
            return taken, now
        if taken >= most:
            break
    return None, now


def checks(first: int = 50, grown: float = 1.15) -> Iterator[int]:
    """Return how many evaluations to take until the next look, without end."""
    return (math.ceil(first * grown**step) for step in itertools.count())


def ours(problem: Problem) -> Iterator[tuple[int, Tensor]]:
    """Extremum seeking as it ships."""
    seeking = latent_seeking(problem.misfit.space)
    state = init(seeking, problem.start.numpy())
    for count in checks():
        state = seek(problem.misfit, seeking, state, count)
        yield state.step, torch.from_numpy(settled(seeking, state)).float()


def adam(most: int) -> Way:
    """Adam through the same forward model, its steps falling over `most` evaluations; looked at when it is done.

    An evaluation with its gradient counts as one, though it costs three.
    """

    def way(problem: Problem) -> Iterator[tuple[int, Tensor]]:
        yield most, descend(problem.misfit, problem.start, most).latents

    return way


class Gains(NamedTuple):
    """Of Xopt's extremum seeking."""

    k: float
    oscillation: float
    decay: float


def with_xopt(gains: Gains) -> Way:
    """Extremum seeking of Xopt (Scheinker et al.), one evaluation after another."""
    import pandas as pd
    from xopt import VOCS
    from xopt.generators.sequential.extremumseeking import ExtremumSeekingGenerator

    def way(problem: Problem) -> Iterator[tuple[int, Tensor]]:
        low, high = (bound.tolist() for bound in problem.misfit.space.bounds())
        names = [f"p{number:03}" for number in range(len(low))]
        generator = ExtremumSeekingGenerator(
            vocs=VOCS(
                variables=dict(zip(names, map(list, zip(low, high, strict=True)), strict=True)),
                objectives={"misfit": "MINIMIZE"},
            ),
            k=gains.k,
            oscillation_size=gains.oscillation,
            decay_rate=gains.decay,
        )
        latents = problem.start.clone()
        # Its centre is nowhere told: the mean of the last period of the slowest oscillation stands for it.
        last: deque[Tensor] = deque(maxlen=PERIOD)
        taken = 0
        for count in checks():
            for _ in range(count):
                cost = float(problem.misfit(latents[None])[0])
                told = dict(zip(names, latents.tolist(), strict=True)) | {"misfit": cost}
                generator.add_data(pd.DataFrame([told]))
                proposed = generator.generate(1)[0]
                latents = torch.tensor([proposed[name] for name in names])
                last.append(latents)
            taken += count
            yield taken, torch.stack(tuple(last)).mean(0)

    return way


class Followed(NamedTuple):
    """How a crystal that changes was followed, one a scan: misfit when its counts came and when the next ones did, how
    far off the latents were then, and by how many scans they were behind: which crystal's pattern theirs is nearest to.
    """

    before: list[float]
    after: list[float]
    off: list[Off]
    behind: list[int]


def followed(problem: Problem, scans: int, each: int, swing: float) -> Followed:
    """Follow a crystal that goes from `problem.wanted` to `problem.start` in `scans` even steps, `each` evaluations a
    scan, with a swing that does not shrink; the latents begin where the crystal does. Counts are without noise.
    """
    space = problem.misfit.space
    everywhere = torch.ones(space.shape, dtype=torch.bool)
    seeking = replace(latent_seeking(space), swing=swing, least_swing=swing)
    state = init(seeking, problem.wanted.numpy())
    path = [problem.wanted + share * (problem.start - problem.wanted) for share in np.linspace(0.0, 1.0, scans)]
    misfits = [Misfit(space, intensity(far_field(space.objects(one[None])))[0], everywhere) for one in path]
    found = Followed([], [], [], [])
    for number, (crystal, misfit) in enumerate(zip(path, misfits, strict=True)):
        found.before.append(_cost(misfit, seeking, state))
        state = seek(misfit, seeking, state, each)
        stands = torch.from_numpy(settled(seeking, state)).float()
        costs = [_cost(one, seeking, state) for one in misfits]
        found.after.append(costs[number])
        found.off.append(off(space, stands, space.objects(crystal[None])[0].numpy()))
        found.behind.append(number - int(np.argmin(costs)))
    return found


def _cost(misfit: Misfit, seeking: Seeking, state: State) -> float:
    return float(misfit(torch.from_numpy(settled(seeking, state)).float()[None])[0])
