"""Tiers: crystals that are there before the search for one is done, each begun where the ones before ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from models.bcdi.phasing import Phased, PhasingConfig, phase_retrieval
from models.bcdi.preprocess import Preprocessed
from models.bcdi.search import rank
from models.engine.port import Engine
from models.invert.adapt import descend
from models.invert.misfit import Misfit
from models.invert.predict import ITEM, NAME, Inverted, invert
from models.invert.refine import refine
from service.repair import MakeEngine
from service.settings import EngineSettings, Settings

# What a crystal goes through so that its support and figures are told as those of all others are, beside the 20
# iterations of error reduction that end every run.
AS_IT_IS = "1*ER"


@dataclass(frozen=True, slots=True)
class Tier:
    """A crystal and the name of the tier that found it."""

    name: str
    phased: Phased


class Tiers:
    """Called with one crop after the other; keeps its engine as long as its settings stay. For one thread."""

    def __init__(self, make: MakeEngine) -> None:
        self._make = make
        self._made: tuple[EngineSettings, Engine] | None = None

    def __call__(self, prepared: Preprocessed, settings: Settings, config: PhasingConfig) -> Iterator[Tier]:
        """Yield the tiers that the settings ask for, each as soon as it is done: `direct`, what the network tells;
        `adaptive`, its latents adapted to the counts; `refined`, phase retrieval that begins with the better of both.

        Raises SettingsError or SourceError where there is no such engine or network, ValueError where a crop is none.
        """
        wanted = settings.tiers
        if not wanted.direct:
            return
        told = invert(prepared.intensity, prepared.mask, engine=self._engine(settings.engine))
        found = [Tier("direct", _phased(prepared, told.object_, config))]
        yield found[-1]
        if wanted.adaptive_steps:
            adapted = _adapted(prepared, told, wanted.adaptive_steps)
            found.append(Tier("adaptive", _phased(prepared, adapted, config)))
            yield found[-1]
        if wanted.refined_s:
            best = min(found, key=lambda tier: rank(tier.phased.figures)).phased.object_
            refined = refine(
                prepared.counts,
                prepared.mask,
                best,
                config,
                budget_s=wanted.refined_s,
                scale=prepared.scale,
                background=prepared.background,
            )
            yield Tier("refined", refined.phased)

    def _engine(self, settings: EngineSettings) -> Engine:
        if self._made is None or self._made[0] != settings:
            self._made = None  # let go of the former one before the next takes its memory
            self._made = settings, self._make(settings, NAME, ITEM, 1)
        return self._made[1]


def _adapted(prepared: Preprocessed, told: Inverted, steps: int) -> NDArray[np.complex64]:
    misfit = Misfit(told.space, torch.from_numpy(prepared.intensity), torch.from_numpy(prepared.mask))
    latents = descend(misfit, torch.from_numpy(told.latent), steps).latents
    return np.asarray(told.space.objects(latents[None])[0].numpy())


def _phased(prepared: Preprocessed, object_: NDArray[np.complex64], config: PhasingConfig) -> Phased:
    return phase_retrieval(
        prepared.counts,
        prepared.mask,
        replace(config, recipe=AS_IT_IS, starts=1, keep=1),
        scale=prepared.scale,
        background=prepared.background,
        start=object_[None],
    )
