"""Repair: what networks make of a crop, between preprocessing and phase retrieval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.bcdi.preprocess import Preprocessed
from models.denoise.predict import denoise, item_shape
from models.engine.port import Engine
from service.settings import EngineSettings, Settings

DENOISER = "denoise"  # name of the network
MakeEngine = Callable[[EngineSettings, str, tuple[int, ...]], Engine]  # of a network by name, for items of a shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """`denoised` float32 [rocking, row, column] of the crop, expected counts; `by` says which engine, for the record.

    Phase retrieval and figures of merit use the measured counts.
    """

    denoised: NDArray[np.float32]
    by: Mapping[str, str]


class Repair:
    """Called with one crop after the other; keeps its engine as long as settings and shape stay. For one thread."""

    def __init__(self, make: MakeEngine) -> None:
        self._make = make
        self._made: tuple[tuple[EngineSettings, tuple[int, ...]], Engine] | None = None

    def __call__(self, prepared: Preprocessed, settings: Settings) -> Repaired | None:
        """Return what `settings.repair` asks for, None where that is nothing.

        Raises SettingsError or SourceError where there is no such engine or network.
        """
        if not settings.repair.denoise:
            return None
        engine = self._engine(settings.engine, item_shape(prepared.counts.shape))
        denoised = denoise(prepared.counts, prepared.mask, engine)
        return Repaired(denoised=denoised, by={"network": DENOISER, **engine.describe()})

    def _engine(self, settings: EngineSettings, shape: tuple[int, ...]) -> Engine:
        key = (settings, shape)
        if self._made is None or self._made[0] != key:
            self._made = None  # let go of the former one before the next takes its memory
            self._made = key, self._make(settings, DENOISER, shape)
        return self._made[1]
