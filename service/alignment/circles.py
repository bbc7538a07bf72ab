"""How an instrument's own axes turn You's six circles: their names, senses and zeros, and the circles that it lacks.

You's angle = sign * axis + offset. The maps of known instruments follow from the directions of their circles
(docs/reference/frames.md); tests compare both with the geometry of `models/bcdi`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, FiniteFloat

from service.errors import GeometryError, SettingsError
from service.sections import Section

CIRCLES = ("mu", "eta", "chi", "phi", "nu", "delta")  # sample from the outermost, then detector
SAMPLE = CIRCLES[:4]

CircleName = Literal["mu", "eta", "chi", "phi", "nu", "delta"]
PRESENT: Literal["present"] = "present"
Constraints = Mapping[str, float | bool | Literal["present"]]
Range = tuple[float, float]


class TurnedBy(Section):
    axis: str = Field(min_length=1, description="the instrument's axis that turns this circle")
    sign: Literal[1, -1] = Field(1, description="-1 where the axis turns the other way")
    offset_deg: FiniteFloat = Field(0.0, description="You's angle where the axis is at zero, deg")


CircleMap = Mapping[CircleName, TurnedBy | FiniteFloat]
"""You's circle -> the axis that turns it, or the angle in degrees at which it stands where the instrument has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A known instrument: its circles, and the constraints that leave one sample circle free to rock."""

    circles: CircleMap
    constraints: Constraints


PRESETS: Mapping[str, Preset] = {
    "34idc": Preset(
        circles={
            "mu": TurnedBy(axis="theta"),
            "eta": 0.0,
            "chi": TurnedBy(axis="chi", sign=-1, offset_deg=90.0),
            "phi": TurnedBy(axis="phi", sign=-1),
            "nu": TurnedBy(axis="delta"),
            "delta": TurnedBy(axis="gamma"),
        },
        constraints={"chi": PRESENT, "phi": PRESENT},
    ),
    "id01": Preset(
        circles={
            "mu": TurnedBy(axis="mu", sign=-1),
            "eta": TurnedBy(axis="eta"),
            "chi": 90.0,
            "phi": TurnedBy(axis="phi"),
            "nu": TurnedBy(axis="nu", sign=-1),
            "delta": TurnedBy(axis="delta"),
        },
        constraints={"mu": PRESENT, "phi": PRESENT},
    ),
}


def preset(instrument: str) -> Preset | None:
    """Return what is known of an instrument ('34-ID-C', 'ID01', whatever the hyphens), None where nothing is."""
    return PRESETS.get("".join(character for character in instrument.lower() if character.isalnum()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Circles:
    """All six circles: `turned` by axes, the others `fixed_deg`. Angles are in degrees everywhere.

    Raises SettingsError where a circle is left out, or one axis turns two.
    """

    turned: Mapping[str, TurnedBy]
    fixed_deg: Mapping[str, float]

    def __post_init__(self) -> None:
        missing = [name for name in CIRCLES if name not in self.turned and name not in self.fixed_deg]
        if missing:
            raise SettingsError(
                f"orientation.circles: says nothing of {', '.join(missing)}; name the axis that turns each of"
                f" {', '.join(CIRCLES)}, or the angle at which it stands"
            )
        twice = sorted({axis for axis in self.axes if self.axes.count(axis) > 1})
        if twice:
            raise SettingsError(f"orientation.circles: {', '.join(twice)} turns two circles, expected an axis for each")

    @property
    def axes(self) -> tuple[str, ...]:
        """The instrument's axes, in the order of CIRCLES."""
        return tuple(self.turned[name].axis for name in CIRCLES if name in self.turned)

    def of(self, axes_deg: Mapping[str, float]) -> dict[str, float]:
        """Return You's six angles; raise GeometryError where an axis is not told."""
        missing = [axis for axis in self.axes if axis not in axes_deg]
        if missing:
            raise GeometryError(f"nobody says where {', '.join(missing)} stand: expected {', '.join(self.axes)}")
        turned = {name: by.sign * axes_deg[by.axis] + by.offset_deg for name, by in self.turned.items()}
        return {**turned, **self.fixed_deg}

    def axes_at(self, circles_deg: Mapping[str, float]) -> dict[str, float]:
        """Return where the instrument's axes are when You's circles are there."""
        return {
            by.axis: by.sign * (circles_deg[name] - by.offset_deg)
            for name, by in ((name, self.turned[name]) for name in CIRCLES if name in self.turned)
        }

    def limits_of(self, axes_deg: Mapping[str, Range]) -> dict[str, Range]:
        """Return the limits of You's circles from those of axes; a circle whose axis has none is left out."""
        found: dict[str, Range] = {name: (angle, angle) for name, angle in self.fixed_deg.items()}
        for name, by in self.turned.items():
            if by.axis in axes_deg:
                low, high = sorted(by.sign * limit + by.offset_deg for limit in axes_deg[by.axis])
                found[name] = (low, high)
        return found


def circles_of(instrument: str, given: CircleMap) -> Circles:
    """Return the circles that are given, or those of a known instrument where none are.

    Raises SettingsError where nothing is known, and as Circles does.
    """
    known = preset(instrument)
    if not given and known is None:
        raise SettingsError(
            f"orientation.circles: those of instrument {instrument!r} are not known; name the axis that turns each of"
            f" {', '.join(CIRCLES)}, or the angle at which it stands"
        )
    circles = given or (known.circles if known else {})
    return Circles(
        turned={name: by for name, by in circles.items() if isinstance(by, TurnedBy)},
        fixed_deg={name: float(by) for name, by in circles.items() if not isinstance(by, TurnedBy)},
    )
