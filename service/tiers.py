"""Tiers: crystals that are there before the search for one is done, each begun where the ones before ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.bcdi.phasing import Phased, PhasingConfig, phase_retrieval
from models.bcdi.preprocess import Preprocessed
from models.bcdi.search import rank
from models.invert.adapt import adapted
from models.invert.predict import ITEM, NAME, invert
from models.invert.refine import refine
from service.engines import Engines, MakeEngine
from service.settings import Settings

# What a crystal goes through so that its support and figures are told as those of all others are, beside the 20
# iterations of error reduction that end every run.
AS_IT_IS = "1*ER"


@dataclass(frozen=True, slots=True)
class Tier:
    """A crystal and the name of the tier that found it."""

    name: str
    phased: Phased


class Tiers:
    """Called with one crop after the other; keeps its engine. For one thread."""

    def __init__(self, make: MakeEngine) -> None:
        self._engines = Engines(make)

    def __call__(self, prepared: Preprocessed, settings: Settings, config: PhasingConfig) -> Iterator[Tier]:
        """Yield the tiers that the settings ask for, each as soon as it is done: `direct`, what the network tells;
        `adaptive`, its latents adapted to the counts; `refined`, phase retrieval that begins with the better of both.

        Raises SettingsError or SourceError where there is no such engine or network, ValueError where a crop is none.
        """
        wanted = settings.tiers
        if not wanted.direct:
            return
        told = invert(prepared.intensity, prepared.mask, engine=self._engines.get(settings.engine, NAME, ITEM))
        found = [Tier("direct", _phased(prepared, told.object_, config))]
        yield found[-1]
        if wanted.adaptive_steps:
            nearer = adapted(told.space, told.latent, prepared.intensity, prepared.mask, wanted.adaptive_steps)
            found.append(Tier("adaptive", _phased(prepared, nearer, config)))
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


def _phased(prepared: Preprocessed, object_: NDArray[np.complex64], config: PhasingConfig) -> Phased:
    return phase_retrieval(
        prepared.counts,
        prepared.mask,
        replace(config, recipe=AS_IT_IS, starts=1, keep=1),
        scale=prepared.scale,
        background=prepared.background,
        start=object_[None],
    )
