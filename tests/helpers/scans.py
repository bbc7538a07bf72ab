"""Geometries that several tests use."""

from __future__ import annotations

import numpy as np

from models.bcdi.geometry import Geometry

SCAN54_SHAPE = (201, 256, 256)
SCAN54_PEAK = (98, 126, 127)


def scan54() -> Geometry:
    """The real 34-ID-C scan with its nominal angles; beam centre: the chip's middle, seams counted in, as cohere."""
    return Geometry(
        instrument="34-ID-C",
        energy_kev=9.0,
        distance_m=0.5,
        pixel_size_m=(55e-6, 55e-6),
        beam_center_px=(261.0, 260.0),
        angles_deg={"delta": 32.174, "gamma": 12.6346, "mu": 0.0, "chi": 90.0, "phi": -5.0},
        rocking_axis="theta",
        rocking_deg=np.linspace(-0.28, 0.72, 201),
    )


def id01(mu_deg: float) -> Geometry:
    """A made-up ID01 scan with every circle off zero."""
    return Geometry(
        instrument="ID01",
        energy_kev=13.0,
        distance_m=1.1,
        pixel_size_m=(55e-6, 55e-6),
        beam_center_px=(250.0, 270.0),
        angles_deg={"mu": mu_deg, "phi": 12.0, "nu": 9.0, "delta": 22.0},
        rocking_axis="eta",
        rocking_deg=np.linspace(10.5, 11.1, 121),
    )
