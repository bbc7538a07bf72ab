"""The search for the crystal of a crop: phase retrieval as the settings want it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from models.bcdi.one_density import phase_retrieval_both_ways
from models.bcdi.phasing import Phased, PhasingConfig, phase_retrieval
from models.bcdi.wound import likely_lines, rewound
from models.light import light_of
from service.errors import SettingsError, one_line
from service.repair import Crop
from service.settings import PhasingSettings

WOUND = (
    "begun with a phase that winds twice about a line, as where g.b is 2: likelier than all random starts, whose"
    " agreement is told; the resolution is of starts about that one"
)
# Where starts that wind are tried as well, random ones are so much of the work.
RANDOM_SHARE = 0.8


def require_device(settings: PhasingSettings) -> None:
    """Raise SettingsError where the device of phase retrieval is not there."""
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("phasing.device is cuda, but PyTorch finds no CUDA device here; set it to cpu")


def phasing_config(settings: PhasingSettings) -> PhasingConfig:
    """Return how the settings want crystals to be found."""
    chosen = settings.model_dump(include={known.name for known in fields(PhasingConfig)})
    return PhasingConfig(**chosen | {"keep": min(settings.keep, settings.starts)})


def lines_sought(
    settings: PhasingSettings, basis_nm: NDArray[np.float64], q: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return about what phases may wind, see `models.bcdi.wound.likely_lines`; None where the recipe is one's own."""
    return likely_lines(basis_nm, q) if settings.recipe == "auto" else None


def search(
    crop: Crop,
    config: PhasingConfig,
    settings: PhasingSettings,
    start: NDArray[np.complex64] | None,
    lines: NDArray[np.float64] | None,
    progress: Callable[[float], None],
) -> Phased:
    """Return the crystal of a crop: from random starts, or all from `start`; then, where `lines` are given, from phases
    that wind about these, see `models.bcdi.wound`, which is noted where it is better, and where it fails.

    `progress` is told the share that is done. Raises ValueError or MemoryError where there is nothing to invert.
    """
    prepared = crop.prepared
    from_anywhere = settings.one_density and start is None
    invert = phase_retrieval_both_ways if from_anywhere else partial(phase_retrieval, start=start)
    light = light_of(prepared.counts.shape, prepared.scale, prepared.background)
    searched = 1.0 if lines is None else RANDOM_SHARE
    found = invert(
        prepared.counts,
        prepared.mask,
        config,
        scale=light.scale,
        background=light.background,
        filled=crop.filled,
        progress=lambda share: progress(searched * share),
    )
    if lines is None:
        return found
    try:
        better = rewound(
            prepared.counts,
            prepared.mask,
            found,
            lines,
            config,
            light=light,
            filled=crop.filled,
            progress=lambda share: progress(searched + (1.0 - searched) * share),
        )
    except (ValueError, MemoryError, torch.OutOfMemoryError) as error:  # there is a crystal already
        crop.notes.append(f"phases that wind about a line were not tried: {one_line(error)}")
        return found
    if better is not found:
        crop.notes.append(WOUND)
    return better
