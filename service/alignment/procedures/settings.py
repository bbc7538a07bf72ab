"""What the procedures of an alignment want to know: which axis turns, which ones ride on it, how far and how fine."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, field_validator, model_validator

from service.sections import Section


class ProcedureSettings(Section):
    rotation: str = Field("eta", description="axis that turns the crystal, degrees; also that of the rocking curve")
    across: str = Field("y", description="translation that rides on it, across the beam and that axis at 0 degrees")
    along: str = Field("z", description="translation that rides on it, along the beam at 0 degrees; unit of `across`")
    sense: Literal[1, -1] = Field(
        1, description="-1 where the rotation, seen from where `across` turns into `along`, counts the other way round"
    )
    angles_deg: tuple[float, ...] = Field(
        (-0.5, 0.5),
        min_length=2,
        description="centre of rotation: angles from where it stands, in turn; two small ones, or more over degrees",
    )
    value: str = Field(
        "",
        description="Tango attribute that tells of the crystal at any angle, such as its fluorescence; '': the value",
    )
    wander: float = Field(
        0.1, gt=0, description="eucentric height: most that the crystal wanders over those angles, in `across` widths"
    )
    rounds: int = Field(5, ge=2, description="eucentric height: how often the centre of rotation is looked for")
    rocking_widths: float = Field(2.5, gt=0, description="rocking curve: how far to each side, in widths of the axis")
    rocking_points: int = Field(41, ge=5, description="rocking curve: at how many places is counted")

    detector: tuple[str, str] = Field(("delta", "gamma"), description="reflection centring: the detector's two axes")
    image: str = Field("", description="reflection centring: Tango attribute of the detector's image")
    target: tuple[float, float] | None = Field(
        None, description="reflection centring: pixel [row, column] for the spot"
    )
    off_px: float = Field(1.0, gt=0, description="reflection centring: most that the spot may end off its pixel, px")

    @field_validator("angles_deg")
    @classmethod
    def _angles_differ(cls, angles: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(angles)) < len(angles):
            raise ValueError(f"{angles} has an angle twice")
        if not all(map(math.isfinite, angles)):
            raise ValueError(f"{angles} has an angle that is none")
        return angles

    @model_validator(mode="after")
    def _axes_differ(self) -> ProcedureSettings:
        names = (self.rotation, self.across, self.along)
        if len(set(names)) < len(names):
            raise ValueError(f"rotation, across and along are {', '.join(names)}: expected three different axes")
        if self.detector[0] == self.detector[1]:
            raise ValueError(f"detector has {self.detector[0]} twice: expected two axes")
        if bool(self.image) != (self.target is not None):
            raise ValueError("image and target belong together: give both or none")
        return self
