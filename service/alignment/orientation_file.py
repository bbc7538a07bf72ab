"""An orientation as a JSON file that people and other programs can read: the crystal, its reflections, U and UB."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.files import written_whole
from service.alignment.orientation import Orientation
from service.alignment.reflection import Lattice, Reflection
from service.errors import ResultError, SourceError, one_line

ROUNDING = 1e-6  # within which the derived numbers of a file must follow from the others

Row = tuple[float, float, float]


class _Record(BaseModel):
    """What the file holds. `ub`, in 1/angstrom with 2 pi, and the last three lines are there for other readers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: Literal["braggloop-orientation"] = "braggloop-orientation"
    version: Literal[1] = 1
    frame: Literal["You 1999"] = "You 1999"
    crystal: Lattice
    reflections: Annotated[tuple[Reflection, ...], Field(min_length=2)]
    u: tuple[Row, Row, Row]
    ub_per_angstrom: tuple[Row, Row, Row]
    energy_kev: float
    wavelength_angstrom: float
    residuals_deg: tuple[float, ...]
    two_theta_offsets_deg: tuple[float, ...]


def save(orientation: Orientation, path: Path) -> None:
    """Write the file whole or not at all, over a former one; raise ResultError where it cannot be."""
    text = _record(orientation).model_dump_json(indent=1)
    try:
        with written_whole(path) as partial:
            partial.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise ResultError(f"orientation {path}: {error.strerror}; free space or choose another folder") from error


def load(path: Path) -> Orientation:
    """Read a file of `save`; raise SourceError where it cannot be read, is none, or its numbers disagree."""
    try:
        record = _Record.model_validate_json(path.read_bytes())
        orientation = Orientation(lattice=record.crystal, reflections=record.reflections, u=np.array(record.u))
        _require_agreement(record, orientation)
    except OSError as error:
        raise SourceError(f"orientation {path}: {error.strerror}") from error
    except ValidationError as error:
        raise SourceError(f"{path} is no orientation of Braggloop, or damaged: {first_wrong(error)}") from error
    except ValueError as error:
        raise SourceError(f"{path} is damaged: {one_line(error)}") from error
    return orientation


def _record(orientation: Orientation) -> _Record:
    return _Record.model_validate(
        {
            "crystal": orientation.lattice,
            "reflections": orientation.reflections,
            "u": orientation.u.tolist(),
            "ub_per_angstrom": orientation.ub.tolist(),
            "energy_kev": orientation.energy_kev,
            "wavelength_angstrom": orientation.wavelength_angstrom,
            "residuals_deg": orientation.residuals_deg,
            "two_theta_offsets_deg": orientation.two_theta_offsets_deg,
        }
    )


def _require_agreement(record: _Record, orientation: Orientation) -> None:
    """Raise ValueError where U is no rotation, or what follows from U, lattice and reflections is told otherwise."""
    if not np.allclose(orientation.u @ orientation.u.T, np.eye(3), atol=ROUNDING) or np.linalg.det(orientation.u) < 0:
        raise ValueError("u is no rotation")
    derived = _record(orientation)
    for name in ("ub_per_angstrom", "energy_kev", "wavelength_angstrom", "residuals_deg", "two_theta_offsets_deg"):
        told, expected = np.array(getattr(record, name)), np.array(getattr(derived, name))
        if told.shape != expected.shape or not np.allclose(told, expected, rtol=ROUNDING, atol=ROUNDING):
            raise ValueError(f"{name} does not follow from u, crystal and reflections")


def first_wrong(error: ValidationError) -> str:
    """Return in one line what is wrong first."""
    item = error.errors()[0]
    return one_line(f"{'.'.join(map(str, item['loc'])) or 'content'}: {item['msg']}")
