"""What a loop is to do: which axes, by which method, within which limits; the head of every journal, and a setting."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator, model_validator

from service.alignment.guard import AxisLimits, Limits
from service.alignment.methods.port import Axis
from service.alignment.procedures.settings import ProcedureSettings
from service.alignment.term import FEWEST_READINGS, Term
from service.alignment.zones import parse_zone
from service.sections import Section

# What these look for is counts, with their noise.
METHODS_OF_COUNTS = ("peak", "spiral", "sweep")


class PlannedAxis(Section):
    low: float = Field(description="lowest position, in the axis' unit")
    high: float = Field(description="highest position, in the axis' unit")
    width: float = Field(gt=0, description="width of what is sought along the axis at half height, about, in its unit")
    tolerance: float = Field(gt=0, description="to which the best position is wanted, in the axis' unit")
    fringed: bool = Field(False, description="lesser peaks stand beside the one that is sought, as on a rocking curve")
    drift: float = Field(0.0, ge=0, description="by how much the best position may walk a second, in the axis' unit")
    largest_step: float = Field(gt=0, description="largest move at once, in the axis' unit; longer ways take more")
    largest_rate: float = Field(math.inf, gt=0, description="largest way a second on average, in the axis' unit")
    largest_travel: float = Field(math.inf, gt=0, description="largest way since arming, in the axis' unit")
    disagreement: float | None = Field(
        None, gt=0, description="most that a read-back may be off its setpoint; none: half of the largest step"
    )

    @model_validator(mode="after")
    def _low_below_high(self) -> PlannedAxis:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        return self


class Plan(Section):
    axes: Mapping[str, PlannedAxis] = Field(description="axis -> what it may do", min_length=1)
    method: Literal[
        "peak", "seeking", "scan", "golden", "parabola", "paraboloid", "bayesian", "spiral", "sweep", "goto", "rocking"
    ] = Field(
        "peak",
        description="how the best point is looked for; spiral and sweep search where there is none, goto only moves,"
        " rocking counts at even steps along one axis",
    )
    goto: tuple[float, ...] = Field((), description="goto: where, one position an axis, in their order")
    reach: float = Field(30.0, gt=0, description="spiral, sweep, rocking: how far they go from the start, in widths")
    points: int = Field(41, ge=5, description="rocking: at how many places is counted")
    follow: bool = Field(False, description="peak and seeking: go on for ever, after a best point that walks")
    counts: bool = Field(
        True,
        description="the value is counts: never negative, and few are a lost beam; false: any number, the larger the"
        " better",
    )
    follow_s: float = Field(math.inf, gt=0, description="follow: for so long, s; then to the best point")
    follow_exposures: int | None = Field(None, ge=1, description="follow: for so many exposures; none: any number")
    background: float = Field(1.0, gt=0, description="counts of an exposure without the crystal, about")
    seed: int = Field(0, ge=0, description="seed of the method")
    zones: tuple[str, ...] = Field((), description="forbidden zones, such as 'delta > 30 and gamma > 10'")
    stale_s: float = Field(10.0, gt=0, description="oldest result that a move may rest on, s")
    heartbeat_s: float = Field(math.inf, gt=0, description="longest silence of whoever must give signs of life, s")
    most_exposures: int = Field(500, ge=1, description="exposures after which the loop ends by itself")
    most_trims: int = Field(3, ge=0, description="how often axes that play keeps off the best point are sent again")
    approve: bool = Field(False, description="a person approves each move")
    dry_run: bool = Field(False, description="moves are written down, none is made")
    on_stop: Literal["stay", "start", "best"] = Field("stay", description="where a stopped loop leaves the axes")
    light_patience_s: float = Field(60.0, ge=0, description="how long beam and shutter are waited for, s")
    collapse_share: float = Field(
        0.02, ge=0, lt=1, description="values below this share of the best one count as those of a lost beam; 0: never"
    )
    collapse_after: int = Field(12, ge=1, description="so many of them in a row: back to the best point")

    @field_validator("zones")
    @classmethod
    def _zones_can_be_read(cls, zones: tuple[str, ...]) -> tuple[str, ...]:
        for zone in zones:
            parse_zone(zone)
        return zones

    @model_validator(mode="after")
    def _goto_says_where(self) -> Plan:
        if self.method == "goto" and len(self.goto) != len(self.axes):
            raise ValueError(f"goto has {len(self.goto)} positions, expected one for each of {len(self.axes)} axes")
        return self

    @model_validator(mode="after")
    def _method_fits_the_value(self) -> Plan:
        if self.method in METHODS_OF_COUNTS and not self.of_counts:
            raise ValueError(
                f"method {self.method} is of counts, and what is driven up is not: choose paraboloid, parabola,"
                " golden, scan, seeking or bayesian"
            )
        return self

    @property
    def of_counts(self) -> bool:
        """Whether what is driven up is counts."""
        return self.counts

    def limits(self) -> Limits:
        return Limits(
            axes={
                name: AxisLimits(
                    low=axis.low, high=axis.high, largest_step=axis.largest_step, largest_rate=axis.largest_rate,
                    largest_travel=axis.largest_travel, disagreement=axis.disagreement or axis.largest_step / 2.0,
                )
                for name, axis in self.axes.items()
            },
            zones=tuple(parse_zone(zone) for zone in self.zones),
            stale_s=self.stale_s,
            heartbeat_s=self.heartbeat_s,
        )  # fmt: skip

    def sought(self) -> tuple[Axis, ...]:
        """The axes as a method sees them."""
        return tuple(
            Axis(
                name=name, low=axis.low, high=axis.high, width=axis.width, tolerance=axis.tolerance,
                fringed=axis.fringed, drift=axis.drift,
            )
            for name, axis in self.axes.items()
        )  # fmt: skip


class AlignmentSettings(Plan):
    """A plan on Tango devices; without axes the twin is aligned."""

    axes: Mapping[str, PlannedAxis] = Field(
        default_factory=dict, description="axis -> what it may do; without any the twin's crystal is aligned"
    )
    devices: Mapping[str, str] = Field(
        default_factory=dict,
        description="axis -> Tango device with `position`, State and Abort; Bliss axes exported so, too; axes that"
        " zones name, as well",
    )
    client: bool = Field(
        False, description="a client moves and measures, as a Bliss session does: it asks Suggest and answers Report"
    )
    value: str = Field("", description="Tango attribute that is driven up, as domain/family/member/attribute")
    objective: Mapping[str, Term] = Field(
        default_factory=dict,
        description="name -> term, instead of `value`: the sum of weight * measure / scale is driven up"
        " (docs/how-to/align-a-crystal.md)",
    )
    readings: int = Field(1, ge=1, description="readings of a point, each after a trigger, whose mean is its value")
    apart_s: float = Field(0.0, ge=0, description="wait between two readings of a point, s")
    outliers: float = Field(
        math.inf,
        ge=2,
        description="readings farther from their median than so many median absolute deviations are left out",
    )
    trigger: str = Field("", description="Tango command before each reading, as domain/family/member/Command; '': none")
    fresh: str = Field(
        "",
        description="Tango attribute that each result changes, such as `finishedAt` of Reconstruction, which is waited"
        " for at each reading; '': not waited for",
    )
    settle_s: float = Field(0.1, ge=0, description="wait between the end of a move and a reading, s")
    value_s: float = Field(
        10.0,
        gt=0,
        description="longest time that the readings of a point may take where trigger or result are waited for, s",
    )
    dead_man_s: float = Field(
        15.0, gt=0, description="a process of its own stops the axes after so long a silence, longer than a reading; s"
    )
    beam: str = Field("", description="Tango attribute of the beam's intensity; '': not looked at")
    least_beam: float = Field(0.0, description="below this the beam is lost, in that attribute's unit")
    shutter: str = Field("", description="Tango attribute that is true where the shutter is open; '': not looked at")
    procedures: ProcedureSettings = ProcedureSettings()

    @model_validator(mode="after")
    def _axes_are_devices(self) -> AlignmentSettings:
        if self.client or not (self.devices or self.terms):  # a client's, or limits alone, for `braggloop orient`
            return self
        zoned = [axis for zone in self.zones for axis in parse_zone(zone).axes]
        nameless = {*self.axes, *zoned} - set(self.devices) if self.axes else set()
        if nameless:
            raise ValueError(f"devices says nothing of {', '.join(sorted(nameless))}, which axes or zones name")
        if self.axes and not self.terms:
            raise ValueError("value says nothing: name the Tango attribute that is driven up")
        return self

    @model_validator(mode="after")
    def _objective_is_one(self) -> AlignmentSettings:
        if self.value and self.objective:
            raise ValueError("value and objective both say what is driven up: give one of them")
        if math.isfinite(self.outliers) and self.readings < FEWEST_READINGS:
            raise ValueError(f"outliers among {self.readings} readings: expected {FEWEST_READINGS} readings or more")
        return self

    @model_validator(mode="after")
    def _dead_man_outwaits_a_point(self) -> AlignmentSettings:
        point_s = self.settle_s + (self.readings - 1) * self.apart_s
        if self.trigger or self.fresh:
            point_s += self.value_s
        if self.dead_man_s <= point_s:
            raise ValueError(
                f"dead_man_s is {self.dead_man_s:g}, expected more than a point may take, {point_s:g} s of settle_s,"
                " readings, apart_s and value_s"
            )
        return self

    @property
    def terms(self) -> Mapping[str, Term]:
        """The objective; `value` alone is one term."""
        return {"value": Term(attribute=self.value)} if self.value else self.objective

    @property
    def of_counts(self) -> bool:
        return self.counts and (not self.objective or [term.counts for term in self.objective.values()] == [True])

    def plan(self) -> Plan:
        """The plan alone."""
        given = {name: value for name, value in self.model_dump().items() if name in Plan.model_fields}
        return Plan.model_validate({**given, "counts": self.of_counts})
