"""One part of what an alignment drives up: the attribute that is read, what is made of it, and how much that counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator, model_validator

from service.sections import Section

Measure = Literal["value", "region", "centring", "visibility", "width", "distance"]
# What a measure must be told, and what it may be.
NEEDED: Mapping[str, frozenset[str]] = {
    "value": frozenset(),
    "region": frozenset({"region"}),
    "centring": frozenset({"target"}),
    "visibility": frozenset({"region", "spacing_px"}),
    "width": frozenset(),
    "distance": frozenset({"target"}),
}
ALLOWED: Mapping[str, frozenset[str]] = {
    **NEEDED,
    "centring": frozenset({"target", "region"}),
    "width": frozenset({"positions"}),
}
# Of these little is wanted; of the first two it means nothing to want more.
MISSES = ("centring", "distance")
SMALL = (*MISSES, "width")
# Fewer readings of a point do not tell which of them is wild.
FEWEST_READINGS = 5


class Term(Section):
    attribute: str = Field(min_length=1, description="Tango attribute: a scalar, a spectrum or an image")
    measure: Measure = Field(
        "value",
        description="what is made of it: value, a number as it is; region, counts of an image in a region;"
        " centring, squared distance of an image's spot from a target pixel; visibility of fringes in a region;"
        " width of a rocking curve at half height; distance, squared, of a vector from a target",
    )
    region: tuple[int, int, int, int] | None = Field(
        None, description="rows and columns of the image, [first, end, first, end], px; of a centring: where to look"
    )
    target: tuple[float, ...] = Field((), description="centring: pixel [row, column]; distance: the vector")
    spacing_px: float | None = Field(None, gt=2, description="visibility: how far fringes are apart, about, px")
    positions: str = Field("", description="width: Tango attribute of the positions; '': points are one apart")
    weight: float | None = Field(
        None, description="how much it counts, below 0: shall become small; none: -1 for centring, distance and width"
    )
    scale: float = Field(1.0, gt=0, allow_inf_nan=False, description="how much of the measure counts as one")

    @field_validator("region")
    @classmethod
    def _region_holds_pixels(cls, region: tuple[int, int, int, int] | None) -> tuple[int, int, int, int] | None:
        if region is not None and not (0 <= region[0] < region[1] and 0 <= region[2] < region[3]):
            raise ValueError(f"{list(region)}: expected rows [first, end) and columns [first, end) with first < end")
        return region

    @model_validator(mode="after")
    def _measure_is_told_what_it_needs(self) -> Term:
        given = {name for name in ("region", "target", "spacing_px", "positions") if getattr(self, name)}
        if missing := NEEDED[self.measure] - given:
            raise ValueError(f"measure {self.measure} needs {', '.join(sorted(missing))}")
        if foreign := given - ALLOWED[self.measure]:
            raise ValueError(f"measure {self.measure} has no use for {', '.join(sorted(foreign))}")
        if self.measure == "centring" and len(self.target) != 2:
            raise ValueError(f"target has {len(self.target)} numbers, expected 2: row and column")
        return self

    @model_validator(mode="after")
    def _weight_has_the_right_sign(self) -> Term:
        if self.signed == 0.0 or not abs(self.signed) < float("inf"):
            raise ValueError(f"weight is {self.weight}, expected a number other than 0")
        if self.measure in MISSES and self.signed > 0.0:
            raise ValueError(f"weight {self.weight:g} would drive away from the target: give one below 0")
        return self

    @property
    def signed(self) -> float:
        """The weight, or what it is by default."""
        return self.weight if self.weight is not None else -1.0 if self.measure in SMALL else 1.0

    @property
    def counts(self) -> bool:
        """Whether it is counts as they are, with Poisson's noise."""
        return self.measure == "region" and self.signed == 1.0 and self.scale == 1.0

    @property
    def attributes(self) -> tuple[str, ...]:
        return (self.attribute, self.positions) if self.positions else (self.attribute,)
