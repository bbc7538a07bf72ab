"""What a control system knows of a series before it begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, FiniteFloat, ValidationError, model_validator

from service.errors import SettingsError, one_line
from service.records import Frame, SeriesStart
from service.sections import Section
from service.wire.messages import MAX_IMAGES

EachFrame = Annotated[tuple[FiniteFloat, ...], Field(min_length=1)]


class Announcement(Section):
    """A series that will begin; all of it optional. Positions are in degrees, or metres for translations."""

    frames: int | None = Field(None, ge=1, le=MAX_IMAGES, description="frames of the series")
    count_time_s: FiniteFloat | None = Field(None, gt=0, description="exposure of each frame, s")
    positions: Mapping[str, FiniteFloat | EachFrame] = Field(
        default_factory=dict, description="axis -> where it stands in all frames, or in each of them"
    )
    title: str = Field("", description="for people, such as the command of the scan")
    sample: str = Field("", description="for people")

    @model_validator(mode="after")
    def _one_position_a_frame(self) -> Announcement:
        for axis, values in self.moving.items():
            if len(values) != self.number_of_images:
                raise ValueError(f"{axis} has {len(values)} positions, expected {self.number_of_images}, one a frame")
        return self

    @property
    def moving(self) -> dict[str, tuple[float, ...]]:
        """Axis -> where it stands in each frame."""
        return {axis: values for axis, values in self.positions.items() if isinstance(values, tuple)}

    @property
    def still(self) -> dict[str, float]:
        """Axis -> where it stands in all frames."""
        return {axis: value for axis, value in self.positions.items() if not isinstance(value, tuple)}

    @property
    def number_of_images(self) -> int | None:
        """How many frames there will be; None where nothing tells."""
        return self.frames or next((len(values) for values in self.moving.values()), None)

    def of_start(self, start: SeriesStart) -> SeriesStart:
        """The start with what was announced; positions that it tells by itself stay."""
        user_data = {name: text for name in ("title", "sample") if (text := getattr(self, name))}
        positions = {**self.still, **start.user_data.get("positions", {})}
        header = {} if self.count_time_s is None else {"count_time": self.count_time_s}
        return dataclasses.replace(
            start,
            number_of_images=self.number_of_images or start.number_of_images,
            user_data={**start.user_data, **user_data, **({"positions": positions} if positions else {})},
            header={**start.header, **header},
        )

    def of_frame(self, frame: Frame) -> Frame:
        """The frame with its exposure and the positions that it does not tell by itself."""
        positions = {axis: values[frame.image_id] for axis, values in self.moving.items()}
        return dataclasses.replace(
            frame,
            positions={**positions, **frame.positions},
            count_time_s=frame.count_time_s if self.count_time_s is None else self.count_time_s,
        )


def parse_announcement(text: str) -> Announcement:
    """Return what a JSON object announces; raise SettingsError in one line where it is none."""
    try:
        return Announcement.model_validate_json(text)
    except ValidationError as error:
        raise SettingsError(one_line(f"Announce: {_wrong(error.errors()[0])}")) from error


def _wrong(item: Any) -> str:
    where = ".".join(map(str, item["loc"]))
    return f"{where}: {item['msg']}" if where else item["msg"].removeprefix("Value error, ")
