"""Reflection centring: the detector's axes bring the spot of a reflection onto a pixel, from what an image shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from service.alignment.procedures.bench import Bench
from service.errors import DataError, SettingsError

SQUARE_PX = 1.0  # the term's scale: what is driven up is less the squared distance in pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class CentredReflection:
    """Where the axes of the detector stand, `positions` in their unit, and how far the spot was `off_px` from its
    pixel at the nearest place where it was looked at; `exposures` that it took.
    """

    positions: dict[str, float]
    off_px: float
    exposures: int

    def figures(self) -> dict[str, object]:
        return {"positions": self.positions, "off_px": self.off_px, "exposures": self.exposures}


def centre_reflection(bench: Bench) -> CentredReflection:
    """Bring the spot onto the pixel of the settings. Raises SettingsError where these name no image, ChainEnded where
    no spot is seen or it does not come there, DataError where it ends farther off than the settings allow.
    """
    names, allowed_px = bench.settings.detector, bench.settings.off_px
    if bench.camera is None:
        raise SettingsError("no image: name it and the pixel in alignment.procedures.image and target")
    stage = bench.chain.run("reflection", bench.part(*names, method="paraboloid", counts=False), bench.camera)
    off_px = math.sqrt(max(0.0, -max(told.value for told in stage.told)))
    if off_px > allowed_px:
        raise DataError(f"the spot came to {off_px:.3g} px of its pixel, expected {allowed_px:g}; give other widths")
    positions = {name: bench.camera.axes[name].read() for name in names}
    return CentredReflection(positions=positions, off_px=off_px, exposures=len(stage.told))
