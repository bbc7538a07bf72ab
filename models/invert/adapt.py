"""Latents adapted to a scan by its own voxels: by extremum seeking, from the misfit alone, or along its gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.extremum import Seeking, State, propose, update
from models.invert.misfit import Misfit
from models.invert.space import Space

# Swing of all latents at once at the beginning, and the least, as shares of their bounds.
SWING, LEAST_SWING = 0.01, 3e-4
GAIN = 1.5
# Of Adam (Kingma and Ba, ICLR 2015): a step, as a share of the bounds, at the beginning and at the end.
STEP, LAST_STEP = 0.01, 0.001


def latent_seeking(space: Space, seed: int = 0) -> Seeking:
    """Return how extremum seeking goes over all latents of a space at once."""
    low, high = (bound.cpu().numpy() for bound in space.bounds())
    return Seeking(low=low, high=high, swing=SWING, least_swing=LEAST_SWING, gain=GAIN, seed=seed)


def seek(misfit: Misfit, seeking: Seeking, state: State, evaluations: int) -> State:
    """Return the state after so many more evaluations of the misfit, which needs no gradient.

    Of a crystal that changes give the state of before and the misfit of now: what is sought is followed.
    """
    device = misfit.space.device
    with torch.no_grad():
        for _ in range(evaluations):
            latents = torch.from_numpy(propose(seeking, state)).float().to(device)
            state = update(seeking, state, float(misfit(latents[None])[0]))
    return state


@dataclass(frozen=True, slots=True, kw_only=True)
class Descended:
    """Where Adam came to: `latents` float32 (size,), the best on the way, their `misfit`, and that of each step."""

    latents: Tensor
    misfit: float
    curve: tuple[float, ...]


def adapted(
    space: Space, latent: Tensor, intensity: NDArray[np.float32], seen: NDArray[np.bool_], steps: int
) -> NDArray[np.complex64]:
    """Return the crystal complex64 [z, y, x], in counts, of latents (size,) after so many steps of `descend` to an
    intensity.
    """
    misfit = Misfit(space, torch.from_numpy(intensity), torch.from_numpy(seen))
    latents = descend(misfit, latent, steps).latents[None]
    return np.asarray((space.objects(latents) * misfit.fit(latents)[0])[0].numpy())


@torch.enable_grad()
def descend(misfit: Misfit, start: Tensor, evaluations: int) -> Descended:
    """Follow the gradient of the misfit from `start` (size,) float32 for so many evaluations, within the bounds."""
    low, high = misfit.space.bounds()
    span = high - low
    place = ((start - low) / span).clamp(0.0, 1.0).requires_grad_()
    optimiser = torch.optim.Adam([place], lr=STEP)
    decay = torch.optim.lr_scheduler.ExponentialLR(optimiser, (LAST_STEP / STEP) ** (1.0 / max(evaluations, 1)))
    best, curve = place.detach().clone(), list[float]()
    for _ in range(evaluations):
        optimiser.zero_grad()
        cost = misfit((low + span * place)[None])[0]
        curve.append(float(cost.detach()))
        if curve[-1] == min(curve):
            best = place.detach().clone()
        cost.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        decay.step()
        with torch.no_grad():
            place.clamp_(0.0, 1.0)
    return Descended(latents=low + span * best, misfit=min(curve, default=float("nan")), curve=tuple(curve))
