"""Units of axes, as a series tells positions: in degrees, or in metres."""

from __future__ import annotations

import math
from collections.abc import Mapping

# What a position is multiplied with, by its unit in small letters.
FACTORS: Mapping[str, float] = {
    "deg": 1.0, "degree": 1.0, "degrees": 1.0, "\u00b0": 1.0, "mdeg": 1e-3,
    "rad": math.degrees(1.0), "mrad": math.degrees(1e-3), "urad": math.degrees(1e-6),
    "m": 1.0, "mm": 1e-3, "um": 1e-6, "\u00b5m": 1e-6, "\u03bcm": 1e-6, "nm": 1e-9,
}  # fmt: skip


def factor_of(unit: str | None) -> float | None:
    """Return what a position in that unit is multiplied with, to be in degrees or metres; None where it is neither."""
    return FACTORS.get((unit or "").strip().lower())
