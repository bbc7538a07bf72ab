"""From detector frame to orthogonal laboratory and crystal frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """One rocking scan: instrument, fixed angles, rocking angles.

    `instrument` names a diffractometer known to `diffractometer()` ('34-ID-C', 'ID01') or 'general' with `axes`.
    `angles_deg` maps every axis that stood still -> degrees; `rocking_axis` names the one that moved and `rocking_deg`
    (n_frames,) its angle at each frame. `beam_center_px` is the pixel (row, column) that the direct beam hits at zero
    detector angles, None where unknown (then the detector arm points at the centre of the detector).
    """

    instrument: str
    energy_kev: float
    distance_m: float
    pixel_size_m: tuple[float, float]
    beam_center_px: tuple[float, float] | None
    angles_deg: Mapping[str, float]
    rocking_axis: str
    rocking_deg: NDArray[np.float64]
