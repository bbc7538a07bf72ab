"""Units of the numbers in recorded files, turned into ours: keV, metres, degrees."""

from __future__ import annotations

import math

METRES = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "µm": 1e-6, "micron": 1e-6, "microns": 1e-6, "nm": 1e-9}
DEGREES = {"deg": 1.0, "degree": 1.0, "degrees": 1.0, "°": 1.0, "mrad": 180e-3 / math.pi, "rad": 180 / math.pi}
KEV = {"kev": 1.0, "ev": 1e-3, "j": 1 / 1.602176634e-16}

# Where a file names no unit, the size of the number tells: hard X-rays have 1 to 200 keV.
LARGEST_KEV = 200.0
LARGEST_JOULE = 1e-12
KEV_ANGSTROM = 12.398419843320026  # h c
ANGSTROM_M = 1e-10


def metres(value: float, unit: str = "") -> float:
    """Length in metres; without a unit the number is taken for metres (the default of NeXus and CXI)."""
    return value * METRES.get(unit.lower(), 1.0)


def angstroms(value: float, unit: str = "") -> float:
    """Wavelength in angstrom, the unit of files that name none."""
    return value * METRES[unit.lower()] / ANGSTROM_M if unit.lower() in METRES else value


def degrees_factor(unit: str) -> float | None:
    """Degrees in one `unit`; None where the unit is not one of angle."""
    return DEGREES.get(unit.lower())


def kev(value: float, unit: str = "") -> float:
    """Photon energy in keV; without a unit the size of the number decides between J (CXI), keV and eV."""
    if unit.lower() in KEV:
        return value * KEV[unit.lower()]
    if abs(value) < LARGEST_JOULE:
        return value * KEV["j"]
    return value if abs(value) <= LARGEST_KEV else value * KEV["ev"]
