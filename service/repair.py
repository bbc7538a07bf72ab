"""Repair: what networks make of a crop, between preprocessing and phase retrieval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from models.bcdi.pattern import Filled
from models.bcdi.preprocess import Preprocessed
from models.denoise.predict import NAME as DENOISER
from models.denoise.predict import Denoised, denoise, item_shape
from models.engine.port import Engine
from models.inpaint.predict import BATCH, ITEM, Inpainted, inpaint
from models.inpaint.predict import NAME as INPAINTER
from models.inpaint.trial import trial
from models.light import Light, light_of
from models.misfit import mean_square
from service.engines import Engines
from service.records import Repaired
from service.settings import Settings

# Filled counts whose standard deviations are more than this share of them, on average, are a guess.
MOST_UNSURE = 0.5
NO_GAP = "no gap between seen voxels to fill"


@dataclass(slots=True)
class Crop:
    """A crop on its way through the networks: what each of them made of it, by which engine, and what speaks against
    it; `warnings` of what else went wrong.

    `filled` for phase retrieval, where the settings let it use what was filled in.
    """

    prepared: Preprocessed
    filled: Filled | None = None
    repaired: Repaired | None = None
    by: dict[str, Mapping[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Repair:
    """Called with one crop after the other. For one thread.

    Raises SettingsError or SourceError where there is no such engine or network.
    """

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    def inpaint(self, crop: Crop, settings: Settings) -> None:
        """Fill the gaps; doubt it where the network is wrong about voxels that it is shown to be wrong about."""
        wanted, prepared = settings.repair, crop.prepared
        engine = self._engines.get(settings.engine, INPAINTER, ITEM, BATCH)
        found = inpaint(
            prepared.counts,
            prepared.mask,
            engine=engine,
            guided=wanted.guided,
            scale=prepared.scale,
            background=prepared.background,
            leave=prepared.saturated,
        )
        crop.repaired = Repaired(measured=_measured(prepared), filled=found.volume, filled_std=found.std)
        crop.by[INPAINTER] = engine.describe()
        voxels = int(np.count_nonzero(found.filled))
        use = "to be used as far as they are sure" if wanted.use_filled else "left free in phase retrieval"
        crop.notes.append(f"{voxels} voxels filled by a network, {use}" if voxels else NO_GAP)
        if not voxels:
            return
        light = light_of(prepared.counts.shape, prepared.scale, prepared.background)
        doubts, notes = judged_filling(prepared.counts, prepared.mask, found, engine, light, wanted.doubt_above)
        crop.doubts += doubts
        crop.notes += notes
        if wanted.use_filled and not crop.doubts:
            crop.filled = Filled(counts=found.volume, std=found.std)
        elif wanted.use_filled:
            crop.notes.append("filled voxels are doubtful, so they are left free in phase retrieval")

    def denoise(self, crop: Crop, settings: Settings) -> None:
        """Tell what the counts would be without noise; doubt it where the measured ones are not noise about that."""
        counts, mask = crop.prepared.counts, crop.prepared.mask
        engine = self._engines.get(settings.engine, DENOISER, item_shape(counts.shape))
        found = denoise(counts, mask, engine=engine)
        before = crop.repaired or Repaired(measured=_measured(crop.prepared))
        crop.repaired = replace(before, denoised=found.frames, denoised_std=found.std)
        crop.by[DENOISER] = engine.describe()
        crop.doubts += doubts_of_denoising(counts, mask, found, settings.repair.doubt_above)


def _measured(prepared: Preprocessed) -> NDArray[np.float32]:
    return np.where(prepared.mask, prepared.counts, np.float32(np.nan))


def judged_filling(
    counts: NDArray[np.float32],
    mask: NDArray[np.bool_],
    found: Inpainted,
    engine: Engine,
    light: Light,
    doubt_above: float,
) -> tuple[list[str], list[str]]:
    """Return what speaks against what was filled into a volume [z, y, x], and what is to be said beside: the network is
    tried on voxels beside the gap, without its guide, and is doubted where it misses them by more than `doubt_above`.
    """
    dark = np.broadcast_to(light.background, counts.shape)[found.filled]
    doubts = doubts_of_filling(found.volume[found.filled], found.std[found.filled], dark)
    missed = trial(np.where(mask, counts, np.float32(0.0)), mask, found.filled, engine, light)
    if missed > doubt_above**2:
        doubts.append(f"inpainting: counts beside the gap are missed by {math.sqrt(missed):.1f} sigma")
    untried = ["inpainting could not be tried beside the gap: too dark there, or no room"] * math.isnan(missed)
    return doubts, untried


def doubts_of_denoising(
    counts: NDArray[np.float32], mask: NDArray[np.bool_], found: Denoised, doubt_above: float
) -> list[str]:
    """Return what speaks against denoised counts: that those measured are no noise about them."""
    told = found.frames[mask]
    missed = mean_square(counts[mask], told, told + found.std[mask] ** 2 + 1.0)
    if missed > doubt_above**2:
        return [f"denoising: the counts are {math.sqrt(missed):.1f} sigma off what is told"]
    return []


def doubts_of_filling(
    counts: NDArray[np.float32], std: NDArray[np.float32], background: NDArray[np.float32]
) -> list[str]:
    """Return what speaks against filled counts: that they are a guess; see `unsure_share`."""
    unsure = unsure_share(counts, std, background)
    return [f"inpainting: the filled counts are unsure by {unsure:.0%}"] if unsure > MOST_UNSURE else []


def unsure_share(counts: NDArray[np.float32], std: NDArray[np.float32], background: NDArray[np.float32]) -> float:
    """Return how far off filled counts of these standard deviations may be, float32 [voxels] all, beyond the noise of
    counting, as a share of what they hold beside the background.
    """
    beyond_noise = np.sqrt(np.maximum(std**2 - counts, 0.0)).sum(dtype=np.float64)
    return float(beyond_noise / max(float((counts - background).sum(dtype=np.float64)), 1.0))
