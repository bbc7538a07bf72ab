"""Tiers: crystals that are there before the search for one is done, each begun where the ones before ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import registry
from models.autoencoder.space import told_by
from models.bcdi.phasing import Phased, PhasingConfig, phase_retrieval
from models.bcdi.preprocess import Preprocessed
from models.bcdi.search import rank
from models.inpaint.predict import BATCH
from models.inpaint.predict import ITEM as INPAINTED
from models.inpaint.predict import NAME as INPAINTER
from models.invert.adapt import adapted
from models.invert.predict import ITEM, NAME, Inverted, invert
from models.invert.refine import refine
from models.invert.space import Space
from models.invert.trust import doubt, unexplained
from service.engines import Engines
from service.settings import Settings

# What a crystal goes through so that its support and figures are told as those of all others are, beside the 20
# iterations of error reduction that end every run.
AS_IT_IS = "1*ER"
WARMING_EDGE = 32  # of a volume that is inverted for nothing but the first time


@dataclass(frozen=True, slots=True)
class Tier:
    """A crystal, the name of the tier that found it, and why that tier must not be trusted with it, if so."""

    name: str
    phased: Phased
    doubt: str = ""


class Tiers:
    """Called with one crop after the other. For one thread."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    def __call__(
        self,
        prepared: Preprocessed,
        settings: Settings,
        config: PhasingConfig,
        lines: NDArray[np.float64] | None = None,
    ) -> Iterator[Tier]:
        """Yield the tiers that the settings ask for, each as soon as it is done: `direct`, what the network tells;
        `adaptive`, its latents adapted to the counts; `refined`, phase retrieval that begins with the better of both
        and with `lines`, see `refine`.

        Raises SettingsError or SourceError where there is no such engine or network, ValueError where a crop is none.
        """
        wanted = settings.tiers
        if not wanted.direct:
            return
        told = self._told(prepared.intensity, prepared.mask, settings, prepared.scale, prepared.background)
        found = [Tier("direct", _phased(prepared, told.object_, config), told.doubt)]
        yield found[-1]
        if wanted.adaptive_steps:
            seen = prepared.mask & ~config.hidden(prepared.mask)  # so that its free log-likelihood is of unseen voxels
            nearer = adapted(*_latents(told, settings), prepared.intensity, seen, wanted.adaptive_steps)
            parts = (nearer[None], prepared.intensity, prepared.mask, prepared.scale, prepared.background)
            left = unexplained(*(torch.from_numpy(part) for part in parts))
            found.append(Tier("adaptive", _phased(prepared, nearer, config), doubt(float(left[0]))))
            yield found[-1]
        if wanted.refined_s:
            best = min(found, key=lambda tier: rank(tier.phased.figures)).phased.object_
            refined = refine(
                prepared.counts,
                prepared.mask,
                best,
                config,
                lines=lines,
                budget_s=wanted.refined_s,
                scale=prepared.scale,
                background=prepared.background,
            )
            yield Tier("refined", refined.phased)

    def warm(self, settings: Settings) -> None:
        """Make the engines that the settings ask for and let them run once, so that the first series need not wait.

        Raises as a call does.
        """
        if settings.tiers.direct:
            seen = np.ones((WARMING_EDGE,) * 3, bool)
            seen[:, WARMING_EDGE // 4] = False  # a gap, which the inpainter fills
            _latents(self._told(np.ones(seen.shape, np.float32), seen, settings), settings)

    def _told(
        self,
        intensity: NDArray[np.float32],
        mask: NDArray[np.bool_],
        settings: Settings,
        scale: NDArray[np.float32] | None = None,
        background: NDArray[np.float32] | None = None,
    ) -> Inverted:
        engine = self._engines.get(settings.engine, NAME, ITEM)
        gaps = None if mask.all() else self._engines.get(settings.engine, INPAINTER, INPAINTED, BATCH)
        return invert(intensity, mask, engine=engine, inpainter=gaps, scale=scale, background=background)


def _latents(told: Inverted, settings: Settings) -> tuple[Space, Tensor]:
    return told_by(settings.tiers.latents, told, settings.engine.networks or registry.ROOT)


def _phased(prepared: Preprocessed, object_: NDArray[np.complex64], config: PhasingConfig) -> Phased:
    return phase_retrieval(
        prepared.counts,
        prepared.mask,
        replace(config, recipe=AS_IT_IS, starts=1, keep=1),
        scale=prepared.scale,
        background=prepared.background,
        start=object_[None],
    )
