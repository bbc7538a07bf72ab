"""Diffractometers: ordered circles and the detector's pixel directions in the NeXus laboratory frame.

Frame: z along the beam, y up, x completing the right hand (McStas, so NeXus and CXI). Circles are ordered from the
outermost to the innermost; a positive angle turns counter-clockwise about the circle's direction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

BEAM = np.array([0.0, 0.0, 1.0])
Direction = tuple[float, float, float]

DIRECTIONS: dict[str, Direction] = {
    "x+": (1.0, 0.0, 0.0),
    "x-": (-1.0, 0.0, 0.0),
    "y+": (0.0, 1.0, 0.0),
    "y-": (0.0, -1.0, 0.0),
    "z+": (0.0, 0.0, 1.0),
    "z-": (0.0, 0.0, -1.0),
}
# Mnemonics that SPEC files use for the same circles.
MNEMONICS = {"th": "theta", "del": "delta", "gam": "gamma"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle:
    """One rotation: its name and the unit direction of its axis when all circles stand at zero, laboratory frame."""

    name: str
    direction: Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Diffractometer:
    """Sample and detector circles, outermost first, and where rows and columns grow at zero detector angles.

    `optional` names circles taken at zero where nobody says their angle; `parked` names motors of the real instrument
    that are not described here, so they must stand at zero.
    """

    name: str
    sample: tuple[Circle, ...]
    detector: tuple[Circle, ...]
    row: Direction
    column: Direction
    optional: frozenset[str] = frozenset()
    parked: frozenset[str] = frozenset()


def _circles(*pairs: tuple[str, str]) -> tuple[Circle, ...]:
    return tuple(Circle(name=name, direction=DIRECTIONS[direction]) for name, direction in pairs)


KNOWN = {
    "34idc": Diffractometer(
        name="34-ID-C",
        sample=_circles(("theta", "y+"), ("chi", "z-"), ("phi", "y+")),
        detector=_circles(("delta", "y+"), ("gamma", "x-")),
        row=DIRECTIONS["y-"],
        column=DIRECTIONS["x+"],
        parked=frozenset({"mu"}),
    ),
    "id01": Diffractometer(
        name="ID01",
        sample=_circles(("mu", "y-"), ("eta", "x-"), ("phi", "y-")),
        detector=_circles(("nu", "y-"), ("delta", "x-")),
        row=DIRECTIONS["y-"],
        column=DIRECTIONS["x+"],
        optional=frozenset({"mu"}),
    ),
}


def diffractometer(instrument: str, axes: Mapping[str, Any] | None = None) -> Diffractometer:
    """Return the named diffractometer ('34-ID-C', 'ID01'), or the one that `axes` describes where it is 'general'.

    `axes` maps 'sample' and 'detector' to lists of (name, direction), outermost first, and 'row' and 'column' to
    directions; a direction is 'x+', 'x-', ... 'z-' or three numbers. Raises ValueError in one line.
    """
    if instrument.lower() == "general":
        return _described(axes)
    if axes is not None:
        raise ValueError(f"axes are only for the instrument 'general', got them with {instrument!r}")
    key = "".join(character for character in instrument.lower() if character.isalnum())
    if key not in KNOWN:
        names = ", ".join(known.name for known in KNOWN.values())
        raise ValueError(f"instrument {instrument!r} is not known: expected {names}, or 'general' with its axes")
    return KNOWN[key]


def rotation(direction: ArrayLike, angle_deg: ArrayLike) -> NDArray[np.float64]:
    """Rotation matrices (..., 3, 3) about a unit `direction` (3,) by angles (...,) in degrees, right-handed."""
    angle = np.deg2rad(np.asarray(angle_deg, dtype=np.float64))[..., None, None]
    x, y, z = np.asarray(direction, dtype=np.float64)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    turned: NDArray[np.float64] = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * (cross @ cross)
    return turned


def chain(circles: Sequence[Circle], angles_deg: Mapping[str, float]) -> NDArray[np.float64]:
    """Product (3, 3) of the circles' rotations, outermost first; a circle without an angle stands at zero."""
    product = np.eye(3)
    for circle in circles:
        product = product @ rotation(circle.direction, angles_deg.get(circle.name, 0.0))
    return product


def _described(axes: Mapping[str, Any] | None) -> Diffractometer:
    if axes is None:
        raise ValueError("instrument 'general' needs its axes: sample, detector, row and column")
    missing = [key for key in ("sample", "detector", "row", "column") if key not in axes]
    if missing:
        raise ValueError(f"axes lack {', '.join(missing)}: expected sample, detector, row and column")
    described = Diffractometer(
        name="general",
        sample=_described_circles("sample", axes["sample"]),
        detector=_described_circles("detector", axes["detector"]),
        row=_direction("row", axes["row"]),
        column=_direction("column", axes["column"]),
    )
    if abs(np.dot(described.row, described.column)) > 1e-6:
        raise ValueError(f"rows {described.row} and columns {described.column} of the detector are not perpendicular")
    return described


def _described_circles(kind: str, pairs: Any) -> tuple[Circle, ...]:
    try:
        named = [(str(name), direction) for name, direction in pairs]
    except (TypeError, ValueError) as error:
        raise ValueError(f"axes: {kind} must list (name, direction), got {pairs!r}") from error
    if len({name for name, _ in named}) != len(named):
        raise ValueError(f"axes: {kind} names a circle twice, got {[name for name, _ in named]}")
    return tuple(Circle(name=name, direction=_direction(name, direction)) for name, direction in named)


def _direction(name: str, value: Any) -> Direction:
    if isinstance(value, str):
        if value not in DIRECTIONS:
            raise ValueError(f"direction of {name} must be one of {', '.join(DIRECTIONS)}, got {value!r}")
        return DIRECTIONS[value]
    try:
        vector = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"direction of {name} must be three numbers, got {value!r}") from error
    length = float(np.linalg.norm(vector)) if vector.shape == (3,) else 0.0
    if not np.isfinite(length) or length == 0.0:
        raise ValueError(f"direction of {name} must be three finite numbers, not all zero, got {value!r}")
    x, y, z = (vector / length).tolist()
    return (x, y, z)
